"""The first machine step: pin the hold, make the key, register the undo, say what there is to do.

Called by: ``workflows.steps``. Must not: call a cloud.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, select, update

from broker.assessment import letting_go
from broker.delivery import keys, progress
from broker.delivery.models import Delivery
from broker.delivery.tools import Tools
from broker.delivery.values import Job, Plan
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from broker.request.models import RequestRevision, ServiceRequest
from broker.tenancy.work import Work
from providers.errors import ActionRequired
from quotas import service as quotas
from quotas.errors import HoldGone, PrefixGone
from quotas.ipv6 import service as ipv6

_OPEN = {ResourceState.PLANNED.value, ResourceState.BUILDING.value}
_AGAIN = {ResourceState.READY.value}
"""What an earlier run made and did not hand over may be gone since: a new run orders it again, by the same id."""
_GONE = {ResourceState.UNDONE.value, ResourceState.RELEASING.value, ResourceState.RELEASED.value}


def pin_hold(tools: Tools, job: Job) -> Plan:
    """Pin what the assessment held, so that it cannot expire while things are being made.

    Everything that is about to be made is written down as ``building``: from here on the undo is known. If the hold's
    date has passed, the request goes back to the assessor. ``ended`` says that there is nothing to do for this run.
    """
    try:
        return _begin(tools, job)
    except (HoldGone, PrefixGone):
        return _expire(tools, job)


def _begin(tools: Tools, job: Job) -> Plan:
    with tools.works.begin() as work:
        _, delivery, applicants_key = _locked(work, job)
        if not _waits(delivery, job):
            return Plan(ended=delivery.state)
        if delivery.mode == "undo":
            delivery.state = "running"
            return Plan(undo=True)
        everything = work.session.scalars(
            select(Resource)
            .where(Resource.request_id == job.request_id, Resource.delivery_id.is_not(None))
            .order_by(Resource.id)
            .add_cte(progress.done_at_once(work, job, "pin_hold"))
        ).all()
        _pin(work, delivery, everything)
        resources = [r for r in everything if r.delivery_id == job.id]
        looked_at = _OPEN | _AGAIN if delivery.run > 1 and delivery.state == "queued" else _OPEN
        open_ones = [r for r in resources if r.state in looked_at]
        inventory.move(work, [r.id for r in open_ones], ResourceState.BUILDING)
        delivery.state = "running"
        if delivery.public_key is None and any(r.kind == "server" for r in resources):
            _take_key(tools, delivery, applicants_key)
    return _plan(tools, job, open_ones, resources)


def _waits(delivery: Delivery, job: Job) -> bool:
    return delivery.run == job.run and delivery.state in {"queued", "running"}


def locked(job: Job) -> Select[ServiceRequest, Delivery]:
    """A delivery's request and the delivery, locked in the order in which people's decisions lock them."""
    return (
        select(ServiceRequest, Delivery)
        .select_from(ServiceRequest)
        .join(Delivery, Delivery.request_id == ServiceRequest.id)
        .join(RequestRevision, RequestRevision.id == ServiceRequest.revision_id)
        .where(Delivery.id == job.id)
        .with_for_update(of=(ServiceRequest, Delivery))
    )


def _locked(work: Work, job: Job) -> tuple[ServiceRequest, Delivery, str | None]:
    row = work.session.execute(locked(job).add_columns(RequestRevision.form["ssh_public_key"].astext)).one()
    return row[0], row[1], row[2]


def _plan(tools: Tools, job: Job, open_ones: Sequence[Resource], resources: Sequence[Resource]) -> Plan:
    kinds = {r.kind for r in open_ones}
    # What an earlier attempt made is ready, but nobody says that it was attached and configured as well.
    ahead = [r for r in resources if r.state in _OPEN | _AGAIN]
    return Plan(
        segments="segment" in kinds,
        volumes="volume" in kinds,
        servers="server" in kinds,
        disks=any(r.kind == "volume" and r.server_id for r in ahead),
        routes=any(r.kind == "segment" for r in ahead) and tools.networks.attached(job.sub_cloud),
        configure=any(r.kind == "server" for r in ahead) and tools.harden is not None and _reachable(tools, job),
    )


def _reachable(tools: Tools, job: Job) -> bool:
    """Whether guests can be reached; where there is no adapter nothing is made, and the next step says why."""
    try:
        return tools.providers(job.sub_cloud).capabilities.guest_reachable
    except ActionRequired:
        return False


def _pin(work: Work, delivery: Delivery, resources: Sequence[Resource]) -> None:
    """Pin for all of the request's deliveries at once: one must not expire when another has begun."""
    mine = [r for r in resources if r.state == ResourceState.PLANNED.value or r.delivery_id == delivery.id]
    for hold_id in sorted({delivery.hold_id} | {r.hold_id for r in mine if r.hold_id is not None}):
        quotas.pin(work.session, hold_id, now=work.now)
    for resource in mine:
        if resource.kind == "segment" and resource.state not in _GONE:
            ipv6.pin(work.session, resource.id, now=work.now)


def _expire(tools: Tools, job: Job) -> Plan:
    """Nothing was made yet, by any delivery: all end here, and the request is assessed anew.

    In a transaction of its own, for what is let go is counted, and the first has pinned already (``quotas.order``).
    What was gone then is gone still.
    """
    with tools.works.begin() as work:
        request, delivery, _ = _locked(work, job)
        if _waits(delivery, job):
            work.session.execute(
                update(Delivery)
                .where(Delivery.request_id == request.id, Delivery.state.in_(("queued", "running")))
                .values(state="expired", finished_at=work.now)
                .add_cte(progress.done_at_once(work, job, "pin_hold"))
            )
            letting_go.reassess(work, request)
    return Plan(ended="expired")


def _take_key(tools: Tools, delivery: Delivery, applicants_key: str | None) -> None:
    """The applicant's public key, or a pair of our own made before the first server asks for it."""
    if applicants_key:
        delivery.public_key = applicants_key
    else:
        made = keys.make(tools.settings.secret_key, delivery.id)
        delivery.public_key, delivery.secret = made.public, made.sealed_private
