"""Gathers what a load of the region would change, refuses what cannot be changed, and writes the rest in bulk.

Called by: ``region.loader`` and the sections beside it. Must not: know what a section means.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.db.base import Base, new_id
from broker.errors import Problem
from broker.region.dated import Held, Wanted, merge
from broker.region.schema import Region

SHANGHAI = ZoneInfo("Asia/Shanghai")
BEGINNING = datetime.min.replace(tzinfo=UTC)
"""Since when a rule holds that has no beginning; its row has none either."""


def midnight(day: date) -> datetime:
    """The instant at which a day begins in Asia/Shanghai."""
    return datetime.combine(day, time(), SHANGHAI)


@dataclass(frozen=True, slots=True)
class Plain:
    """One undated row the file wants: what names it, what is fixed once written, and what may be edited."""

    key: Mapping[str, Any]
    fixed: Mapping[str, Any]
    free: Mapping[str, Any]
    place: str


@dataclass(slots=True)
class Run:
    """One load: the region, the instant, and everything that is to be written when nothing was refused."""

    session: Session
    region: Region
    now: datetime
    ids: dict[str, dict[str, UUID]] = field(default_factory=lambda: defaultdict(dict))
    """Ids by kind (``unit``, ``cloud``, ``account``) and code."""
    inserts: dict[type[Base], list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    updates: dict[type[Base], list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    problems: list[Problem] = field(default_factory=list)
    places: dict[UUID, str] = field(default_factory=dict)
    """Where in the file a dated row that is to be added or corrected stands."""
    counts: Counter[str] = field(default_factory=Counter)

    def since(self, rule: Any) -> datetime:
        """The instant from which a dated rule of the file holds."""
        return midnight(self.region.since(rule))

    def refuse(self, code: str, place: str) -> None:
        """Note something that this load cannot do."""
        self.problems.append(Problem(code, place))

    def plain(self, model: type[Base], wanted: Iterable[Plain]) -> dict[tuple[Any, ...], UUID]:
        """Undated rows: add the absent, update what may be edited, refuse the rest. Their ids by key."""
        entries = list(wanted)
        names = tuple(entries[0].key) if entries else ()
        rows = {tuple(getattr(row, name) for name in names): row for row in self._rows(model)}
        ids: dict[tuple[Any, ...], UUID] = {}
        for entry in entries:
            key = tuple(entry.key.values())
            row = rows.get(key)
            if row is None:
                ids[key] = self.add(model, {**entry.key, **entry.fixed, **entry.free})
            else:
                ids[key] = row.id
                self._edit(model, row, entry)
        return ids

    def _rows(self, model: type[Base]) -> list[Any]:
        """A table as plain rows: nothing of it stays in the session, where a bulk update would leave it stale."""
        return list(self.session.execute(select(*model.__table__.columns)))

    def add(self, model: type[Base], values: Mapping[str, Any]) -> UUID:
        made = new_id()
        self.inserts[model].append({"id": made, **values})
        return made

    def _edit(self, model: type[Base], row: Any, entry: Plain) -> None:
        for name, value in entry.fixed.items():
            if getattr(row, name) != value:
                self.problems.append(Problem("region.fixed", f"{entry.place}.{name}"))
        changed = {name: value for name, value in entry.free.items() if getattr(row, name) != value}
        if changed:
            # All free columns: rows of one bulk update must name the same ones.
            self.updates[model].append({"id": row.id, **entry.free})

    def dated(
        self, model: type[Base], key: Sequence[str], wanted: Iterable[Wanted], *, open_past: bool = False
    ) -> None:
        """Dated rows with a column ``during``: see ``region.dated``. ``key`` are the columns that name a rule."""
        rules = list(wanted)
        columns = tuple(rules[0].values) if rules else ()
        held = [
            Held(
                row.id,
                tuple(getattr(row, name) for name in key),
                row.during.lower or BEGINNING,
                row.during.upper,
                {name: getattr(row, name) for name in columns},
            )
            for row in self._rows(model)
            if not row.during.isempty
        ]
        found = merge(rules, held, self.now, open_past=open_past)
        self.problems += found.problems
        for row, rule in found.corrected:
            self.updates[model].append({"id": row.id, **rule.values})
            self.places[row.id] = rule.place
        for row, until in found.ended:
            self.updates[model].append({"id": row.id, "during": _during(row.since, until)})
        for rule, ends in found.added:
            named = dict(zip(key, rule.key, strict=True)) if isinstance(rule.key, tuple) else {}
            made = self.add(model, {**named, **rule.values, "during": _during(rule.since, ends)})
            self.places[made] = rule.place

    def write(self, first: Sequence[type[Base]], then: Sequence[type[Base]]) -> None:
        """What others refer to, then updates (a row must end before the next begins), then all that refers."""
        self._insert(first)
        for model, rows in self.updates.items():
            for group in _by_columns(rows):
                self.session.execute(update(model), group)
            self.counts[f"{model.__tablename__}.changed"] += len(rows)
        self._insert(then)

    def _insert(self, models: Sequence[type[Base]]) -> None:
        for model in models:
            if self.inserts[model]:
                self.session.execute(insert(model), self.inserts[model])
                self.counts[f"{model.__tablename__}.added"] += len(self.inserts[model])


def _during(since: datetime, until: datetime | None) -> Range[datetime]:
    return Range(None if since == BEGINNING else since, until)


def _by_columns(rows: Sequence[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    groups: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(sorted(row))].append(row)
    return groups.values()
