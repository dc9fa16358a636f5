"""The first machine step: pin the hold, make the key, register the undo, say what there is to do.

Called by: ``workflows.steps``. Must not: call a cloud.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from broker.assessment import service as assessment
from broker.delivery import keys, progress
from broker.delivery.models import Delivery
from broker.delivery.tools import Tools
from broker.delivery.values import Job, Plan
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from broker.request.models import RequestRevision, ServiceRequest
from broker.tenancy.work import Work
from quotas import service as quotas
from quotas.errors import HoldGone, PrefixGone
from quotas.ipv6 import service as ipv6

_OPEN = {ResourceState.PLANNED.value, ResourceState.BUILDING.value}


def pin_hold(tools: Tools, job: Job) -> Plan:
    """Pin what the assessment held, so that it cannot expire while things are being made.

    Everything that is about to be made is written down as ``building``: from here on the undo is known. If the hold's
    date has passed, the request goes back to the assessor and the plan says ``expired``.
    """
    with tools.works.begin() as work:
        delivery, applicants_key = work.session.execute(
            select(Delivery, RequestRevision.form["ssh_public_key"].astext)
            .join(ServiceRequest, ServiceRequest.id == Delivery.request_id)
            .join(RequestRevision, RequestRevision.id == ServiceRequest.revision_id)
            .where(Delivery.id == job.id)
            .with_for_update(of=Delivery)
        ).one()
        if delivery.mode == "undo":
            delivery.state = "running"
            return Plan(undo=True)
        if delivery.state == "expired":
            return Plan(expired=True)
        resources = work.session.scalars(
            select(Resource)
            .where(Resource.delivery_id == job.id)
            .order_by(Resource.id)
            .add_cte(progress.done_at_once(work, job, "pin_hold"))
        ).all()
        if not _pin(work, delivery, resources):
            _expire(work, delivery)
            return Plan(expired=True)
        open_ones = [r for r in resources if r.state in _OPEN]
        inventory.move(work, [r.id for r in open_ones], ResourceState.BUILDING)
        delivery.state = "running"
        if delivery.public_key is None and any(r.kind == "server" for r in resources):
            _take_key(tools, delivery, applicants_key)
    return _plan(tools, job, open_ones, resources)


def _plan(tools: Tools, job: Job, open_ones: Sequence[Resource], resources: Sequence[Resource]) -> Plan:
    kinds = {r.kind for r in open_ones}
    reachable = tools.harden is not None and tools.providers(job.sub_cloud).capabilities.guest_reachable
    return Plan(
        segments="segment" in kinds,
        volumes="volume" in kinds,
        servers="server" in kinds,
        disks=bool(open_ones) and any(r.kind == "volume" and r.server_id for r in resources),
        configure=reachable and "server" in kinds,
    )


def _pin(work: Work, delivery: Delivery, resources: Sequence[Resource]) -> bool:
    try:
        quotas.pin(work.session, delivery.hold_id, now=work.now)
        for resource in resources:
            if resource.kind == "segment" and resource.state != ResourceState.UNDONE.value:
                ipv6.pin(work.session, resource.id, now=work.now)
    except (HoldGone, PrefixGone):
        return False
    return True


def _expire(work: Work, delivery: Delivery) -> None:
    """Nothing was made yet: the delivery ends here, and the request is assessed anew."""
    request = work.session.get_one(ServiceRequest, delivery.request_id, with_for_update=True)
    work.session.execute(
        update(Delivery)
        .where(Delivery.request_id == request.id, Delivery.state.in_(("queued", "running")))
        .values(state="expired", finished_at=work.now)
    )
    assessment.reassess(work, request)


def _take_key(tools: Tools, delivery: Delivery, applicants_key: str | None) -> None:
    """The applicant's public key, or a pair of our own made before the first server asks for it."""
    if applicants_key:
        delivery.public_key = applicants_key
    else:
        made = keys.make(tools.settings.secret_key, delivery.id)
        delivery.public_key, delivery.secret = made.public, made.sealed_private
