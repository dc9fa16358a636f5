"""Gathers what is wrong with a file: many mistakes are shown at once, and a broken file does not print for ever.

Called by: the readers of span and tariff files, the rating. Must not: hold texts.
"""

from __future__ import annotations

from broker.errors import Invalid, Problem

LIMIT = 20


class Problems:
    """Problems of one run. ``place`` is ``file:line``. At ``LIMIT`` it raises at once."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, code: str, place: str, **params: object) -> None:
        """Note one more. Raises Invalid with all of them when there are many."""
        self._found.append(Problem(code, place, params=params))
        if len(self._found) >= LIMIT:
            raise Invalid(self._found)

    def stop_if_any(self) -> None:
        """Raises Invalid with everything found so far, if anything was."""
        if self._found:
            raise Invalid(self._found)
