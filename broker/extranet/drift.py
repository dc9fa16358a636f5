"""Compares the routers with the plan and the rows: missing, changed, extra, rogue; repairs ours, reports the rest.

Called by: ``guiyun reconcile``, the worker every hour. Must not: touch what does not carry an id of ours, or a segment
whose delivery or release is on its way (that may put it right itself).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.extranet import looks, service
from broker.extranet.differences import Gap, Place, RouterDrift, Rows, compare
from broker.extranet.models import SegmentAttachment
from broker.extranet.networks import Network, Networks
from broker.extranet.values import fact
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState, Role
from broker.notify import service as notify
from broker.tenancy.work import Work, WorkFactory
from providers.errors import ProviderError
from providers.networking import RouterFacts

_HANDED_OVER = {ResourceState.ACTIVE.value, ResourceState.STOPPED.value}
_REPAIRED = {Gap.MISSING, Gap.CHANGED, Gap.EXTRA}


def reconcile(networks: Networks, works: WorkFactory, *, repair: bool = True) -> list[RouterDrift] | None:
    """Compare, repair what is ours, tell operators of what is new. None: there is no extranet to compare."""
    network = networks()
    if network is None:
        return None
    heard, found = _look(network, works)
    if repair and (acting := [d for d in found if d.gap in _REPAIRED and d.spec is not None]):
        errors = _repair(network, works, acting)
        heard, left = _look(network, works)
        still = {d.place for d in left}
        found = [_said(d, errors, still) if d.gap in _REPAIRED else d for d in found]
    with works.begin() as work:
        looks.keep(work, heard)
        if found:
            _tell(work, network, found)
    return found


def _look(network: Network, works: WorkFactory) -> tuple[Sequence[RouterFacts], list[RouterDrift]]:
    """Ask every router, and compare. Only what the rows said before *and* after the answers is held against a router.

    An audit takes seconds. What is delivered or taken back meanwhile is neither missing nor too much.
    """
    with works.begin() as work:
        before = _rows(work)
    heard = network.provider.audit()
    with works.begin() as work:
        after = _rows(work)
    agreed = {i: spec for i, spec in after.settled.items() if before.settled.get(i) == spec}
    moving = before.busy | after.busy | (before.settled.keys() | after.settled.keys()) - agreed.keys()
    rows = Rows(agreed, frozenset(moving), before.coming | after.coming)
    return heard, list(compare(network.loaded.topology, rows, heard))


def _repair(network: Network, works: WorkFactory, found: Sequence[RouterDrift]) -> dict[UUID, ProviderError | None]:
    """Bring back what is missing or changed, take away what is ours and should not be there.

    No lock is held while routers work, so a release may pass by: what it took away meanwhile is taken away again.
    """
    extra = [d.spec for d in found if d.spec is not None and d.gap is Gap.EXTRA]
    back = [d.spec for d in found if d.spec is not None and d.gap is not Gap.EXTRA]
    errors = {**network.provider.update(back)} if back else {}
    with works.begin() as work:
        now = _rows(work).settled
    extra += [spec for spec in back if spec.id not in now]
    return {**errors, **(network.provider.delete(extra) if extra else {})}


def _said(drift: RouterDrift, errors: Mapping[UUID, ProviderError | None], still: AbstractSet[Place]) -> RouterDrift:
    """Repaired is what the next look does not find any more, whatever the repair said of itself."""
    error = errors.get(drift.spec.id) if drift.spec is not None else None
    facts = drift.facts if error is None else (*drift.facts, fact("unrepaired", trouble=error.code))
    return replace(drift, facts=facts, repaired=error is None and drift.place not in still)


def _rows(work: Work) -> Rows:
    statement = (
        select(SegmentAttachment, Resource.state)
        .join(Resource, Resource.id == SegmentAttachment.resource_id)
        .where(SegmentAttachment.withdrawn_at.is_(None))
    )
    found = work.session.execute(statement).all()
    settled = [a for a, state in found if state in _HANDED_OVER]
    busy = frozenset(a.resource_id for a, state in found if state not in _HANDED_OVER)
    coming = frozenset((a.router, f"seg{a.vni}") for a, _ in found)
    return Rows({spec.id: spec for spec in service.specs(work.session, settled)}, busy, coming)


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
        "params": {
            "router": drift.router,
            "vrf": drift.vrf,
            "subject": drift.subject,
            "facts": [each.plain() for each in drift.facts],
        },
        "subject_type": "extranet",
        "subject_id": network.loaded.id,
        "account_id": None,
        "unit_id": unit,
        "role": Role.OPERATOR.value,
        "dedupe": f"extranet/{drift.fingerprint}/{'repaired' if drift.repaired else work.now.date()}",
    }
