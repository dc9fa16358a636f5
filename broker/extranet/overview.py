"""The extranet for people: the topology that holds, and every segment that is attached, with its state.

Called by: the command line (the console's map is ``delivery.segments``). Must not: call a router.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from broker.extranet import service
from broker.extranet.models import SegmentAttachment
from broker.extranet.schema import Topology
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from broker.tenancy.models import Unit
from broker.tenancy.repository import visible_units
from broker.tenancy.work import Work

_LEAVING = {ResourceState.RELEASING.value, ResourceState.RELEASED.value, ResourceState.UNDONE.value}


@dataclass(frozen=True, slots=True)
class Routed:
    """One segment and where it is attached. ``state``: attached (not yet seen by the probes), routed or leaving."""

    resource_id: UUID
    number: str
    name: str
    unit: str
    sub_cloud_id: UUID
    vrf: str
    router: str
    vni: int
    prefix: str
    state: str
    verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The topology, and the segments that the actor may see."""

    topology: Topology
    segments: Sequence[Routed]


def overview(work: Work) -> Overview | None:
    """None while no topology was loaded. Two statements."""
    loaded = service.current(work.session)
    if loaded is None:
        return None
    rows = work.session.execute(
        select(SegmentAttachment, Resource.number, Resource.name, Resource.sub_cloud_id, Unit.code, Resource.state)
        .join(Resource, Resource.id == SegmentAttachment.resource_id)
        .join(Unit, Unit.id == Resource.unit_id)
        .where(SegmentAttachment.withdrawn_at.is_(None), visible_units(work.actor, Resource.unit_id, work.now))
        .order_by(SegmentAttachment.router, SegmentAttachment.vrf, SegmentAttachment.vni)
    ).all()
    segments = [
        Routed(
            resource_id=a.resource_id,
            number=number,
            name=name,
            unit=code,
            sub_cloud_id=cloud,
            vrf=a.vrf,
            router=a.router,
            vni=a.vni,
            prefix=str(a.prefix),
            state="leaving" if state in _LEAVING else "attached" if a.verified_at is None else "routed",
            verified_at=a.verified_at,
        )
        for a, number, name, cloud, code, state in rows
    ]
    return Overview(loaded.topology, segments)
