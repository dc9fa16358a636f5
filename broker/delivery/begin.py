"""The first machine step: pin the hold, make the key, say what there is to do.

Called by: ``workflows.steps``. Must not: call a cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, update

from broker.assessment import service as assessment
from broker.catalog.models import SubCloud
from broker.delivery import keys, progress
from broker.delivery.models import Delivery
from broker.delivery.tools import Tools
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from broker.request.models import RequestRevision, ServiceRequest
from broker.tenancy.work import Work
from quotas import service as quotas
from quotas.errors import HoldGone, PrefixGone
from quotas.ipv6 import service as ipv6


@dataclass(frozen=True, slots=True)
class Plan:
    """What a delivery has to do: the workflow leaves out what is not needed."""

    expired: bool = False
    undo: bool = False
    segments: bool = False
    volumes: bool = False
    servers: bool = False
    disks: bool = False
    configure: bool = False


_DONE = {
    ResourceState.READY.value,
    ResourceState.ACTIVE.value,
    ResourceState.UNDONE.value,
    ResourceState.RELEASED.value,
}


def pin_hold(tools: Tools, delivery_id: UUID) -> Plan:
    """Pin what the assessment held, so that it cannot expire while things are being made.

    If its date has passed, the request goes back to the assessor and the plan says ``expired``.
    """
    with tools.works.begin() as work:
        delivery, code = work.session.execute(
            select(Delivery, SubCloud.code)
            .join(SubCloud, SubCloud.id == Delivery.sub_cloud_id)
            .where(Delivery.id == delivery_id)
            .with_for_update(of=Delivery)
        ).one()
        if delivery.mode == "undo":
            delivery.state = "running"
            return Plan(undo=True)
        resources = inventory.of_delivery(work, delivery_id)
        if delivery.state == "expired" or not _pin(work, delivery, resources):
            return Plan(expired=True)
        delivery.state = "running"
        _key(tools, work, delivery, resources)
        progress.begin(work, delivery, "pin_hold")
        progress.end(work, delivery, "pin_hold")
    open_ones = [r for r in resources if r.state not in _DONE]
    capabilities = tools.providers(code).capabilities
    return Plan(
        segments=any(r.kind == "segment" for r in open_ones),
        volumes=any(r.kind == "volume" for r in open_ones),
        servers=any(r.kind == "server" for r in open_ones),
        disks=any(r.kind == "volume" and r.server_id for r in resources),
        configure=capabilities.guest_reachable
        and tools.harden is not None
        and any(r.kind == "server" for r in open_ones),
    )


def _pin(work: Work, delivery: Delivery, resources: list[Resource]) -> bool:
    try:
        with work.session.begin_nested():
            quotas.pin(work.session, delivery.hold_id, now=work.now)
            for resource in resources:
                if resource.kind == "segment" and resource.state != ResourceState.UNDONE.value:
                    ipv6.pin(work.session, resource.id, now=work.now)
    except (HoldGone, PrefixGone):
        _expire(work, delivery)
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


def _key(tools: Tools, work: Work, delivery: Delivery, resources: list[Resource]) -> None:
    """The applicant's public key, or a pair of our own made before the first server asks for it."""
    if delivery.public_key is not None or not any(r.kind == "server" for r in resources):
        return
    form = work.session.scalar(
        select(RequestRevision.form["ssh_public_key"].astext)
        .join(ServiceRequest, ServiceRequest.revision_id == RequestRevision.id)
        .where(ServiceRequest.id == delivery.request_id)
    )
    if form:
        delivery.public_key = form
    else:
        made = keys.make(tools.settings.secret_key, delivery.id)
        delivery.public_key, delivery.secret = made.public, made.sealed_private
