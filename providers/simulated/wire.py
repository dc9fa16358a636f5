"""What can come back over a simulated cloud's wire instead of an answer.

Raised by: ``database`` and ``cloud``; turned into ``providers.errors`` by ``provider``. Must not: leave this folder.
"""

from __future__ import annotations


class WireError(Exception):
    """The cloud (or its database) answered with an error; nothing was done. ``status`` is an HTTP status."""

    def __init__(self, status: int, code: str, detail: str = "", *, retry_after_s: float = 1.0) -> None:
        super().__init__(f"{status} {code} {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


class WireTimeout(Exception):
    """No answer came: the order may have been carried out, or may still be."""
