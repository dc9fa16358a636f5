"""Brings dated rules of a file and dated rows of the database together, without touching what was. Pure.

Called by: ``region.loader``. Must not: read the database.

A rule is named by its key and the day it holds from; it ends where the next one of the same key begins. A rule the
database does not have yet may only be added at its end and not in the past: what held until today has been acted on.
A key that the database does not know at all is new as a whole, its past included (but for what a closed month cost:
``region.closed``). Rows that the file does not name are
left alone: nothing is deleted.

Of some rules what counts is not that they held but what was charged under them: with ``open_past`` the file is right
about the past too, also in rows of days that it does not name; the caller refuses what a closed month stands on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from broker.errors import Problem


@dataclass(frozen=True, slots=True)
class Wanted:
    """One dated rule of the file."""

    key: Hashable
    since: datetime
    values: Mapping[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class Held:
    """One dated row of the database; ``until`` is None while it is open."""

    id: UUID
    key: Hashable
    since: datetime
    until: datetime | None
    values: Mapping[str, Any]


@dataclass(slots=True)
class Merge:
    """What must happen: rows to add with their end, rows to end, rows not yet valid to correct, and what is refused."""

    added: list[tuple[Wanted, datetime | None]] = field(default_factory=list)
    ended: list[tuple[Held, datetime]] = field(default_factory=list)
    corrected: list[tuple[Held, Wanted]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def merge(wanted: Iterable[Wanted], held: Iterable[Held], now: datetime, *, open_past: bool = False) -> Merge:
    """What to change so that the rows say what the file says. ``open_past``: also of what held until now."""
    by_key: defaultdict[Hashable, list[Held]] = defaultdict(list)
    for row in held:
        by_key[row.key].append(row)
    rules: defaultdict[Hashable, list[Wanted]] = defaultdict(list)
    for rule in wanted:
        rules[rule.key].append(rule)
    result = Merge()
    for key, of_key in rules.items():
        of_key.sort(key=lambda rule: rule.since)
        rows = sorted(by_key[key], key=lambda row: row.since)
        if rows and open_past:
            _over(result, of_key, rows)
        elif rows:
            _onto(result, of_key, rows, now)
        else:
            _chain(result, of_key)
    return result


def _chain(result: Merge, rules: Sequence[Wanted]) -> None:
    """Rules one after the other; the last stays open."""
    for rule, following in pairwise(rules):
        result.added.append((rule, following.since))
    if rules:
        result.added.append((rules[-1], None))


def _onto(result: Merge, rules: Sequence[Wanted], rows: Sequence[Held], now: datetime) -> None:
    known = {row.since: row for row in rows}
    last = rows[-1]
    later: list[Wanted] = []
    for rule in rules:
        row = known.get(rule.since)
        if row is None and (rule.since <= last.since or rule.since < now):
            result.problems.append(Problem("region.history", rule.place, params={"from": rule.since.isoformat()}))
        elif row is None:
            later.append(rule)
        elif dict(row.values) != dict(rule.values):
            _correct(result, rule, row, now)
    if later and (last.until is None or last.until > later[0].since):
        result.ended.append((last, later[0].since))
    _chain(result, later)


def _correct(result: Merge, rule: Wanted, row: Held, now: datetime) -> None:
    """What does not hold yet may still be written differently; what holds needs a new rule with a new day."""
    if row.since > now:
        result.corrected.append((row, rule))
    else:
        result.problems.append(Problem("region.history", rule.place, params={"from": rule.since.isoformat()}))


def _over(result: Merge, rules: Sequence[Wanted], rows: Sequence[Held]) -> None:
    """A rule of a new day takes the time that is left of the row it falls into; a row says what the file says then.

    A row of a day that the file does not name any more (a day put right, a change taken back) stays with the value of
    the rule before it.
    """
    known = {row.since for row in rows}
    new: defaultdict[UUID | None, list[Wanted]] = defaultdict(list)
    for rule in rules:
        if rule.since not in known:
            within = [one for one in rows if one.since < rule.since and (one.until is None or rule.since < one.until)]
            new[within[0].id if within else None].append(rule)
    for row in rows:
        said = [rule for rule in rules if rule.since <= row.since][-1:]
        result.corrected += [(row, rule) for rule in said if dict(row.values) != dict(rule.values)]
        if found := new.pop(row.id, None):
            result.ended.append((row, found[0].since))
            result.added += [(rule, following.since) for rule, following in pairwise(found)]
            result.added.append((found[-1], row.until))
    for rule in new.pop(None, ()):
        days = [*known, *(one.since for one in rules)]
        result.added.append((rule, min((day for day in days if day > rule.since), default=None)))
