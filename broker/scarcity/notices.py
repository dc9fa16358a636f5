"""Tells people when a quota or a cloud is 80 % used, borrows or is full, once for each time (ours: no article).

Called by: dispatch, with the other dates that have come. Must not: send anything (notices go to the outbox and inbox),
or touch what is counted.

**Why a look every now and then, and not after each hold.** What fills a quota is one SQL function that holds the
hottest rows of the system for a moment; to compare and to write notices there would lengthen just that moment, and
holds made at the command line would tell nobody. A row for each counter remembers the mark it stands at. A look
compares all counters with their rows in one statement, in whole numbers, and comes back with those that have moved
from one mark to another: usually none. Rising to a mark tells people, falling below it only moves the row, so that the
next rise is told again. Whatever happens between two looks is one move: a counter that jumps from 70 % to 100 % is
told of once, as full.

**A limit that may borrow** has three marks. 80 % and 100 % are of its nominal share, as everywhere: what comes after
100 % is somebody else's, to be given back when that one asks (``quota.borrowing``). Full is when it may not borrow any
more either; one that may borrow without end is never full by itself, but the limit above is. What is booked for
guarantees below counts as used, since nobody else gets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import literal, select, text
from sqlalchemy.dialects.postgresql import insert

from broker.catalog.models import SubCloud, SubCloudAuthority
from broker.db.base import AnyRow, new_id
from broker.inventory.models import InformationSystem
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.scarcity.models import QuotaMark
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.work import Work

FULL = 100

_UNIT_ROLES = (Role.APPLICANT, Role.UNIT_LEADER, Role.CLOUD_CHIEF)
_COORDINATED = frozenset({"region", "city"})
"""Kinds of units of whose quota the Bureau is told as well."""

_AT_A_TIME = 1000
"""Counters that one look moves; the next look goes on."""

# Full is where nothing more is to be had: for a limit its ceiling, with what is booked for guarantees below.
_MOVED = text("""
WITH counter AS (
    SELECT node_id, pool_id, resource_class, used, used + booked AS load, limit_amount AS most, ceiling
    FROM quotas.node_limit
    UNION ALL
    SELECT NULL, pool_id, resource_class, used, used, capacity, capacity
    FROM quotas.inventory WHERE capacity IS NOT NULL
), now AS (
    SELECT *, CASE WHEN load = 0 THEN 0 WHEN load >= most THEN 100
                   WHEN load * 100 >= most * :percent THEN :percent ELSE 0 END AS percent,
           load > 0 AND load >= ceiling AS "full"
    FROM counter
)
SELECT coalesce(n.node_id, k.node_id) AS node_id, coalesce(n.pool_id, k.pool_id) AS pool_id,
       coalesce(n.resource_class, k.resource_class) AS resource_class, n.used, n.load, n.most, n.ceiling,
       coalesce(n.percent, 0) AS percent, coalesce(n."full", false) AS "full",
       coalesce(k.percent, 0) AS before, coalesce(k."full", false) AS full_before,
       k.id, coalesce(k.crossings, 0) AS crossings
FROM now n FULL JOIN broker.quota_mark k
  ON coalesce(n.node_id, :nobody) = coalesce(k.node_id, :nobody)
 AND coalesce(n.pool_id, :nobody) = coalesce(k.pool_id, :nobody) AND n.resource_class = k.resource_class
WHERE coalesce(n.percent, 0) <> coalesce(k.percent, 0) OR coalesce(n."full", false) <> coalesce(k."full", false)
ORDER BY 1, 2, 3 LIMIT :most
""")
_NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class _Around:
    """Who and what counters belong to: by node the unit (or the system, with its unit's id); clouds, authorities."""

    units: Mapping[UUID, AnyRow]
    clouds: Mapping[UUID, AnyRow]
    authorities: Mapping[tuple[UUID, str], UUID]

    def main(self, duty: str) -> UUID | None:
        """The unit that has a duty on the main cloud: the Bureau decides for it, the Center delivers (Art. 14)."""
        return next((u for (cloud, d), u in self.authorities.items() if d == duty and self._is_main(cloud)), None)

    def _is_main(self, cloud: UUID) -> bool:
        return cloud in self.clouds and bool(self.clouds[cloud].tier == "main")


def tell(work: Work, *, percent: int) -> int:
    """Look at every counter, move the marks, write the notices; returns how many notices were new."""
    rows = work.session.execute(_MOVED, {"percent": percent, "nobody": _NOBODY, "most": _AT_A_TIME}).all()
    if not rows:
        return 0
    risen = [row for row in rows if _risen(row)]
    marks = [
        {
            "id": row.id or new_id(),
            "node_id": row.node_id,
            "pool_id": row.pool_id,
            "resource_class": row.resource_class,
            "percent": row.percent,
            "full": row.full,
            "crossings": row.crossings + _risen(row),
            "changed_at": work.now,
        }
        for row in rows
    ]
    statement = insert(QuotaMark).values(marks)
    work.session.execute(
        statement.on_conflict_do_update(
            index_elements=["node_id", "pool_id", "resource_class"],
            set_={name: statement.excluded[name] for name in ("percent", "full", "crossings", "changed_at")},
        )
    )
    around = _around(work, risen)
    crossed = {(m["node_id"], m["pool_id"], m["resource_class"]): m for m in marks}
    notices = [
        notice
        for row in risen
        for notice in _notices(row, crossed[row.node_id, row.pool_id, row.resource_class], around)
    ]
    return notify.remind(work, notices)


def _risen(row: AnyRow) -> bool:
    return (row.percent, row.full) > (row.before, row.full_before)


def _around(work: Work, rows: Sequence[AnyRow]) -> _Around:
    """Three statements, and none when nothing has risen."""
    if not rows:
        return _Around({}, {}, {})
    nodes = [row.node_id for row in rows if row.node_id]
    units = work.session.execute(
        select(Unit.id.label("node_id"), Unit.id, Unit.code, Unit.kind, UnitPeriod.name)
        .join(UnitPeriod, UnitPeriod.unit_id == Unit.id)
        .where(Unit.id.in_(nodes), UnitPeriod.during.contains(work.now))
        .union_all(
            select(InformationSystem.id, Unit.id, Unit.code, literal("system"), InformationSystem.name)
            .join(Unit, Unit.id == InformationSystem.unit_id)
            .where(InformationSystem.id.in_(nodes))
        )
    )
    clouds = work.session.execute(select(SubCloud.id, SubCloud.code, SubCloud.name, SubCloud.tier))
    authorities = work.session.execute(
        select(SubCloudAuthority.sub_cloud_id, SubCloudAuthority.duty, SubCloudAuthority.unit_id).where(
            SubCloudAuthority.during.contains(work.now)
        )
    )
    return _Around(
        {row.node_id: row for row in units},
        {row.id: row for row in clouds},
        {(row.sub_cloud_id, row.duty): row.unit_id for row in authorities},
    )


def _notices(row: AnyRow, crossing: Mapping[str, Any], around: _Around) -> Iterator[dict[str, Any]]:
    """One for each role that is concerned. A node that is no unit of ours has nobody to tell."""
    of_unit = row.node_id is not None
    unit, cloud = around.units.get(row.node_id), around.clouds.get(row.pool_id)
    if (of_unit and unit is None) or (row.pool_id is not None and cloud is None):
        return
    params: dict[str, Any] = {
        "class": row.resource_class,
        "used": row.used,
        "limit": row.most,
        "percent": row.percent,
        "booked": row.load - row.used,
        "borrowed": max(row.load - row.most, 0),
    }
    if unit is not None:
        params |= {"unit": unit.name, "unit_code": unit.code}
    if cloud is not None:
        params |= {"cloud": cloud.name, "sub_cloud": cloud.code}
    kind = "quota_in_cloud" if unit is not None and cloud is not None else "quota" if unit is not None else "capacity"
    mark = "full" if row.full else "borrowing" if row.percent == FULL else "near"
    common = {
        "code": f"{kind}.{mark}{'_booked' * (row.load > row.used)}",
        "params": params,
        "subject_type": "unit" if of_unit else "sub_cloud",
        "subject_id": row.pool_id if unit is None else unit.id,
        "account_id": None,
    }
    told = _unit_people(unit, around) if unit is not None else _cloud_people(row, around)
    for unit_id, role in dict.fromkeys(told):
        dedupe = f"quota/{crossing['id']}/{crossing['crossings']}/{unit_id}/{role.value}"
        yield common | {"unit_id": unit_id, "role": role.value, "dedupe": dedupe}


def _unit_people(unit: AnyRow, around: _Around) -> Iterable[tuple[UUID, Role]]:
    """The unit's own (a system's: its unit's); of the region and the cities also the Bureau, which coordinates."""
    yield from ((unit.id, role) for role in _UNIT_ROLES)
    bureau = around.main("decide")
    if unit.kind in _COORDINATED and bureau is not None:
        yield bureau, Role.APPROVER


def _cloud_people(row: AnyRow, around: _Around) -> Iterable[tuple[UUID, Role]]:
    """Who assesses and delivers for the cloud, and the Center, which watches over all of them (Art. 13)."""
    assesses, delivers = (around.authorities.get((row.pool_id, duty)) for duty in ("assess", "deliver"))
    center = around.main("deliver")
    people = (
        (assesses, Role.ASSESSOR),
        (delivers, Role.OPERATOR),
        (delivers, Role.CLOUD_OPERATOR),
        (center, Role.OPERATOR),
    )
    yield from ((unit_id, role) for unit_id, role in people if unit_id is not None)
