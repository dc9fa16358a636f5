"""Compares the routers with the plan and the rows: missing, changed, extra, rogue; repairs ours, reports the rest.

Called by: ``guiyun reconcile``, the worker every hour. Must not: touch what does not carry an id of ours, or a segment
whose delivery or release is on its way (that may put it right itself).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.extranet import looks, service
from broker.extranet.differences import Gap, RouterDrift, Rows, compare
from broker.extranet.models import SegmentAttachment
from broker.extranet.networks import Network, Networks
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState, Role
from broker.notify import service as notify
from broker.tenancy.work import Work, WorkFactory

_HANDED_OVER = {ResourceState.ACTIVE.value, ResourceState.STOPPED.value}
_REPAIRED = {Gap.MISSING, Gap.CHANGED, Gap.EXTRA}


def reconcile(networks: Networks, works: WorkFactory, *, repair: bool = True) -> list[RouterDrift] | None:
    """Compare, repair what is ours, tell operators of what is new. None: there is no extranet to compare."""
    network = networks()
    if network is None:
        return None
    with works.begin() as work:
        rows = _rows(work)
    heard = network.provider.audit()
    found = list(compare(network.loaded.topology, rows, heard))
    if repair:
        found = _repair(network, found)
    with works.begin() as work:
        looks.keep(work, heard)
        if found:
            _tell(work, network, found)
    return found


def _repair(network: Network, found: Sequence[RouterDrift]) -> list[RouterDrift]:
    """Bring back what is missing or changed, take away what is ours and should not be there."""
    specs = {gap: [d.spec for d in found if d.gap is gap and d.spec is not None] for gap in _REPAIRED}
    back = [*specs[Gap.MISSING], *specs[Gap.CHANGED]]
    outcomes = {**(network.provider.update(back) if back else {})}
    outcomes |= network.provider.delete(specs[Gap.EXTRA]) if specs[Gap.EXTRA] else {}
    return [_repaired(d, outcomes) for d in found]


def _repaired(drift: RouterDrift, outcomes: Mapping[UUID, Any]) -> RouterDrift:
    if drift.spec is None or drift.spec.id not in outcomes:
        return drift
    error = outcomes[drift.spec.id]
    detail = drift.detail if error is None else f"{drift.detail} {error.code}".strip()
    return replace(drift, detail=detail, repaired=error is None)


def _rows(work: Work) -> Rows:
    statement = (
        select(SegmentAttachment, Resource.state)
        .join(Resource, Resource.id == SegmentAttachment.resource_id)
        .where(SegmentAttachment.withdrawn_at.is_(None))
    )
    found = work.session.execute(statement).all()
    settled = [a for a, state in found if state in _HANDED_OVER]
    busy = frozenset(a.resource_id for a, state in found if state not in _HANDED_OVER)
    return Rows({spec.id: spec for spec in service.specs(work.session, settled)}, busy)


def _tell(work: Work, network: Network, found: Sequence[RouterDrift]) -> None:
    """A notice to those who deliver, and an audit event, for what was not told before."""
    new = [d for d in found if notify.remind(work, list(_notices(work, network, d)))]
    if new:
        named = [{"gap": d.gap.value, "router": d.router, "vrf": d.vrf, "subject": d.subject} for d in new[:200]]
        work.record("extranet.drifted", "extranet", network.loaded.id, data={"count": len(new), "drifts": named})


def _notices(work: Work, network: Network, drift: RouterDrift) -> Iterator[dict[str, Any]]:
    """To the authority that delivers for the cloud that is attached there; elsewhere for the main cloud."""
    at = next((a.sub_cloud for a in network.loaded.topology.access if a.router == drift.router), "main")
    cloud = work.session.scalar(select(SubCloud.id).where(SubCloud.code.in_((at, "main"))).limit(1))
    unit = catalog.delivering_unit(work.session, cloud, work.now) if cloud is not None else None
    if unit is None:
        return
    yield {
        "code": f"extranet.{drift.gap.value}",
        "params": {"router": drift.router, "vrf": drift.vrf, "subject": drift.subject, "detail": drift.detail},
        "subject_type": "extranet",
        "subject_id": network.loaded.id,
        "account_id": None,
        "unit_id": unit,
        "role": Role.OPERATOR.value,
        "dedupe": f"extranet/{drift.fingerprint}/{'repaired' if drift.repaired else work.now.date()}",
    }
