"""Errors are vocabulary: a stable code, the HTTP status it maps to, the field, and the article where a rule decides.

Called by: every room (raises), the API (turns them into problem+json). A code never changes its meaning.
Must not: hold interface texts; the Chinese sentence for a code stands in ``api/texts.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``field`` is a path (``items[2].vcpu``); ``params`` fill the sentence's blanks."""

    code: str
    field: str = ""
    article: str = ""
    params: Mapping[str, object] = dataclasses.field(default_factory=dict)


class BrokerError(Exception):
    """A refusal with a stable code. Carries one or, for a form, all problems at once."""

    status = 400

    def __init__(self, code: str, *, field: str = "", article: str = "", **params: object) -> None:
        super().__init__(code)
        self.code = code
        self.problems: tuple[Problem, ...] = (Problem(code, field, article, params),)


class Invalid(BrokerError):
    """A form with problems; all of them. 422. ``total``: how many there are, where a long list was cut."""

    status = 422

    def __init__(self, problems: Sequence[Problem], *, total: int | None = None) -> None:
        super().__init__("form.invalid")
        self.problems = tuple(problems)
        self.total = len(self.problems) if total is None else total


class NotSignedIn(BrokerError):
    """No session or token, or not a valid one. 401."""

    status = 401


class Forbidden(BrokerError):
    """Known, but not allowed. 403."""

    status = 403


class NotFound(BrokerError):
    """No such thing, or not one that this actor may know of. 404."""

    status = 404


class Conflict(BrokerError):
    """The thing is not in a state that allows this, or another was faster. 409."""

    status = 409


class Busy(Conflict):
    """Others are in the middle of what is in the way; nothing is wrong with what was asked. 409.

    Who runs the transaction may run it anew, shortly and from its beginning, so that nobody waits for its locks.
    """


class Stale(BrokerError):
    """The caller saw an older version. 412 for If-Match, 409 for a decision that names another revision."""

    status = 412


class TooLarge(BrokerError):
    """Over a limit on size, depth or count. 413."""

    status = 413


class TooMany(BrokerError):
    """Too many attempts. 429; ``retry_after_s`` tells when to come back."""

    status = 429

    def __init__(self, code: str, *, retry_after_s: int) -> None:
        super().__init__(code, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s
