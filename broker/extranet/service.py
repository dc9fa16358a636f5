"""The extranet's use-cases: find the topology that holds, attach segments, let go of them.

Called by: ``loading``, ``assessment`` (space), ``delivery`` (attach, uplinks, verified, withdrawn),
reconcile. Must not: call a router.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from broker.db.base import new_id
from broker.extranet.models import ExtranetTopology, SegmentAttachment
from broker.extranet.reading import topology_of
from broker.extranet.schema import Access, Topology
from broker.extranet.space import Space, block_for, refused_by_plan
from broker.inventory.models import Resource
from broker.tenancy.work import Work
from providers.contract import Addressing, Encapsulation, Uplink
from providers.networking import SegmentSpec, Service

_ATTACHING = 0x6774_6761
"""One at a time gives out VNIs: the lock is held until the transaction's end, which calls nobody."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The topology that holds, and which loading it is."""

    id: UUID
    topology: Topology

    def access(self, sub_cloud: str) -> Access | None:
        """Where a sub-cloud is attached, if it is."""
        return next((a for a in self.topology.access if a.sub_cloud == sub_cloud), None)


def current(session: Session, known: Loaded | None = None) -> Loaded | None:
    """The topology that holds; ``known`` is given back when it still does."""
    newest = session.scalar(select(ExtranetTopology.id).order_by(ExtranetTopology.id.desc()).limit(1))
    if newest is None:
        return None
    if known is not None and known.id == newest:
        return known
    return _loaded(session, newest)


def space_of(session: Session, topology_id: UUID, lineage: Collection[str]) -> Space:
    """Where a unit has space; ``topology_id``: the topology that holds. ``lineage``: its code and those above it."""
    return Space(_loaded(session, topology_id).topology, frozenset(lineage))


_READ: dict[UUID, Loaded] = {}
"""The topology that was read last. It is never changed, and reading one with thousands of rows takes a while."""


def _loaded(session: Session, topology_id: UUID) -> Loaded:
    found = _READ.get(topology_id)
    if found is None:
        found = Loaded(topology_id, topology_of(session.get_one(ExtranetTopology, topology_id).document))
        _READ.clear()
        _READ[topology_id] = found
    return found


def attaching(session: Session) -> None:
    """Until the transaction's end nobody else attaches a segment, or loads a topology that has no place for it."""
    session.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _ATTACHING})


def attach(work: Work, sub_cloud: str, segments: Sequence[Resource]) -> dict[UUID, str]:
    """Write down where segments are to be routed; returns what the plan refuses, with a code each.

    A segment that is attached already keeps its place, also when this runs again after a lost worker. The topology is
    read under the lock: the one that is written into a place is the one that holds.
    """
    if not segments:
        return {}
    attaching(work.session)
    loaded = current(work.session)
    access = None if loaded is None else loaded.access(sub_cloud)
    there = {a.resource_id for a in attachments(work.session, [s.id for s in segments])}
    refused: dict[UUID, str] = {}
    for segment in segments:
        if segment.id in there:
            continue
        if loaded is None or access is None:
            refused[segment.id] = "extranet.cloud_not_attached"
        elif code := _attach_one(work, loaded, access, segment):
            refused[segment.id] = code
    return refused


_LINEAGE = text("""
SELECT a.code FROM broker.unit_period p JOIN broker.unit a ON a.id = ANY(p.ancestors || p.unit_id)
WHERE p.unit_id = :unit AND p.during @> CAST(:now AS timestamptz)
""")

_SOMEBODY_ELSES = timedelta(days=7)
"""How long a VNI or VLAN is left alone that a router refused because something that is not ours has it."""

_FREE_VNI = text("""
WITH used AS (
  SELECT vni FROM broker.segment_attachment a
  WHERE a.vni BETWEEN :first AND :last AND a.encapsulation = :encapsulation
    AND (a.withdrawn_at IS NULL AND (a.encapsulation = 'vxlan' OR a.router = :router)
         OR a.router = :router AND a.refused_at > CAST(:now AS timestamptz) - :left_alone)
)
SELECT min(v) FROM (SELECT CAST(:first AS integer) AS v UNION ALL SELECT vni + 1 FROM used) candidate
WHERE v <= :last AND NOT EXISTS (SELECT FROM used WHERE used.vni = v)
""")


def _attach_one(work: Work, loaded: Loaded, access: Access, segment: Resource) -> str:
    lineage = set(work.session.scalars(_LINEAGE, {"unit": segment.unit_id, "now": work.now}))
    prefix, zone = IPv6Network(str(segment.prefix)), segment.spec["zone"]
    block = block_for(loaded.topology, access.router, lineage, zone, prefix)
    if block is None:
        return "extranet.unit_not_attached"
    first, last = access.tags
    where = {"encapsulation": access.encapsulation.value, "router": access.router}
    left_alone = {"now": work.now, "left_alone": _SOMEBODY_ELSES}
    vni = work.session.scalar(_FREE_VNI, {"first": first, "last": last, **where, **left_alone})
    if vni is None:
        return "extranet.vnis_used_up"
    if refused := refused_by_plan(loaded.topology, access, block, prefix, vni):
        return refused
    taken = select(SegmentAttachment.id).where(
        SegmentAttachment.vrf == block.vrf,
        SegmentAttachment.prefix.op("&&")(str(prefix)),
        SegmentAttachment.withdrawn_at.is_(None),
    )
    if work.session.scalar(taken) is not None:
        return "extranet.overlap_announced"
    place = {"router": access.router, "unit": block.unit, "vrf": block.vrf, "prefix": str(prefix), "vni": vni}
    place |= {"encapsulation": access.encapsulation.value, "addressing": block.addressing}
    work.session.add(SegmentAttachment(id=new_id(), resource_id=segment.id, attached_at=work.now, **place))
    work.session.flush()
    return ""


def attachments(session: Session, resource_ids: Sequence[UUID]) -> list[SegmentAttachment]:
    """Where resources are attached now."""
    statement = select(SegmentAttachment).where(
        SegmentAttachment.resource_id.in_(resource_ids), SegmentAttachment.withdrawn_at.is_(None)
    )
    return list(session.scalars(statement.order_by(SegmentAttachment.id)))


def prefixes_of(session: Session, resource_ids: Sequence[UUID]) -> dict[tuple[UUID, str], IPv6Network]:
    """By resource and table: the prefix that it has there, or had when it was last attached there."""
    statement = (
        select(SegmentAttachment.resource_id, SegmentAttachment.vrf, SegmentAttachment.prefix)
        .where(SegmentAttachment.resource_id.in_(resource_ids))
        .order_by(SegmentAttachment.id)
    )
    rows = session.execute(statement).all() if resource_ids else ()
    return {(row.resource_id, row.vrf): IPv6Network(str(row.prefix)) for row in rows}


def uplinks(session: Session, resource_ids: Sequence[UUID]) -> dict[UUID, Uplink]:
    """How the networks of attached segments meet their router, as a sub-cloud's provider takes it."""
    return {
        spec.id: Uplink(spec.encapsulation, spec.vni, spec.gateway, spec.addressing)
        for spec in specs(session, attachments(session, resource_ids))
    }


def specs(session: Session, found: Sequence[SegmentAttachment]) -> list[SegmentSpec]:
    """Attachments as the network provider takes them."""
    if not found:
        return []
    resources = {
        row.id: row.spec
        for row in session.execute(
            select(Resource.id, Resource.spec).where(Resource.id.in_([a.resource_id for a in found]))
        )
    }
    prefixes = [str(a.prefix) for a in found]
    same = session.execute(
        select(SegmentAttachment.prefix, SegmentAttachment.vrf).where(
            SegmentAttachment.withdrawn_at.is_(None), SegmentAttachment.prefix.in_(prefixes)
        )
    ).all()
    return [
        SegmentSpec(
            id=a.resource_id,
            unit=a.unit,
            vrf=a.vrf,
            prefix=IPv6Network(str(a.prefix)),
            router=a.router,
            vni=a.vni,
            encapsulation=Encapsulation(a.encapsulation),
            addressing=Addressing(a.addressing),
            services=services_of(resources[a.resource_id]),
            elsewhere=tuple(sorted(row.vrf for row in same if str(row.prefix) == str(a.prefix) and row.vrf != a.vrf)),
        )
        for a in found
    ]


def services_of(spec: Mapping[str, Any]) -> tuple[Service, ...] | None:
    """What may be reached: in the private zone everything by its own department, else what was declared, no more."""
    if spec["zone"] == "private":
        return None
    return tuple(_service(str(given)) for given in spec.get("services", ()))


def _service(text: str) -> Service:
    """``tcp/443`` or ``tcp/443@3fff:122::/32``, as the form has checked it."""
    what, _, source = text.partition("@")
    protocol, _, port = what.partition("/")
    return Service(protocol, int(port), IPv6Network(source) if source else None)


def verified(work: Work, resource_ids: Sequence[UUID]) -> None:
    """The probes saw these segments at home, and nowhere else."""
    _mark(work, resource_ids, "verified_at")


def refused(work: Work, resource_ids: Sequence[UUID]) -> None:
    """Their routers have something of others under these VNIs or VLANs: the next segments are given others."""
    _mark(work, resource_ids, "refused_at")


def withdrawn(work: Work, resource_ids: Sequence[UUID]) -> None:
    """These segments are on no router any more; their VNIs are free again."""
    _mark(work, resource_ids, "withdrawn_at")


def _mark(work: Work, resource_ids: Sequence[UUID], name: str) -> None:
    if resource_ids:
        work.session.execute(
            update(SegmentAttachment)
            .where(SegmentAttachment.resource_id.in_(resource_ids), SegmentAttachment.withdrawn_at.is_(None))
            .values({name: work.now})
        )
