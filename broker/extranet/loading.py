"""Makes a topology the one that holds, unless the region or what is routed now contradicts it.

Called by: the command line. Must not: call a router, or let a load take away the ground under a live segment: what is
routed is released or moved first, so that its release always finds its router, its block and its VNI.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Network
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud
from broker.db.base import new_id
from broker.errors import Problem
from broker.extranet.checks import loopback
from broker.extranet.fabric import vrfs_of
from broker.extranet.models import ExtranetTopology, SegmentAttachment
from broker.extranet.reading import TopologyError, topology_of
from broker.extranet.schema import Topology
from broker.extranet.service import attaching, current
from broker.inventory.models import Resource
from broker.tenancy.models import Unit
from broker.tenancy.work import Work


def load(work: Work, document: Mapping[str, Any], *, moving_tunnels: bool = False) -> bool:
    """Make a topology the one that holds. False: it is already. Raises TopologyError with every problem.

    ``moving_tunnels``: tunnels of live segments may get other ends; the next comparison makes them anew.
    """
    topology = topology_of(dict(document))
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    attaching(work.session)
    last = work.session.scalars(select(ExtranetTopology).order_by(ExtranetTopology.id.desc()).limit(1)).first()
    if last is not None and last.digest == digest:
        return False
    session = work.session
    problems = [*_unknown(session, topology), *_moved(session, topology), *_lost(session, topology)]
    if not moving_tunnels:
        problems += _other_ends(session, topology)
    if problems:
        raise TopologyError(problems)
    row = ExtranetTopology(id=new_id(), document=dict(document), digest=digest, loaded_at=work.now)
    work.session.add(row)
    work.record("extranet.loaded", "extranet", row.id, article="Art. 2(3)", data={"digest": digest})
    return True


def _unknown(session: Session, topology: Topology) -> Iterator[Problem]:
    """Units and sub-clouds that the region does not have."""
    units, clouds = set(session.scalars(select(Unit.code))), set(session.scalars(select(SubCloud.code)))
    for section in ("vrfs", "blocks"):
        for index, entry in enumerate(getattr(topology, section)):
            if entry.unit is not None and entry.unit not in units:
                yield Problem("extranet.unit_unknown", f"{section}[{index}].unit", params={"code": entry.unit})
    for index, access in enumerate(topology.access):
        if access.sub_cloud not in clouds:
            yield Problem("extranet.cloud_unknown", f"access[{index}].sub_cloud", params={"code": access.sub_cloud})


def _moved(session: Session, topology: Topology) -> Iterator[Problem]:
    """Routers whose own addresses would be others: probes look from them, and every filter lets them through."""
    before = current(session)
    if before is None:
        return
    was = _own_addresses(before.topology)
    for index, router in enumerate(topology.routers):
        for vrf in topology.vrfs:
            old = was.get((router.name, vrf.name))
            if old is not None and old[0] == vrf.loopbacks and old[1] != loopback(topology, vrf, router.name):
                params = {"code": router.name, "number": int(old[1]) - int(vrf.loopbacks.network_address)}
                yield Problem("extranet.renumbered", f"routers[{index}].number", params=params)
                break


def _own_addresses(topology: Topology) -> dict[tuple[str, str], Any]:
    vrfs = {v.name: v for v in topology.vrfs}
    return {
        (router.name, name): (vrfs[name].loopbacks, loopback(topology, vrfs[name], router.name))
        for router in topology.routers
        for name in vrfs_of(topology, router.name)
    }


def _lost(session: Session, topology: Topology) -> Iterator[Problem]:
    """Segments that are on a router now and have no place in the new topology."""
    edges = {a.router: a for a in topology.access}
    blocks = {(b.unit, b.vrf, router): b.prefix for b in topology.blocks for router in b.routers}
    live = (
        select(SegmentAttachment, SubCloud.code)
        .join(Resource, Resource.id == SegmentAttachment.resource_id)
        .join(SubCloud, SubCloud.id == Resource.sub_cloud_id)
        .where(SegmentAttachment.withdrawn_at.is_(None))
        .order_by(SegmentAttachment.id)
    )
    for segment, cloud in session.execute(live):
        access = edges.get(segment.router)
        block = blocks.get((segment.unit, segment.vrf, segment.router))
        stays = (
            access is not None
            and access.sub_cloud == cloud
            and access.encapsulation.value == segment.encapsulation
            and access.tags[0] <= segment.vni <= access.tags[1]
            and block is not None
            and IPv6Network(str(segment.prefix)).subnet_of(block)
        )
        if not stays:
            place = f"{segment.router} {segment.vrf} {segment.encapsulation} {segment.vni}"
            params = {"code": str(segment.prefix), "unit": segment.unit, "by": place}
            yield Problem("extranet.segment_lost", "", params=params)


def _other_ends(session: Session, topology: Topology) -> Iterator[Problem]:
    """Tunnels with live segments that would end elsewhere: a comparison would make them anew, as a repair."""
    before = current(session)
    if before is None:
        return
    live = select(SegmentAttachment.router).where(SegmentAttachment.withdrawn_at.is_(None)).distinct()
    used = set(session.scalars(live))
    was = {a.router: a for a in before.topology.access}
    for index, access in enumerate(topology.access):
        old = was.get(access.router)
        if old is None or access.router not in used:
            continue
        for end in ("local", "remote"):
            if getattr(old, end) != getattr(access, end):
                params = {"code": str(getattr(access, end)), "by": str(getattr(old, end)), "router": access.router}
                yield Problem("extranet.tunnels_moved", f"access[{index}].{end}", params=params)
