"""Decisions of reclaiming: how long an owner may object, whether something is in use again, whether an answer is whole.

Called by: the services and steps of this room. Must not: import SQL, or read the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

from broker.errors import Problem
from broker.reclamation.values import Again, Answer, Decision, Heard, Room, Verdict
from broker.workdays import Deadline, WorkCalendar

Scope = tuple[str, UUID]
"""Of what a share is: ``unit`` or ``cloud``, and which."""

GRACE: Mapping[int, int] = {1: 5, 2: 5, 3: 10, 4: 15, 5: 15}
"""Working days to object, by MLPS level (ours: no regulation's number could be read). Without a system: as level 1."""

ANSWER_WORKDAYS = 5
"""Within so many working days an objection is to be answered (ours); later it is late, and the case still stands."""

MOST_EXTENSION = 60
"""Working days that one answer may add (ours)."""
MOST_EXEMPT = timedelta(days=3 * 366)
"""An exemption ends after three years at the latest (ours)."""

FRESH_DAYS = 3
"""What detection said last counts for so long, and so does an operator's word for what nobody measures (ours)."""
MEASURED_PERCENT = 80
"""Of the whole days since the notice so many are measured, yesterday among them: else nobody knows (ours)."""


def grace(level: int | None, by_level: Mapping[int, int]) -> int:
    """Working days to object for a resource of this MLPS level: the policy's, else ours."""
    at = level if level is not None and level in GRACE else 1
    return by_level.get(at, GRACE[at])


def window_end(calendar: WorkCalendar, begins: datetime, workdays: int, heard: Sequence[Heard]) -> Deadline | None:
    """The end of an objection window: working days from its beginning, and as many more as answers gave.

    From an objection to its answer the clock stands; None while one waits for its answer. What an answer gives is whole
    working days after it, also when the window was over before the objection was raised.
    """
    more = sum(each.workdays for each in heard)
    due = calendar.deadline_with_stops(begins, workdays + more, [(h.raised_at, h.answered_at) for h in heard])
    if due is None:
        return None
    given = [calendar.deadline(h.answered_at, h.workdays) for h in heard if h.answered_at and h.workdays]
    return max([due, *given], key=lambda each: each.at)


def judge(seen: Again, newest: date | None, first: date, today: date) -> Again:
    """Whether something is still idle: every measured day matches, and enough of the days were measured.

    ``seen``: the whole days from ``first`` on, and whether ``today`` (which is not over) speaks against it (``TODAY``);
    ``newest``: the last whole day that was measured.
    """
    days = (today - first).days
    if seen.matching < seen.measured:
        return replace(seen, verdict=Verdict.IN_USE)
    if seen.verdict is Verdict.TODAY:
        return seen
    if newest != today - timedelta(days=1) or 100 * seen.measured < MEASURED_PERCENT * days:
        return replace(seen, verdict=Verdict.UNMEASURED)
    return replace(seen, verdict=Verdict.IDLE)


def answer_problems(answer: Answer, now: datetime) -> list[Problem]:
    """What is wrong with an answer, all at once."""
    out = []
    if not answer.reason.strip():
        out.append(Problem("reason.missing", "reason"))
    if answer.decision is Decision.ACCEPT:
        if answer.until is None:
            out.append(Problem("reclaim.until_missing", "until"))
        elif not now < answer.until <= now + MOST_EXEMPT:
            out.append(Problem("reclaim.until_range", "until", params={"years": 3}))
    if answer.decision is Decision.EXTEND and not 1 <= (answer.workdays or 0) <= MOST_EXTENSION:
        out.append(Problem("reclaim.workdays_range", "workdays", params={"least": 1, "most": MOST_EXTENSION}))
    return out


def first_part(sizes: Sequence[int], rooms: Sequence[Room]) -> tuple[int, str]:
    """How many of these things the shares admit together, from the first on, and the scope that stops the next one.

    ``sizes``: over how many resources each is. Empty when nothing is stopped.
    """
    count = 0
    for before, size in enumerate(sizes):
        count += size
        for room in rooms:
            if not room.fits(count, before + 1):
                return before, room.scope
    return len(sizes), ""


def first_wave(cases: Sequence[tuple[int, Sequence[Scope]]], rooms: Mapping[Scope, Room]) -> list[bool]:
    """Which of these cases, taken in this order, the shares would admit now; the others wait for room.

    ``cases``: over how many resources each is, and the scopes that it counts in.
    """
    left, out = dict(rooms), []
    for count, scopes in cases:
        fits = all(left[scope].fits(count) for scope in scopes)
        if fits:
            left |= {scope: replace(left[scope], held=left[scope].held + count) for scope in scopes}
        out.append(fits)
    return out
