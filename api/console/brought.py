"""Pages for a file brought onto a list: what was uploaded, and the verdict on every line.

Called by: the pages that take such files. Must not: read a file or judge a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile

from api.console import show
from api.console.page import Context
from broker.errors import BrokerError

SHOWN = 500
"""Lines that a page lists, what is wrong first; the whole verdict is in the API's answer."""
_FIRST = ("wrong", "proposal", "change", "new", "same")


def uploaded(form: Mapping[str, Any]) -> tuple[bytes, str]:
    """The uploaded file and its name; nothing where there was none."""
    file = form.get("file")
    return (file.file.read(), file.filename or "") if isinstance(file, UploadFile) else (b"", "")


def verdict(kept: Any, looked: Any, error: BrokerError | None) -> Context:
    """What the page of a kept file shows; ``error``: why it was not applied just now."""
    lines = sorted(looked.verdicts, key=lambda v: (_FIRST.index(v.kind), v.line))
    return {
        "kept": kept,
        "looked": looked,
        "lines": [(v, show.problems(v.problems)) for v in lines[:SHOWN]],
        "more": max(0, len(lines) - SHOWN),
        "told": show.problems(error.problems) if error and error.status == 409 else [],
    }
