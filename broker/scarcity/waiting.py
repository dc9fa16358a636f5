"""Who else waits for what a request asks for: open requests that meet the same limits or the same cloud's capacity.

Called by: the decision and the assessment, in the console and over HTTP. Must not: decide who goes first.

A request that is submitted or approved is counted nowhere yet. One that is assessed is counted already (its hold has a
date): it is shown, and what it holds stands in ``used``. Whoever decides sees number, unit and amounts of every request
that competes, also of those it has no duty on; only those it may open are ``open_to_actor``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from broker.assessment.rules import item_amounts
from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.db.base import AnyRow, AnySelect
from broker.inventory.repository import node_names
from broker.inventory.rules import Amounts
from broker.lifecycle import RequestState
from broker.request import repository
from broker.request.models import RequestItem, ServiceRequest
from broker.request.values import Item, item_from
from broker.scarcity import asked
from broker.tenancy.models import UnitPeriod
from broker.tenancy.work import Work
from quotas import availability, models, rules
from quotas.values import Limit, ResourceClass, Stock

UNCOUNTED = (RequestState.SUBMITTED.value, RequestState.APPROVED.value)
COUNTED = RequestState.ASSESSED.value

Wanted = Mapping[tuple[ResourceClass, UUID | None], int]
"""What a request wants, by class and cloud."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One limit (``node``) or one cloud's stock of a class (``node`` None) that the request meets.

    ``used`` is old, ``asked`` this request's, ``waiting`` that of the others that are counted nowhere yet.
    """

    node: UUID | None
    resource_class: ResourceClass
    pool: UUID | None
    limit: int
    used: int
    asked: int
    waiting: int = 0

    @property
    def new(self) -> int:
        return self.used + self.asked

    @property
    def with_all(self) -> int:
        """If all that waits were granted."""
        return self.new + self.waiting


@dataclass(frozen=True, slots=True)
class Other:
    """Another open request, with what it wants of the contested classes, and which counters (by place) it meets."""

    id: UUID
    number: str
    state: str
    unit_id: UUID
    unit_name: str
    cloud_name: str | None
    due_at: datetime | None
    counted: bool
    open_to_actor: bool
    amounts: Mapping[ResourceClass, int]
    meets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Competition:
    """The counters a request meets, and the other requests that meet one of them, first due first."""

    counters: tuple[Counter, ...]
    others: tuple[Other, ...]
    names: Mapping[UUID, str]
    """What the units and clouds of the counters are called."""

    @property
    def tightest(self) -> tuple[Counter, ...]:
        """One counter a class and kind of counter: the one that has least left if all that waits were granted.

        With it every counter that would not be enough; the most used first.
        """
        least: dict[tuple[ResourceClass, bool], Counter] = {}
        for each in self.counters:
            key = (each.resource_class, each.node is None)
            if key not in least or each.limit - each.with_all < least[key].limit - least[key].with_all:
                least[key] = each
        shown = [c for c in self.counters if c in least.values() or c.with_all > c.limit]
        return tuple(sorted(shown, key=_share, reverse=True))


def _share(counter: Counter) -> Fraction:
    """How full it would be: exact, so that equal shares keep their order."""
    return Fraction(counter.with_all, max(counter.limit, 1))


def compete(
    work: Work, request: ServiceRequest, *, items: Iterable[Item] | None = None, cloud_id: UUID | None = None
) -> Competition:
    """Look at everything open at once: a fixed number of statements however many requests wait.

    ``items`` and ``cloud_id``: what an assessor would hold instead of what was asked for, and where.
    """
    if items is None:
        items = [item_from(row.kind, row.count, row.spec) for row in repository.items(work.session, request)]
    wanted = asked.total(items)
    cloud = cloud_id or request.target_cloud_id
    node = availability.lowest(work.session, [request.system_id]) or request.unit_id
    seen = availability.snapshot(work.session, node, [] if cloud is None else [cloud])
    counters = [*_limits(seen.limits, wanted, cloud), *_stock(seen.stock, wanted)]
    found = _open(work, request.id, cloud, [c.node for c in counters if c.node is not None])
    wants = _wants(work, found)
    others = [other for row in found if (other := _other(row, wants[row.id], counters)) is not None]
    others.sort(key=lambda o: (o.due_at is None, o.due_at, o.id))
    waiting = [0] * len(counters)
    for row in found:
        if row.state != COUNTED:
            for place, counter in enumerate(counters):
                waiting[place] += _meeting(counter, row.path, wants[row.id])
    names = node_names(work.session, (c.node for c in counters), work.now)
    names |= catalog.names(work.session, (c.pool for c in counters))
    return Competition(
        counters=tuple(
            Counter(c.node, c.resource_class, c.pool, c.limit, c.used, c.asked, more)
            for c, more in zip(counters, waiting, strict=True)
        ),
        others=tuple(others),
        names=names,
    )


def _limits(limits: Iterable[Limit], wanted: Amounts, cloud: UUID | None) -> Iterable[Counter]:
    for limit in limits:
        mine = sum(amount for kind, amount in wanted.items() if rules.meets(limit, kind, cloud))
        # Who may borrow without end competes for what its lenders' limits leave, and these are on the way as well.
        if mine and limit.borrowing is not None:
            yield Counter(limit.node, limit.resource_class, limit.pool, limit.ceiling, limit.load, mine)


def _stock(stock: Iterable[Stock], wanted: Amounts) -> Iterable[Counter]:
    for each in stock:
        mine = wanted.get(each.resource_class, 0)
        if mine and each.capacity is not None:
            yield Counter(None, each.resource_class, each.pool, each.capacity, each.used, mine)


def _open(work: Work, but: UUID, cloud: UUID | None, nodes: Sequence[UUID]) -> list[AnyRow]:
    """Open requests below one of the nodes, or for the same cloud. The limit tree's own path decides who is below."""
    n, system = models.node.c, models.node.alias().c
    own = select(system.id).where(system.id == ServiceRequest.system_id).correlate(ServiceRequest)
    below = n.path.overlap(literal(list(nodes), ARRAY(Uuid)))
    statement: AnySelect = (
        select(
            ServiceRequest.id,
            ServiceRequest.number,
            ServiceRequest.state,
            ServiceRequest.unit_id,
            ServiceRequest.revision_id,
            ServiceRequest.target_cloud_id,
            ServiceRequest.due_at,
            n.path,
            UnitPeriod.name.label("unit_name"),
            SubCloud.name.label("cloud_name"),
            repository.visible(work.actor).label("open_to_actor"),
        )
        .select_from(ServiceRequest)
        .join(models.node, n.id == func.coalesce(own.scalar_subquery(), ServiceRequest.unit_id))
        .join(UnitPeriod, (UnitPeriod.unit_id == ServiceRequest.unit_id) & func.upper_inf(UnitPeriod.during))
        .outerjoin(SubCloud, SubCloud.id == ServiceRequest.target_cloud_id)
        .where(
            ServiceRequest.state.in_((*UNCOUNTED, COUNTED)),
            ServiceRequest.id != but,
            or_(below, ServiceRequest.target_cloud_id == cloud),
        )
    )
    return list(work.session.execute(statement).all())


def _wants(work: Work, rows: Sequence[AnyRow]) -> dict[UUID, Wanted]:
    """Of each request: what its items ask for, or what its hold has got."""
    wants: defaultdict[UUID, defaultdict[tuple[ResourceClass, UUID | None], int]] = defaultdict(
        lambda: defaultdict(int)
    )
    asking = {row.revision_id: row for row in rows if row.state != COUNTED}
    items = select(RequestItem).where(RequestItem.revision_id.in_(asking))
    for item in work.session.scalars(items) if asking else ():
        row = asking[item.revision_id]
        for kind, amount in item_amounts(item_from(item.kind, item.count, item.spec)).items():
            wants[row.id][kind, row.target_cloud_id] += amount
    holding = [row.id for row in rows if row.state == COUNTED]
    for hold in availability.holds(work.session, owners=holding) if holding else ():
        for line in hold.lines:
            if line.held:
                wants[hold.owner][line.resource_class, line.pool] += line.held
    return defaultdict(dict, wants)


def _meeting(counter: Counter, path: Sequence[UUID], wanted: Wanted) -> int:
    """How much of what a request wants meets a counter."""
    if counter.node is None:
        return wanted.get((counter.resource_class, counter.pool), 0)
    if counter.node not in path:
        return 0
    limit = Limit(counter.node, counter.resource_class, counter.pool, counter.limit, counter.used)
    return sum(amount for (kind, pool), amount in wanted.items() if rules.meets(limit, kind, pool))


def _other(row: Any, wanted: Wanted, counters: Sequence[Counter]) -> Other | None:
    meets = tuple(place for place, counter in enumerate(counters) if _meeting(counter, row.path, wanted))
    if not meets:
        return None
    contested = {counters[place].resource_class for place in meets}
    amounts: dict[ResourceClass, int] = {}
    for (kind, _), amount in wanted.items():
        if contested & set(kind.counted_as):
            amounts[kind] = amounts.get(kind, 0) + amount
    return Other(
        id=row.id,
        number=row.number,
        state=row.state,
        unit_id=row.unit_id,
        unit_name=row.unit_name,
        cloud_name=row.cloud_name,
        due_at=row.due_at,
        counted=row.state == COUNTED,
        open_to_actor=bool(row.open_to_actor),
        amounts=dict(sorted(amounts.items())),
        meets=meets,
    )
