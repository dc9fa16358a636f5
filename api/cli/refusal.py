"""That a verb is refused: a code, a sentence, everything that is wrong.

Called by: the verbs, the client of the HTTP API. Must not: print, or load what speaks HTTP: not every verb does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong, in words. ``article`` is empty where the rule is ours."""

    code: str
    field: str
    message: str
    article: str = ""


class Refusal(Exception):
    """The broker, or the client itself, will not do it: a stable code, a sentence, everything that is wrong."""

    def __init__(self, code: str, message: str, mistakes: Sequence[Mistake] = (), body: Any = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.mistakes = tuple(mistakes)
        self.body = body if body is not None else {"code": code, "detail": message, "errors": []}

    @property
    def codes(self) -> set[str]:
        """The code and those of everything that is wrong."""
        return {self.code} | {mistake.code for mistake in self.mistakes}
