"""What the extranet has for a unit where a sub-cloud is attached, and what is wrong on a router. Plain values.

Called by: ``extranet.space``, ``assessment``, ``extranet.differences``. Must not: read the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_WORDS = 8
"""Lines of a router that a fact names; the others are counted. A notice has to hold it."""
_MOST_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Attachable:
    """``zones``: where there is a block for the unit; ``encapsulation``: how networks meet the router (vxlan, vlan)."""

    zones: frozenset[str]
    encapsulation: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is otherwise on a router than it should be.

    ``code`` has a sentence in ``api.texts``; ``params`` fill it: words as the router writes them, lists of such words.
    """

    code: str
    params: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """As it is kept in a notice and printed by the command line."""
        return {"code": self.code, "params": dict(self.params)}


def fact(code: str, **params: str | int | Iterable[str]) -> Fact:
    """A fact whose lists are cut to what a notice can hold: ``more`` says how many lines were left out."""
    kept: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, (str, int)):
            kept[name] = value[:_MOST_CHARACTERS] if isinstance(value, str) else value
            continue
        words = list(value)
        kept[name] = [word[:_MOST_CHARACTERS] for word in words[:MOST_WORDS]]
        if len(words) > MOST_WORDS:
            kept["more"] = kept.get("more", 0) + len(words) - MOST_WORDS
    return Fact(code, kept)


def differing(code: str, wanted: Iterable[str], found: Iterable[str]) -> Fact | None:
    """What is ``missing`` of what is wanted, and what is there that nobody wants (``extra``); None when they agree."""
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    return fact(code, missing=missing, extra=extra) if missing or extra else None
