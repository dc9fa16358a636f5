"""One system of the register as people write it: its fields, how a cell becomes a value, what is wrong with it. Pure.

Called by: the register's use-cases, its import, the console's form. Must not: read the database; what the register, the
units and the people are comes as ``Known``.

What Art. 28 asks for is required; what says how a system is used (Art. 2(5)) may be left open: unknown is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any
from uuid import UUID

from broker.errors import Problem
from broker.inventory import cells
from broker.inventory.cells import BadCell, code, codes, day, words

IN_FORCE = date(2019, 9, 11)
"""From this day on a new system needs a merger or an approved reason (Art. 29, 48); what is older is stock."""

MOST_USERS = 1_000_000_000
MOST_MERGED = 50
MOST_REASON = 2000


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """What is said of one system. ``merges``: codes of the systems that end by it; ``owner``: an account's login."""

    unit: str
    code: str
    name: str
    mlps_level: int
    function: str
    scope_of_use: str
    frequency_of_use: str
    approving_department: str
    funding_source: str
    approved_on: date | None = None
    owner: str = ""
    in_use_since: date | None = None
    monthly_users: int | None = None
    last_business_on: date | None = None
    business_stopped_on: date | None = None
    last_maintained_on: date | None = None
    maintenance_until: date | None = None
    replaceable_by: str = ""
    reported_on: date | None = None
    merges: tuple[str, ...] = ()
    growth_reason: str = ""

    @property
    def is_stock(self) -> bool:
        """Approved before the rules came into force: it is counted, not added."""
        return self.approved_on is not None and self.approved_on < IN_FORCE


@dataclass(frozen=True, slots=True)
class KnownSystem:
    """A system of the register. ``mine``: the actor may change it. ``into``: the code it was merged into.

    ``stock``: it counts as approved before the rules, and needed no merger and no reason.
    """

    id: UUID
    unit: str
    mine: bool
    ended: bool = False
    into: str = ""
    stock: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What an entry is checked against: units the actor may write for, systems by code, people by login, today."""

    today: date
    units: Mapping[str, UUID] = field(default_factory=dict)
    systems: Mapping[str, KnownSystem] = field(default_factory=dict)
    people: Mapping[str, UUID] = field(default_factory=dict)


_LEVELS = {name: level for level, name in enumerate("一二三四五", start=1)}


def level(text: str) -> int:
    """``3``, ``三级`` or ``第三级``."""
    word = text.removeprefix("第").removesuffix("级").strip()
    if word in _LEVELS:
        return _LEVELS[word]
    if not word:
        raise BadCell("field.missing")
    if not re.fullmatch(r"\d{1,3}", word, re.ASCII):
        raise BadCell("mlps.range")
    return int(word)


def number(text: str) -> int | None:
    """A whole number, thousands apart or not; empty is None."""
    if not text:
        return None
    digits = text.replace(",", "").replace("，", "")
    if not re.fullmatch(r"\d{1,12}", digits, re.ASCII):
        raise BadCell("system.number")
    return int(digits)


READ: Mapping[str, Callable[[str], Any]] = {
    "code": code,
    "unit": words(40),
    "name": words(200),
    "mlps_level": level,
    "function": words(2000),
    "scope_of_use": words(200),
    "frequency_of_use": words(200),
    "approving_department": words(200),
    "approved_on": day,
    "funding_source": words(200),
    "owner": words(100, required=False),
    "in_use_since": day,
    "monthly_users": number,
    "last_business_on": day,
    "business_stopped_on": day,
    "last_maintained_on": day,
    "maintenance_until": day,
    "replaceable_by": words(40, required=False),
    "reported_on": day,
    "merges": codes,
    "growth_reason": words(MOST_REASON, required=False),
}
"""Every field in the order in which files and forms show it, and how its text is read."""

REQUIRED = frozenset(f.name for f in fields(SystemEntry) if f.name in READ) - {
    "approved_on", "owner", "in_use_since", "monthly_users", "last_business_on", "business_stopped_on",
    "last_maintained_on", "maintenance_until", "replaceable_by", "reported_on", "merges", "growth_reason",
}  # fmt: skip
USE = ("monthly_users", "last_business_on", "business_stopped_on", "last_maintained_on", "maintenance_until")
"""What says how a system is used; it goes with the day of which it is true (``reported_on``)."""


def read(texts: Mapping[str, str]) -> tuple[SystemEntry | None, list[Problem]]:
    """An entry out of the text of its fields; None where some of it cannot be read. All problems at once."""
    return cells.read(SystemEntry, READ, texts)


def problems_of(entry: SystemEntry, known: Known, *, proposed: bool = False) -> list[Problem]:
    """Everything that keeps an entry out of the register.

    ``proposed``: its reason for growth goes to the Bureau, or was approved there.
    """
    there = known.systems.get(entry.code)
    found = [*_references(entry, known, there), *_numbers(entry, known), *_merges(entry, known, there)]
    if there is None and not entry.is_stock and not entry.merges and not proposed:
        found.append(Problem("system.total_only_falls", "merges", "Art. 29", {"day": IN_FORCE.isoformat()}))
    if leaves_stock(entry, there) and not entry.merges and not proposed:
        found.append(Problem("system.leaves_stock", "approved_on", "Art. 29", {"day": IN_FORCE.isoformat()}))
    if proposed and not entry.growth_reason.strip():
        found.append(Problem("field.missing", "growth_reason"))
    return found


def leaves_stock(entry: SystemEntry, there: KnownSystem | None) -> bool:
    """Whether it would be new by what is said of it now: it needs then what a new one needs."""
    return there is not None and there.stock and not entry.is_stock


def _references(entry: SystemEntry, known: Known, there: KnownSystem | None) -> Iterable[Problem]:
    if entry.unit not in known.units:
        yield Problem("unit.unknown", "unit")
    if there is not None and not there.mine:
        yield Problem("system.of_another_unit", "code")
    elif there is not None and there.ended:
        yield Problem("system.ended", "code")
    elif there is not None and there.unit != entry.unit:
        yield Problem("system.unit_fixed", "unit")
    if entry.owner and entry.owner not in known.people:
        yield Problem("system.owner_unknown", "owner")
    if entry.replaceable_by:
        other = known.systems.get(entry.replaceable_by)
        if entry.replaceable_by == entry.code:
            yield Problem("system.replaces_itself", "replaceable_by")
        elif other is None or other.ended:
            yield Problem("system.replacement_unknown", "replaceable_by", params={"code": entry.replaceable_by})


def _numbers(entry: SystemEntry, known: Known) -> Iterable[Problem]:
    if not 1 <= entry.mlps_level <= 5:
        yield Problem("mlps.range", "mlps_level", "Art. 18(1)")
    if entry.monthly_users is not None and not 0 <= entry.monthly_users <= MOST_USERS:
        yield Problem("system.number", "monthly_users")
    past = (
        "approved_on",
        "in_use_since",
        "last_business_on",
        "business_stopped_on",
        "last_maintained_on",
        "reported_on",
    )
    for name in past:
        value = getattr(entry, name)
        if value is not None and value > known.today:
            yield Problem("system.future", name)
    said = [name for name in USE if getattr(entry, name) is not None]
    if said and entry.reported_on is None:
        yield Problem("system.reported_on", "reported_on")
    for name in ("last_business_on", "last_maintained_on"):
        value = getattr(entry, name)
        if value is not None and entry.reported_on is not None and value > entry.reported_on:
            yield Problem("system.after_report", name)


def _merges(entry: SystemEntry, known: Known, there: KnownSystem | None) -> Iterable[Problem]:
    if len(entry.merges) > MOST_MERGED:
        yield Problem("system.merge_most", "merges", params={"most": MOST_MERGED})
    for n, merged in enumerate(entry.merges):
        other = known.systems.get(merged)
        if merged == entry.code or merged in entry.merges[:n]:
            yield Problem("system.merge_twice", "merges", "Art. 29", {"code": merged})
        elif other is None or not other.mine:
            yield Problem("system.merge_unknown", "merges", "Art. 29", {"code": merged})
        elif other.ended and not (there is not None and other.into == entry.code):
            yield Problem("system.merge_ended", "merges", "Art. 29", {"code": merged})
    if entry.replaceable_by and entry.replaceable_by in entry.merges:
        yield Problem("system.replacement_unknown", "replaceable_by", params={"code": entry.replaceable_by})
