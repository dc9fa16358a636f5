"""A unit's quota and that of the units below it: limit, in use, held, what is left and which limit binds.

Called by: the quota page and the API. Must not: set a limit, or show a unit to whom it does not concern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from broker.catalog import repository as catalog
from broker.catalog.models import HomeCloud, SubCloud, SubCloudAuthority
from broker.db.base import AnyRow, AnySelect
from broker.errors import NotFound
from broker.inventory.models import InformationSystem
from broker.inventory.repository import node_names
from broker.lifecycle import Role
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.values import Actor
from broker.tenancy.work import Work
from quotas import availability, models, overview
from quotas.overview import Standing, Use, Uses
from quotas.values import ResourceClass

_OFFICES = (Role.APPROVER, Role.ASSESSOR, Role.OPERATOR)


@dataclass(frozen=True, slots=True)
class Bar:
    """One class of a unit, over all clouds (``pool`` None) or in one. ``limit`` None: the unit has none of its own.

    ``left`` and ``bound_by`` are filled in for the unit that was asked for, and None for those below it.
    """

    resource_class: ResourceClass
    pool: UUID | None
    limit: int | None
    use: Use
    left: int | None = None
    bound_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A unit as it stands in the tree today, or an information system (kind ``system``)."""

    id: UUID
    code: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A unit with its bars: limits of its own, and what it and everything below it use."""

    unit: Place
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A unit's quota. ``above``: the way up to what the actor may see, nearest last."""

    unit: Place
    above: tuple[Place, ...]
    bars: tuple[Bar, ...]
    below: tuple[Branch, ...]
    systems: tuple[Branch, ...]
    """Information systems right below it that have a node of their own."""
    names: Mapping[UUID, str]
    """What the units that bind and the clouds are called."""


def may_see(work: Work) -> ColumnElement[bool]:
    """A condition on ``UnitPeriod``: the units whose quota the actor may see.

    Its own tree; for an office with a duty on a cloud also the units that ordinarily use that cloud, and everything
    where that cloud is the main one (the Bureau coordinates: ours, from 统筹). Join ``UnitPeriod`` as it is now.
    """
    actor = work.actor
    if actor.sees_everything:
        return true()
    conditions: list[ColumnElement[bool]] = [UnitPeriod.ancestors.contains([actor.unit_id])]
    offices = _offices(actor)
    if offices:
        duty = select(SubCloudAuthority.sub_cloud_id).where(
            SubCloudAuthority.unit_id.in_(offices), SubCloudAuthority.during.contains(work.now)
        )
        main = select(SubCloud.id).where(SubCloud.tier == "main", SubCloud.id.in_(duty))
        homes = select(func.array_agg(HomeCloud.unit_id, type_=ARRAY(Uuid))).where(
            HomeCloud.sub_cloud_id.in_(duty), HomeCloud.during.contains(work.now)
        )
        conditions += [main.exists(), UnitPeriod.ancestors.overlap(homes.scalar_subquery())]
    return or_(*conditions)


def _offices(actor: Actor) -> set[UUID | None]:
    units = {actor.unit_id} if actor.roles & set(_OFFICES) else set()
    return units | {p.unit_id for role in _OFFICES for p in actor.deputy_for.get(role, ())}


def _places(work: Work) -> Select[Any]:
    statement: AnySelect = (
        select(Unit.id, Unit.code, UnitPeriod.name, Unit.kind, UnitPeriod.ancestors, UnitPeriod.parent_id)
        .join(UnitPeriod, UnitPeriod.unit_id == Unit.id)
        .where(UnitPeriod.during.contains(work.now), may_see(work))
    )
    return statement


def _place(row: AnyRow) -> Place:
    return Place(row.id, row.code, row.name, row.kind)


def first(work: Work) -> str:
    """The code of the unit with which the actor's look begins: the highest it may see, its own first."""
    depth = func.cardinality(UnitPeriod.ancestors)
    own = UnitPeriod.ancestors.contains([work.actor.unit_id]).desc()
    order = (depth, Unit.code) if work.actor.sees_everything or _offices(work.actor) else (own, depth, Unit.code)
    row = work.session.execute(_places(work).order_by(*order).limit(1)).first()
    if row is None:
        raise NotFound("unit.unknown")
    return str(row.code)


def of_unit(work: Work, code: str, *, after: UUID | None = None, limit: int | None = None) -> Tree:
    """A unit's quota with the units right below it. A fixed number of statements however many there are.

    ``after`` and ``limit`` page through those below (by id). Raises NotFound ``unit.unknown``.
    """
    row = work.session.execute(_places(work).where(Unit.code == code)).first()
    if row is None:
        raise NotFound("unit.unknown")
    below = _places(work).where(UnitPeriod.parent_id == row.id)
    if limit is not None:
        below = below.where(Unit.id > after) if after is not None else below
        children = work.session.execute(below.order_by(Unit.id).limit(limit)).all()
    else:
        children = work.session.execute(below.order_by(Unit.kind, Unit.code)).all()
    systems = _systems(work, row.id)
    branches = overview.branches(work.session, row.id)
    below_it = [*(child.id for child in children), *(system.id for system in systems)]
    limits = overview.limits_on(work.session, [row.id, *below_it])
    bars = _own_bars(work, row.id, branches.get(row.id, {}), limits)
    bound = {bar.bound_by for bar in bars if bar.bound_by is not None}
    clouds = {bar.pool for bar in bars} | {m.pool for m in limits}
    names = node_names(work.session, bound, work.now)
    return Tree(
        unit=_place(row),
        above=_above(work, row),
        bars=bars,
        below=tuple(Branch(_place(c), _bars(c.id, branches.get(c.id, {}), limits)) for c in children),
        systems=tuple(Branch(at, _bars(at.id, branches.get(at.id, {}), limits)) for at in systems),
        names=names | catalog.names(work.session, clouds),
    )


def _systems(work: Work, unit_id: UUID) -> list[Place]:
    """Information systems with a node right below the unit's."""
    rows = work.session.execute(
        select(InformationSystem.id, InformationSystem.code, InformationSystem.name)
        .join(models.node, models.node.c.id == InformationSystem.id)
        .where(models.node.c.parent_id == unit_id)
        .order_by(InformationSystem.code)
    )
    return [Place(row.id, row.code, row.name, "system") for row in rows]


def _above(work: Work, row: AnyRow) -> tuple[Place, ...]:
    """The units above that the actor may see, the highest first."""
    depth = func.cardinality(UnitPeriod.ancestors)
    rows = work.session.execute(_places(work).where(Unit.id.in_(row.ancestors), Unit.id != row.id).order_by(depth))
    return tuple(_place(each) for each in rows)


def _bars(unit: UUID, uses: Uses, limits: Sequence[Standing]) -> tuple[Bar, ...]:
    """A unit's limits with what they are measured against, and what it uses without a limit of its own."""
    own = {(m.resource_class, m.pool): m.limit for m in limits if m.node == unit}
    wanted = set(own) | {(kind, pool) for kind, pool in uses if pool is None and kind.counts_in is None}
    order = list(ResourceClass)
    keys = sorted(wanted, key=lambda key: (key[1] is not None, str(key[1]), order.index(key[0])))
    return tuple(Bar(kind, pool, own.get((kind, pool)), uses.get((kind, pool), Use())) for kind, pool in keys)


def _own_bars(work: Work, unit: UUID, uses: Uses, limits: Sequence[Standing]) -> tuple[Bar, ...]:
    """With what is left on the way to the root; also classes in which only a unit above has a limit."""
    left = {each.resource_class: each for each in availability.left(work.session, unit)}
    bound = [kind for kind, each in left.items() if each.left is not None and kind.counts_in is None]
    bars = list(_bars(unit, uses, limits))
    known = {(bar.resource_class, bar.pool) for bar in bars}
    bars += [Bar(kind, None, None, uses.get((kind, None), Use())) for kind in bound if (kind, None) not in known]
    order = list(ResourceClass)
    bars.sort(key=lambda bar: (bar.pool is not None, str(bar.pool), order.index(bar.resource_class)))
    return tuple(
        Bar(b.resource_class, b.pool, b.limit, b.use, left[b.resource_class].left, left[b.resource_class].bound_by)
        if b.pool is None
        else b
        for b in bars
    )
