"""Findings as people look at them: those of resources they may see, dearest first, with names and sums.

Called by: the API, the console. Must not: find anything, or decide what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import aliased

from broker.catalog.models import SubCloud, SubCloudAuthority
from broker.db.base import AnyRow
from broker.errors import NotFound
from broker.inventory import repository as inventory
from broker.inventory.models import Resource
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.work import Work
from broker.utilisation.findings import Finding, FindingKind, value_of
from broker.utilisation.models import IdleFinding, IdleScan
from broker.utilisation.pictures import Heat

_COST = func.coalesce(IdleFinding.monthly_fen, -1)


@dataclass(frozen=True, slots=True)
class Listed:
    """A finding with the resource it is about."""

    finding: Finding
    number: str
    name: str
    resource_kind: str
    unit_name: str | None
    system_name: str | None
    sub_cloud: str
    sub_cloud_name: str


@dataclass(frozen=True, slots=True)
class Sum:
    """How many open findings of a kind there are, of how many resources, and what these cost a month."""

    kind: FindingKind
    findings: int
    resources: int
    monthly_fen: int


def listed(
    work: Work,
    *,
    kinds: Collection[FindingKind] = (),
    sub_cloud: str = "",
    resource_id: UUID | None = None,
    ended: bool = False,
    after: UUID | None = None,
    limit: int = 20,
) -> list[Listed]:
    """A page of open findings, or with ``ended`` of those that are over, dearest first. One statement."""
    statement = (
        inventory.visible(work.actor, work.now)
        .add_columns(IdleFinding)
        .join(IdleFinding, IdleFinding.resource_id == Resource.id)
        .where(IdleFinding.found_at.is_not(None), IdleFinding.cleared_at.is_not(None) == ended)
        .order_by(_COST.desc(), IdleFinding.id.desc())
        .limit(limit)
    )
    if kinds:
        statement = statement.where(IdleFinding.kind.in_([kind.value for kind in kinds]))
    if sub_cloud:
        statement = statement.where(SubCloud.code == sub_cloud)
    if resource_id is not None:
        statement = statement.where(Resource.id == resource_id)
    if after is not None:
        last = select(_COST, IdleFinding.id).where(IdleFinding.id == after).scalar_subquery()
        statement = statement.where(tuple_(_COST, IdleFinding.id) < last)
    return [_listed(row) for row in work.session.execute(statement)]


def one(work: Work, finding_id: UUID) -> Listed:
    """One finding, open or over. Raises NotFound ``finding.not_found``, also when the resource is not the actor's."""
    statement = (
        inventory.visible(work.actor, work.now)
        .add_columns(IdleFinding)
        .join(IdleFinding, IdleFinding.resource_id == Resource.id)
        .where(IdleFinding.id == finding_id, IdleFinding.found_at.is_not(None))
    )
    row = work.session.execute(statement).first()
    if row is None:
        raise NotFound("finding.not_found")
    return _listed(row)


def sums(work: Work) -> list[Sum]:
    """Open findings by kind; a resource that two policies find costs once. One statement."""
    seen = (
        inventory.visible(work.actor, work.now)
        .add_columns(IdleFinding.kind.label("finding_kind"), IdleFinding.monthly_fen, IdleFinding.resource_id)
        .join(IdleFinding, IdleFinding.resource_id == Resource.id)
        .where(IdleFinding.found_at.is_not(None), IdleFinding.cleared_at.is_(None))
        .subquery()
    )
    dearest = func.max(seen.c.monthly_fen).label("fen")
    each = (
        select(seen.c.finding_kind, seen.c.resource_id, func.count().label("n"), dearest)
        .group_by(seen.c.finding_kind, seen.c.resource_id)
        .subquery()
    )
    rows = work.session.execute(
        select(each.c.finding_kind, func.sum(each.c.n), func.count(), func.coalesce(func.sum(each.c.fen), 0))
        .group_by(each.c.finding_kind)
        .order_by(each.c.finding_kind)
    )
    return [Sum(FindingKind(kind), int(n), int(resources), int(fen)) for kind, n, resources, fen in rows]


@dataclass(frozen=True, slots=True)
class Warmth:
    """How busy the servers of a first-level unit (with those below it) are on one cloud."""

    unit_name: str
    sub_cloud: str
    servers: int
    vcpu: float
    cpu_pct: float | None
    memory_pct: float | None


def warmth(work: Work) -> tuple[date | None, list[Warmth]]:
    """The newest heat map and its day, of the clouds that the actor's unit assesses or delivers for, or of all."""
    scan = work.session.scalar(
        select(IdleScan).where(IdleScan.heat.is_not(None)).order_by(IdleScan.day.desc()).limit(1)
    )
    if scan is None:
        return None, []
    clouds = None if work.actor.sees_everything else _own_clouds(work)
    each = [Heat(*row) for row in scan.heat or ()]
    names = _first_level(work, {heat.unit for heat in each})
    held: dict[tuple[str, str], list[Heat]] = {}
    for heat in each:
        if clouds is None or heat.sub_cloud in clouds:
            held.setdefault((names.get(heat.unit, heat.unit), heat.sub_cloud), []).append(heat)
    return scan.day, [_together(unit, cloud, parts) for (unit, cloud), parts in held.items()]


def _own_clouds(work: Work) -> set[str]:
    statement = (
        select(SubCloud.code)
        .join(SubCloudAuthority, SubCloudAuthority.sub_cloud_id == SubCloud.id)
        .where(
            SubCloudAuthority.unit_id == work.actor.unit_id,
            SubCloudAuthority.duty.in_(("assess", "deliver")),
            holds(SubCloudAuthority.during, work.now),
        )
    )
    return set(work.session.scalars(statement))


def _first_level(work: Work, codes: Collection[str]) -> dict[str, str]:
    """Unit code -> the name of the unit on the first level below the region that it belongs to (or its own)."""
    upper = aliased(UnitPeriod)
    statement = (
        select(Unit.code, upper.name)
        .join(UnitPeriod, (UnitPeriod.unit_id == Unit.id) & holds(UnitPeriod.during, work.now))
        .join(
            upper,
            (upper.unit_id == func.coalesce(UnitPeriod.ancestors[2], Unit.id)) & holds(upper.during, work.now),
        )
        .where(Unit.code.in_(codes))
    )
    return {row.code: row.name for row in work.session.execute(statement)}


def _together(unit: str, cloud: str, parts: list[Heat]) -> Warmth:
    def mean(of: Callable[[Heat], float | None]) -> float | None:
        known = [(part.vcpu, value) for part in parts if (value := of(part)) is not None and part.vcpu]
        cores = sum(n for n, _ in known)
        return sum(n * value for n, value in known) / cores if cores else None

    servers, vcpu = sum(part.servers for part in parts), sum(part.vcpu for part in parts)
    return Warmth(unit, cloud, servers, vcpu, mean(lambda part: part.cpu_pct), mean(lambda part: part.memory_pct))


def _listed(row: AnyRow) -> Listed:
    resource: Resource = row[0]
    return Listed(
        value_of(row.IdleFinding),
        number=resource.number,
        name=resource.name,
        resource_kind=resource.kind,
        unit_name=row.unit_name,
        system_name=row.system_name,
        sub_cloud=row.sub_cloud,
        sub_cloud_name=row.sub_cloud_name,
    )
