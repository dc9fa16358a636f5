"""Where segments stand in the extranet, as an actor may see them: routed, being made, on the desk, withdrawn.

Called by: the console's map. Must not: call a router; what routers really have is ``extranet.drift``'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased

from broker.catalog.models import SubCloud
from broker.db.base import AnyRow
from broker.delivery.models import DeskCase
from broker.extranet import looks, service
from broker.extranet.models import RouterLook, SegmentAttachment
from broker.extranet.schema import Topology, Vrf
from broker.inventory import repository as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState, Role
from broker.scarcity.tree import may_see
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.work import Work

REMEMBERED = timedelta(days=30)
"""How long a segment that was withdrawn stays on the map: ours, as long as its prefix may still be looked for."""

_MADE = frozenset({ResourceState.ACTIVE.value, ResourceState.STOPPED.value})
_GONE = frozenset({ResourceState.UNDONE.value, ResourceState.RELEASED.value})

_OPERATING = frozenset({Role.OPERATOR, Role.CLOUD_OPERATOR, Role.ADMINISTRATOR})
"""Who is told of what routers do beside the plan."""


class Standing(StrEnum):
    """How it is with a segment, what needs a person first."""

    DESK = "desk"
    """The machine could not finish: an operator decides."""
    DIFFERS = "differs"
    """Handed over; the last comparison found that its router has it otherwise, and could not put it right."""
    SILENT = "silent"
    """Handed over; its router did not answer the last comparison: nobody knows what it has now."""
    MAKING = "making"
    LEAVING = "leaving"
    UNROUTED = "unrouted"
    """Handed over before there was an extranet to attach it to: no router has it."""
    ROUTED = "routed"
    """Handed over; the probes saw it at home and nowhere else."""
    WITHDRAWN = "withdrawn"


ORDER = list(Standing)


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment. ``router``: where it is, or where its cloud is attached.

    ``vrf`` once it had a place; ``vni`` while it has it: once given back it may be another's.
    """

    resource_id: UUID
    number: str
    name: str
    unit_name: str
    zone: str
    prefix: str
    router: str
    vrf: str
    vni: int | None
    standing: Standing
    at: datetime | None
    """When the probes last saw it, or when it was withdrawn."""


@dataclass(frozen=True, slots=True)
class OpenGap:
    """What the last comparison found on a router and could not put right. ``segment``: whose it is, if it is one's."""

    router: str
    vrf: str
    kind: str
    subject: str
    segment: Segment | None


@dataclass(frozen=True, slots=True)
class ExtranetMap:
    """The topology; of its tables those the actor may see, ``units`` by code with their names; the actor's segments."""

    topology: Topology
    vrfs: Sequence[Vrf]
    units: Mapping[str, str]
    clouds: Mapping[str, str]
    segments: Sequence[Segment]
    looks: Mapping[str, RouterLook] = field(default_factory=dict)
    """What the last audit heard from each router; none before the first."""
    gaps: Sequence[OpenGap] = ()
    """Of the actor's segments; for operators, of whatever there is in the tables that they may see."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the last comparison says: which routers were silent, and which segments' differences lie open."""

    silent: AbstractSet[str]
    differing: AbstractSet[str]

    def of(self, place: SegmentAttachment | None, resource_id: UUID) -> Standing:
        """How it is with a segment that was handed over. Before the first comparison it is as the probes saw it."""
        if str(resource_id) in self.differing:
            return Standing.DIFFERS
        return Standing.SILENT if place is not None and place.router in self.silent else Standing.ROUTED


def extranet_map(work: Work) -> ExtranetMap | None:
    """None while no topology was loaded. Segments that need a person come first, then by place."""
    loaded = service.current(work.session)
    if loaded is None:
        return None
    topology, last = loaded.topology, looks.last(work.session)
    heard = _Heard(
        {name for name, look in last.items() if look.silent}, {gap[3] for look in last.values() for gap in look.gaps}
    )
    found = [s for row in _rows(work) if (s := _segment(row, topology, heard)) is not None]
    found.sort(key=lambda s: (ORDER.index(s.standing), s.router, s.zone, s.vni or 0, s.number))
    units = _units(work, topology)
    used = {s.vrf for s in found}
    vrfs = [v for v in topology.vrfs if v.unit is None or v.unit in units or v.name in used]
    clouds = work.session.execute(
        select(SubCloud.code, SubCloud.name).where(SubCloud.code.in_([a.sub_cloud for a in topology.access]))
    )
    names = {row.code: row.name for row in clouds}
    gaps = list(_gaps(work, last, found, {"", *(v.name for v in vrfs)}))
    return ExtranetMap(topology, vrfs, units, names, found, last, gaps)


def _gaps(
    work: Work, last: Mapping[str, RouterLook], found: Sequence[Segment], vrfs: AbstractSet[str]
) -> Iterator[OpenGap]:
    ours = {str(s.resource_id): s for s in found}
    sees = bool(_OPERATING & set(work.actor.roles))
    for name, look in sorted(last.items()):
        for kind, vrf, subject, resource_id in look.gaps:
            segment = ours.get(resource_id)
            if segment is not None or (sees and vrf in vrfs):
                yield OpenGap(name, vrf, kind, subject, segment)


def standing(
    state: ResourceState,
    *,
    on_desk: bool,
    verified: bool,
    attached: bool,
    withdrawn: bool,
    heard: Standing = Standing.ROUTED,
) -> Standing:
    """How it is with a segment, from its state and its place. Pure. ``attached``: it has, or had, a place.

    ``heard``: what the last comparison says of one that was handed over (routed, differs, silent).
    """
    if on_desk or state is ResourceState.FAILED:
        return Standing.DESK
    if state.value in _GONE or state is ResourceState.RELEASING:
        return Standing.LEAVING if state is ResourceState.RELEASING or not withdrawn else Standing.WITHDRAWN
    if state.value not in _MADE or (attached and not withdrawn and not verified):
        return Standing.MAKING
    if not attached or withdrawn:
        return Standing.UNROUTED
    return heard


def _segment(row: AnyRow, topology: Topology, heard: _Heard) -> Segment | None:
    """None: its cloud is not attached to the extranet, and it never had a place."""
    resource, place = row.Resource, row.place
    access = next((a for a in topology.access if a.sub_cloud == row.sub_cloud), None)
    if place is None and access is None:
        return None
    return Segment(
        resource_id=resource.id,
        number=resource.number,
        name=resource.name,
        unit_name=row.unit_name or "",
        zone=resource.spec["zone"],
        prefix=str(place.prefix if place is not None else resource.prefix or ""),
        router=place.router if place is not None else access.router if access is not None else "",
        vrf=place.vrf if place is not None else "",
        vni=place.vni if place is not None and place.withdrawn_at is None else None,
        standing=standing(
            ResourceState(resource.state),
            on_desk=row.on_desk,
            verified=place is not None and place.verified_at is not None,
            attached=place is not None,
            withdrawn=place is not None and place.withdrawn_at is not None,
            heard=heard.of(place, resource.id),
        ),
        at=(place.withdrawn_at or place.verified_at) if place is not None else None,
    )


def _rows(work: Work) -> Sequence[AnyRow]:
    """Segments that are not over, and those whose last place was left not long ago. One statement."""
    recent = or_(SegmentAttachment.withdrawn_at.is_(None), SegmentAttachment.withdrawn_at > work.now - REMEMBERED)
    last = (
        select(SegmentAttachment)
        .where(recent)
        .ext(distinct_on(SegmentAttachment.resource_id))
        .order_by(SegmentAttachment.resource_id, SegmentAttachment.id.desc())
        .subquery()
    )
    place = aliased(SegmentAttachment, last, name="place")
    waits = and_(Resource.state == ResourceState.PLANNED.value, Resource.delivery_id.is_(None))
    shown = or_(and_(Resource.state.not_in(_GONE), ~waits), place.id.is_not(None))
    statement = (
        inventory.visible(work.actor, work.now)
        .add_columns(place, _on_desk().label("on_desk"))
        .outerjoin(place, place.resource_id == Resource.id)
        .where(Resource.kind == "segment", shown)
    )
    return work.session.execute(statement).all()


def _on_desk() -> ColumnElement[bool]:
    """An open case about the resource itself, or about the whole of the delivery or release that has it in hand."""
    whole = and_(
        DeskCase.resource_id.is_(None),
        or_(
            DeskCase.subject_id == Resource.delivery_id,
            and_(
                DeskCase.subject_type == "release",
                DeskCase.request_id == Resource.request_id,
                Resource.state == ResourceState.RELEASING.value,
            ),
        ),
        Resource.state.not_in([*_MADE, *_GONE]),
    )
    return exists().where(DeskCase.closed_at.is_(None), or_(DeskCase.resource_id == Resource.id, whole))


def _units(work: Work, topology: Topology) -> dict[str, str]:
    """The units with a table of their own that the actor may know of: its tree's, those above it, its office's."""
    above = (
        select(func.unnest(UnitPeriod.ancestors))
        .where(UnitPeriod.unit_id == work.actor.unit_id, holds(UnitPeriod.during, work.now))
        .scalar_subquery()
    )
    seen = true() if Role.CLOUD_OPERATOR in work.actor.roles else or_(may_see(work), UnitPeriod.unit_id.in_(above))
    codes = [v.unit for v in topology.vrfs if v.unit is not None]
    rows = work.session.execute(
        select(Unit.code, UnitPeriod.name)
        .join(UnitPeriod, UnitPeriod.unit_id == Unit.id)
        .where(Unit.code.in_(codes), holds(UnitPeriod.during, work.now), seen)
    )
    return {row.code: row.name for row in rows}
