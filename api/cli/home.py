"""What a home tells about the broker that runs in it, and which addresses are this machine only.

Called by: the client's verbs, which must start quickly. Must not: import the broker (``api.cli.up``, which writes the
file, brings all of it along).
"""

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path

RUNNING = "running.json"
"""Written by ``guiyun up`` (0600): the settings of its processes as environment, and ``GUIYUN_URL``."""
DEMONSTRATION_MARK = "demonstration"
"""Its presence in a home says that demonstration accounts live there."""


def home_of(given: str) -> Path:
    """The home that is meant: the option, ``GUIYUN_HOME``, or the usual one."""
    return Path(given or os.environ.get("GUIYUN_HOME") or ".guiyun").absolute()


def running(home: Path) -> dict[str, str]:
    """Settings (as environment) and address (``GUIYUN_URL``) of the broker running in ``home``; empty if none does."""
    try:
        found = json.loads((home / RUNNING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
