"""Compares what a sub-cloud says it has and uses with what we count; an operator accepts its total, or leaves ours.

Called by: the region's pages, the API, ``guiyun reconcile`` and the worker's hourly comparison (``tell``). Must not:
change a total by itself, or ask a cloud: it reads what the cloud last said (``workflows.health`` writes that down).
``delivery.reconcile`` compares objects one by one; here it is sums.

Totals are physical on both sides: cores, GiB. What is used: the cloud should use at least what we have handed over and
at most what we hold on top of it. More is shown (others may live there, hosts have needs of their own), less is told:
somebody pays for what is not there. A server's system disk counts with us; with a cloud it may lie on the host, so that
so much less is no difference. Use is not judged while something is being built or removed there, or was since the
cloud was asked: the two sides cannot be read at one instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, cast, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud, SubCloudStatus
from broker.db.base import new_id
from broker.delivery.models import CapacityDecision, Delivery
from broker.errors import Conflict, Invalid, NotFound, Problem
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState, Role
from broker.notify import service as notify
from broker.tenancy.rules import mandate
from broker.tenancy.work import Work
from quotas import availability, overview
from quotas import service as quotas
from quotas.overview import Use
from quotas.values import ResourceClass, Stock


class Choice(StrEnum):
    """What an operator does about a total that differs."""

    ACCEPT = "accept"
    LEAVE = "leave"


class Gap(StrEnum):
    """How the two sides differ."""

    TOTAL = "total"
    """The cloud reports another total, or does not report a class that we have."""
    LESS = "less"
    """The cloud uses less than was handed over."""
    MORE = "more"
    """The cloud uses more than we count: others, or its own needs. Shown, not told."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One class of one sub-cloud, ours and the cloud's. ``left``: an operator left just this difference of totals."""

    sub_cloud_id: UUID
    sub_cloud: str
    name: str
    resource_class: ResourceClass
    total: int | None
    reserved: int
    capacity: int | None
    use: Use
    reported_total: int | None
    reported_used: int | None
    reported_at: datetime | None
    gaps: tuple[Gap, ...]
    left: CapacityDecision | None

    @property
    def wanting(self) -> bool:
        """Whether an operator should look: another total that was not left as it is, or use that is missing."""
        return (Gap.TOTAL in self.gaps and self.left is None) or Gap.LESS in self.gaps


Report = Mapping[ResourceClass, tuple[int, int]]
"""What a cloud said, by class: total and used."""


def report_of(said: Mapping[str, Any]) -> dict[ResourceClass, tuple[int, int]]:
    """What ``sub_cloud_status.capacity`` holds; classes that we have no name for are left out."""
    found: dict[ResourceClass, tuple[int, int]] = {}
    for arch, compute in said.get("compute", {}).items():
        found[ResourceClass.vcpu_of(arch)] = (compute["vcpu_total"], compute["vcpu_used"])
        found[ResourceClass.memory_of(arch)] = (compute["memory_total_gib"], compute["memory_used_gib"])
    for block_class, block in said.get("block", {}).items():
        if f"block_gib_{block_class}" in set(ResourceClass):
            found[ResourceClass.block_of(block_class)] = (block["total_gib"], block["used_gib"])
    return found


def gaps(
    stock: Stock | None, use: Use, reported: tuple[int, int] | None, *, moving: bool, on_hosts: int = 0
) -> tuple[Gap, ...]:
    """How one class differs. Pure.

    ``reported`` None: the cloud said nothing of it. ``moving``: use is not judged now. ``on_hosts``: so much of what is
    in use may lie where the cloud does not count it.
    """
    total = stock.total if stock is not None else 0
    if total is None:  # something else bounds it: there is nothing to compare
        return ()
    if reported is None:
        return (Gap.TOTAL,) if total else ()
    found = [Gap.TOTAL] if reported[0] != total else []
    if not moving and reported[1] < use.in_use - on_hosts:
        found.append(Gap.LESS)
    if not moving and reported[1] > use.counted:
        found.append(Gap.MORE)
    return tuple(found)


def compare(work: Work, code: str = "") -> list[Compared]:
    """Every class of one sub-cloud in service, or of all of them. A cloud that said nothing has no gaps.

    A fixed number of statements. Raises NotFound ``sub_cloud.unknown``.
    """
    statement = (
        select(SubCloud, SubCloudStatus)
        .outerjoin(SubCloudStatus, SubCloudStatus.sub_cloud_id == SubCloud.id)
        .where(SubCloud.retired_at.is_(None), *([SubCloud.code == code] if code else []))
        .order_by(SubCloud.position)
    )
    rows = work.session.execute(statement).all()
    if code and not rows:
        raise NotFound("sub_cloud.unknown")
    ids = [cloud.id for cloud, _ in rows]
    ours = _Ours(
        stocks=availability.pool_left(work.session, ids),
        uses=overview.pool_use(work.session, ids),
        moving=_moving(work, ids),
        decided=_decided(work, ids),
        disks=_system_disks(work, ids),
    )
    return [line for cloud, status in rows for line in ours.beside(cloud, status)]


@dataclass(frozen=True, slots=True)
class _Ours:
    """Our side of some clouds."""

    stocks: Mapping[UUID, Mapping[ResourceClass, Stock]]
    uses: Mapping[UUID, Mapping[ResourceClass, Use]]
    moving: set[UUID]
    decided: Mapping[tuple[UUID, str], CapacityDecision]
    disks: Mapping[tuple[UUID, str], int]

    def beside(self, cloud: SubCloud, status: SubCloudStatus | None) -> Iterator[Compared]:
        """Every class that either side has."""
        said = report_of(status.capacity) if status is not None else {}
        for kind in ResourceClass:
            if kind in self.stocks[cloud.id] or kind in said:
                yield self._line(cloud, kind, said, status.checked_at if status is not None else None)

    def _line(self, cloud: SubCloud, kind: ResourceClass, said: Report, at: datetime | None) -> Compared:
        stock, reported = self.stocks[cloud.id].get(kind), said.get(kind)
        use = self.uses[cloud.id].get(kind, Use())
        key = (cloud.id, kind.value)
        moving = cloud.id in self.moving
        found = gaps(stock, use, reported, moving=moving, on_hosts=self.disks.get(key, 0)) if said else ()
        line = Compared(
            sub_cloud_id=cloud.id,
            sub_cloud=cloud.code,
            name=cloud.name,
            resource_class=kind,
            total=stock.total if stock is not None else None,
            reserved=stock.reserved if stock is not None else 0,
            capacity=stock.capacity if stock is not None else None,
            use=use,
            reported_total=reported[0] if reported else None,
            reported_used=reported[1] if reported else None,
            reported_at=at,
            gaps=found,
            left=None,
        )
        last = self.decided.get(key)
        left = last is not None and Gap.TOTAL in found and _is_left(last, line)
        return replace(line, left=last if left else None)


def _is_left(decision: CapacityDecision, line: Compared) -> bool:
    """Whether an operator has left just these two totals as they are."""
    seen = (decision.decision, decision.ours, decision.reported)
    return seen == (Choice.LEAVE.value, line.total, line.reported_total)


def _moving(work: Work, clouds: Sequence[UUID]) -> set[UUID]:
    """The clouds in which something is being built or removed, or was handed over since they were asked."""
    on_its_way = (ResourceState.BUILDING.value, ResourceState.READY.value, ResourceState.RELEASING.value)
    lost = Resource.error_code.is_not_distinct_from(inventory.LOST)  # it may stay so for long, and moves nothing
    resources = select(Resource.sub_cloud_id).where(
        Resource.sub_cloud_id.in_(clouds), Resource.state.in_(on_its_way), ~lost
    )
    deliveries = (
        select(Delivery.sub_cloud_id)
        .join(SubCloudStatus, SubCloudStatus.sub_cloud_id == Delivery.sub_cloud_id)
        .where(
            Delivery.sub_cloud_id.in_(clouds),
            or_(Delivery.state.in_(("queued", "running")), Delivery.finished_at >= SubCloudStatus.checked_at),
        )
    )
    return set(work.session.scalars(resources.union(deliveries)))


def _system_disks(work: Work, clouds: Sequence[UUID]) -> dict[tuple[UUID, str], int]:
    """GiB of the system disks of the servers that are there, by cloud and class."""
    disk_class, size = Resource.spec["system_disk_class"].astext, cast(Resource.spec["system_disk_gib"].astext, Integer)
    there = (ResourceState.READY.value, ResourceState.ACTIVE.value, ResourceState.STOPPED.value)
    rows = work.session.execute(
        select(Resource.sub_cloud_id, disk_class, func.sum(size))
        .where(Resource.sub_cloud_id.in_(clouds), Resource.state.in_(there), Resource.kind == "server")
        .where(size.is_not(None))  # of an adopted server the system disk may be unknown
        .group_by(Resource.sub_cloud_id, disk_class)
    )
    return {(cloud, f"block_gib_{name}"): int(gib) for cloud, name, gib in rows}


def _decided(work: Work, clouds: Sequence[UUID]) -> dict[tuple[UUID, str], CapacityDecision]:
    """The last decision of each class of each cloud."""
    d = CapacityDecision
    statement = (
        select(d)
        .where(d.sub_cloud_id.in_(clouds))
        .ext(distinct_on(d.sub_cloud_id, d.resource_class))
        .order_by(d.sub_cloud_id, d.resource_class, d.id.desc())
    )
    return {(row.sub_cloud_id, row.resource_class): row for row in work.session.scalars(statement)}


def decide(
    work: Work, code: str, resource_class: ResourceClass, choice: Choice, *, seen: int | None, reason: str
) -> CapacityDecision:
    """Take the cloud's total for ours, or leave ours, with a reason. What is reserved and the ratio stay.

    ``seen`` is the cloud's total that the operator decided on. Raises NotFound ``sub_cloud.unknown``; Forbidden unless
    the actor may deliver for this cloud; Invalid ``reason.missing``; Conflict ``capacity.moved`` (the cloud says
    something else by now, or nothing differs any more), ``capacity.unreported`` (there is no total to accept). To be
    called in a transaction of its own (``quotas.set_inventory``).
    """
    lines = {line.resource_class: line for line in compare(work, code)}
    cloud_id = next(iter(lines.values())).sub_cloud_id if lines else _cloud_id(work, code)
    by = mandate(work.actor, Role.OPERATOR, catalog.delivering_unit(work.session, cloud_id, work.now))
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    line = lines.get(resource_class)
    if line is None or Gap.TOTAL not in line.gaps or line.reported_total != seen:
        raise Conflict("capacity.moved")
    if choice is Choice.ACCEPT:
        if line.reported_total is None:
            raise Conflict("capacity.unreported")
        stock = availability.pool_left(work.session, [cloud_id])[cloud_id].get(resource_class)
        quotas.set_inventory(
            work.session,
            cloud_id,
            resource_class,
            total=line.reported_total,
            reserved=stock.reserved if stock else 0,
            allocation_ratio=stock.allocation_ratio if stock else 1,
            step=stock.step if stock else 1,
        )
    made = CapacityDecision(
        id=new_id(),
        sub_cloud_id=cloud_id,
        resource_class=resource_class.value,
        decision=choice.value,
        ours=line.total,
        reported=line.reported_total,
        reason=reason.strip(),
        decided_by=by.account_id,
        decided_at=work.now,
    )
    work.session.add(made)
    work.record(
        f"sub_cloud.capacity_{choice.value}",
        "sub_cloud",
        cloud_id,
        mandate=by,
        data={"resource_class": resource_class.value, "ours": line.total, "reported": line.reported_total},
    )
    return made


def may_decide(work: Work, sub_cloud_id: UUID) -> bool:
    """Whether a page offers the decision; ``decide`` is the guard."""
    unit = catalog.delivering_unit(work.session, sub_cloud_id, work.now)
    own = Role.OPERATOR in work.actor.roles and work.actor.unit_id == unit
    return own or any(p.unit_id == unit for p in work.actor.deputy_for.get(Role.OPERATOR, ()))


_TOLD = (Role.CLOUD_OPERATOR, Role.OPERATOR)


def tell(work: Work, code: str) -> list[Compared]:
    """Tell the cloud's operators of what wants looking at, each difference once; returns all that does."""
    wanting = [line for line in compare(work, code) if line.wanting]
    if not wanting:
        return []
    unit = catalog.delivering_unit(work.session, wanting[0].sub_cloud_id, work.now)
    told = [n for line in wanting for role in _TOLD for n in _notices(line, unit, role)]
    if unit is not None and notify.remind(work, told):
        differing = [
            {"class": w.resource_class.value, "gaps": [g.value for g in w.gaps], "ours": w.total,
             "reported": w.reported_total, "in_use": w.use.in_use, "reported_used": w.reported_used}
            for w in wanting
        ]  # fmt: skip
        work.record("sub_cloud.capacity_differs", "sub_cloud", wanting[0].sub_cloud_id, data={"classes": differing})
    return wanting


def _notices(line: Compared, unit: UUID | None, role: Role) -> Iterator[dict[str, Any]]:
    pairs = {
        Gap.TOTAL: ("capacity.differs", line.total or 0, line.reported_total or 0),
        Gap.LESS: ("capacity.missing", line.use.in_use, line.reported_used or 0),
    }
    for gap, (code, ours, reported) in pairs.items():
        if gap not in line.gaps or (gap is Gap.TOTAL and line.left is not None):
            continue
        key = f"{gap.value}/{line.sub_cloud}/{line.resource_class.value}/{ours}/{reported}"
        yield {
            "code": code,
            "params": {
                "cloud": line.name,
                "sub_cloud": line.sub_cloud,
                "class": line.resource_class.value,
                "ours": ours,
                "reported": reported,
            },
            "subject_type": "sub_cloud",
            "subject_id": line.sub_cloud_id,
            "account_id": None,
            "unit_id": unit,
            "role": role.value,
            "dedupe": f"capacity/{role.value}/{key}",
        }


def _cloud_id(work: Work, code: str) -> UUID:
    found = work.session.scalar(select(SubCloud.id).where(SubCloud.code == code))
    if found is None:
        raise NotFound("sub_cloud.unknown")
    return found
