"""What must not drift without anybody noticing. Rewrite with ``GUIYUN_SNAPSHOTS=write``, then read the difference."""

from __future__ import annotations

import os
from pathlib import Path


def compare(path: Path, current: str) -> None:
    """Compare with what is kept; with ``GUIYUN_SNAPSHOTS=write`` keep the current text instead."""
    if os.environ.get("GUIYUN_SNAPSHOTS") == "write":
        path.write_text(current, encoding="utf-8")
    assert current == path.read_text(encoding="utf-8"), f"differs from {path.name}; GUIYUN_SNAPSHOTS=write rewrites it"
