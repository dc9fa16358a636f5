"""Gathers what is wrong with a file: all mistakes are told at once, and a broken file does not fill the memory.

Called by: the readers of span and tariff files, the rating, FOCUS. Must not: hold texts.
"""

from __future__ import annotations

from broker.errors import Invalid, Problem

MOST = 10_000
"""So many are kept; beyond, they are only counted."""


class Problems:
    """Problems of one run. ``place`` is ``file:line``. The run goes on to the end: everything is told together."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._count = 0

    def add(self, code: str, place: str, **params: object) -> None:
        """Note one more."""
        self._count += 1
        if len(self._found) < MOST:
            self._found.append(Problem(code, place, params=params))

    def stop_if_any(self) -> None:
        """Raises Invalid with everything found so far, if anything was, and how many there were."""
        if self._found:
            raise Invalid(self._found, total=self._count)
