"""Where each unit stood in the tree, from when to when, out of the region's units and their changes. Pure.

Called by: ``region.loader``. Must not: read the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from broker.region.schema import Region, UnitEntry


@dataclass(frozen=True, slots=True)
class Standing:
    """A unit's name and place from a day on. ``ancestors`` run from the root to the unit itself."""

    unit: str
    since: date
    name: str
    parent: str | None
    ancestors: tuple[str, ...]
    merged: bool = False


def standings(region: Region) -> Iterator[Standing]:
    """Each unit's standings in order of time; one more only where something about it changed.

    A unit that moves takes all units below it along: their ancestors change on the same day. One that is merged into
    another stands below it from then on, so that whoever has the other's tree has all that was its own.
    """
    merged: set[str] = set()
    names = {unit.code: unit.name for unit in region.units.more}
    parents = {unit.code: unit.parent for unit in region.units.more}
    last: dict[str, Standing] = {}
    days = sorted({region.valid_from, *(change.since for change in region.units.changes)})
    for day in days:
        for change in region.units.changes:
            if change.since == day:
                names[change.unit] = change.name or names[change.unit]
                parents[change.unit] = change.into or change.parent or parents[change.unit]
                if change.into is not None:
                    merged.add(change.unit)
        for code, name in names.items():
            now = Standing(code, day, name, parents[code], _path(code, parents), code in merged)
            before = last.get(code)
            if before is None or replace(before, since=day) != now:
                last[code] = now
                yield now


def _path(code: str, parents: Mapping[str, str | None]) -> tuple[str, ...]:
    path = [code]
    while (parent := parents[path[-1]]) is not None:
        path.append(parent)
    return tuple(reversed(path))


def division_of(unit: UnitEntry, units: Mapping[str, UnitEntry]) -> str:
    """The code of the nearest division (region, city, county) the unit lies in: itself or one above it."""
    at = unit
    while at.kind not in {"region", "city", "county"} and at.parent is not None:
        at = units[at.parent]
    return at.code


def parents_first(region: Region) -> list[UnitEntry]:
    """The units in an order in which every parent comes before its children."""
    parents = {unit.code: unit.parent for unit in region.units.more}
    return sorted(region.units.more, key=lambda unit: len(_path(unit.code, parents)))
