"""The last machine steps: hand over what is there and start metering, or leave it on an operator's desk, or undo it.

Called by: ``workflows.steps``. Must not: hand over a resource that is not ready, or meter one that is not handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from broker.catalog.models import SubCloud
from broker.db.base import new_id
from broker.delivery import progress
from broker.delivery.models import Delivery, DeskCase, Handover
from broker.delivery.remove import remove
from broker.delivery.tools import Pace, Tools
from broker.inventory import rules as scarce
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ItemState, RequestEvent, RequestState, ResourceState, Role, after, item_state
from broker.notify import service as notify
from broker.request import clocks
from broker.request.clocks import ARTICLE, Stage
from broker.request.models import RequestItem, RequestRevision, ServiceRequest
from broker.tenancy.work import Work
from quotas import service as quotas
from quotas.ipv6 import service as ipv6

_RS = ResourceState
_GONE = {_RS.UNDONE.value, _RS.RELEASED.value, _RS.RELEASING.value}


def undo_failed(tools: Tools, delivery_id: UUID, pace: Pace) -> bool:
    """Take whatever there is of the failed resources out of the cloud again; they stay ``failed`` for the operator.

    What a broken step left half-made has failed too. False: something could not be removed (it is on the desk).
    """
    with tools.works.begin() as work:
        delivery, cloud = _delivery(work, delivery_id)
        progress.begin(work, delivery, "undo_failed")
        resources = inventory.of_delivery(work, delivery_id)
        half_made = [r.id for r in resources if r.state == _RS.BUILDING.value]
        inventory.move(work, half_made, _RS.FAILED, error_code="step_failed")
        failed = [r for r in resources if r.state in {_RS.FAILED.value, _RS.BUILDING.value}]
    stuck = remove(tools.providers(cloud), failed, pace)
    with tools.works.begin() as work:
        for resource_id, code in stuck.items():
            _open_case(work, delivery, "undo_failed", code, resource_id)
        codes = " ".join(sorted(set(stuck.values())))
        progress.end(work, delivery, "undo_failed", failed=codes)
    return not stuck


def hand_over(tools: Tools, delivery_id: UUID) -> str:
    """Hand over what is ready, if it is all or if a part is allowed; returns the delivery's state."""
    with tools.works.begin() as work:
        delivery, cloud = _delivery(work, delivery_id, lock=True)
        if delivery.state != "running":
            return delivery.state
        request = work.session.get_one(ServiceRequest, delivery.request_id, with_for_update=True)
        resources = inventory.of_delivery(work, delivery_id)
        ready = [r for r in resources if r.state == _RS.READY.value]
        failed = [r for r in resources if r.state in (_RS.FAILED.value, _RS.BUILDING.value, _RS.PLANNED.value)]
        progress.begin(work, delivery, "hand_over")
        for resource in failed:
            inventory.move(work, [resource.id], _RS.BUILDING)
            inventory.move(work, [resource.id], _RS.FAILED, error_code=resource.error_code or "step_failed")
            _open_case(work, delivery, "deliver", resource.error_code or "step_failed", resource.id)
        revision = work.session.get_one(RequestRevision, request.revision_id)
        if ready and (not failed or revision.form["allow_partial"]):
            _activate(work, delivery, ready)
            _record(work, delivery, request, cloud=cloud, ready=ready, revision=revision)
        undone = [r for r in resources if r.state == _RS.UNDONE.value]
        if not failed:
            _let_go(work, delivery, undone)
        allowed = bool(ready) and (not failed or revision.form["allow_partial"])
        before = any(r.state == _RS.ACTIVE.value for r in resources)
        delivery.state = _outcome(failed=bool(failed), undone=bool(undone), handed_over=allowed or before)
        delivery.finished_at = work.now
        progress.end(work, delivery, "hand_over", failed="needs_operator" if failed else "")
        work.session.flush()
        close_request(work, request)
        return delivery.state


def _outcome(*, failed: bool, undone: bool, handed_over: bool) -> str:
    """Where a delivery is: failures wait for an operator, even beside what was handed over in part."""
    if handed_over:
        return "partly_delivered" if failed or undone else "delivered"
    return "needs_operator" if failed else "undone"


def _let_go(work: Work, delivery: Delivery, undone: Sequence[Resource]) -> None:
    """Nothing waits any more: what was held and not used is free again."""
    quotas.void(work.session, delivery.hold_id)
    for resource in undone:
        if resource.kind == "segment":
            ipv6.cancel(work.session, resource.id)


def _activate(work: Work, delivery: Delivery, ready: Sequence[Resource]) -> None:
    """From now on they are metered, their quota is used and their prefixes are theirs. Keyed by run: once."""
    inventory.move(work, [r.id for r in ready], _RS.ACTIVE, first=True)
    amounts = scarce.total(scarce.amounts(r.kind, r.spec) for r in ready)
    quotas.post(
        work.session,
        delivery.hold_id,
        scarce.lines(amounts, delivery.sub_cloud_id),
        key=uuid5(delivery.id, f"run/{delivery.run}"),
        now=work.now,
    )
    for resource in ready:
        if resource.kind == "segment":
            ipv6.activate(work.session, resource.id, now=work.now)


def _record(
    work: Work,
    delivery: Delivery,
    request: ServiceRequest,
    *,
    revision: RequestRevision,
    cloud: str,
    ready: Sequence[Resource],
) -> None:
    """The handover record: what, where, addresses, and how to get in."""
    record: dict[str, Any] = {
        "sub_cloud": cloud,
        "resources": [
            {
                "number": r.number,
                "kind": r.kind,
                "name": r.name,
                "ref": r.ref,
                "addresses": [str(a).split("/")[0] for a in r.addresses],
                "prefix": str(r.prefix) if r.prefix else None,
                "spec": r.spec,
            }
            for r in ready
        ],
        "access": {
            "method": "ssh_key_of_applicant" if revision.form["ssh_public_key"] else "ssh_key_shown_once",
            "login": "root",
        },
    }
    handover = Handover(
        id=new_id(),
        delivery_id=delivery.id,
        run=delivery.run,
        request_id=request.id,
        contact_id=revision.contact_id,
        record=record,
        handed_over_at=work.now,
    )
    work.session.add(handover)
    about = ("request", request.id)
    notify.tell_account(work, request.applicant_id, "delivery.handed_over", about, number=request.number)
    work.record(
        "delivery.handed_over",
        "delivery",
        delivery.id,
        request_id=request.id,
        article=ARTICLE[Stage.DELIVERY],
        data={"resources": [str(r.id) for r in ready], "sub_cloud": cloud},
    )


def undo(tools: Tools, delivery_id: UUID, pace: Pace) -> str:
    """Undo a whole delivery: nothing of it is left in the cloud, quota and prefixes are free again."""
    with tools.works.begin() as work:
        delivery, cloud = _delivery(work, delivery_id)
        progress.begin(work, delivery, "undo")
        mine = [r for r in inventory.of_delivery(work, delivery_id) if r.state not in _GONE]
    stuck = remove(tools.providers(cloud), mine, pace)
    with tools.works.begin() as work:
        delivery, _ = _delivery(work, delivery_id, lock=True)
        request = work.session.get_one(ServiceRequest, delivery.request_id, with_for_update=True)
        gone = [r for r in mine if r.id not in stuck]
        inventory.move(work, [r.id for r in gone], _RS.UNDONE)
        for resource in gone:
            if resource.kind == "segment":
                ipv6.cancel(work.session, resource.id)
        if stuck:
            for resource_id, code in stuck.items():
                _open_case(work, delivery, "undo", code, resource_id)
            delivery.state = "needs_operator"
        else:
            quotas.void(work.session, delivery.hold_id)
            delivery.state = "undone"
        delivery.finished_at = work.now
        progress.end(work, delivery, "undo", failed=" ".join(sorted(set(stuck.values()))))
        work.session.flush()
        close_request(work, request)
        return delivery.state


_EVENTS = {
    "delivered": RequestEvent.HAND_OVER,
    "partly_delivered": RequestEvent.HAND_OVER_PART,
    "needs_operator": RequestEvent.STALL,
    "undone": RequestEvent.UNDO,
}


def close_request(work: Work, request: ServiceRequest) -> None:
    """Bring the request and its items to where all its deliveries together are; waits while one is on its way."""
    states = set(
        work.session.scalars(
            select(Delivery.state).where(Delivery.request_id == request.id, Delivery.state != "expired")
        )
    )
    _close_items(work, request)
    if states & {"queued", "running"}:
        return
    if "needs_operator" in states:
        outcome = "needs_operator"
    elif states == {"undone"}:
        outcome = "undone"
    elif states == {"delivered"}:
        outcome = "delivered"
    else:
        outcome = "partly_delivered"
    if RequestState(request.state) is RequestState.NEEDS_OPERATOR and outcome == "needs_operator":
        return
    request.state = after(RequestState(request.state), _EVENTS[outcome], frozenset({Role.SYSTEM})).value
    request.version += 1
    late = False
    if outcome == "needs_operator":
        audience = (request.delivering_unit_id, Role.OPERATOR)
        notify.tell_role(work, audience, "delivery.needs_operator", ("request", request.id), number=request.number)
    else:
        late = clocks.finish(work, request, Stage.DELIVERY)
    if outcome == "undone":
        request.closed_at = work.now
    work.record(f"request.{request.state}", "request", request.id, request_id=request.id, data={"late": late})


def _close_items(work: Work, request: ServiceRequest) -> None:
    """Each item's state from those of its resources, in one statement."""
    rows = work.session.execute(
        select(Resource.item_id, func.array_agg(Resource.state.distinct()))
        .where(Resource.request_id == request.id, Resource.delivery_id.is_not(None))
        .group_by(Resource.item_id)
    )
    by_state: dict[ItemState, list[UUID]] = {}
    for item_id, states in rows:
        if item_id is not None:
            by_state.setdefault(item_state([ResourceState(s) for s in states]), []).append(item_id)
    for state, ids in by_state.items():
        work.session.execute(update(RequestItem).where(RequestItem.id.in_(ids)).values(state=state.value))


def _delivery(work: Work, delivery_id: UUID, *, lock: bool = False) -> tuple[Delivery, str]:
    statement = (
        select(Delivery, SubCloud.code)
        .join(SubCloud, SubCloud.id == Delivery.sub_cloud_id)
        .where(Delivery.id == delivery_id)
    )
    row = work.session.execute(statement.with_for_update(of=Delivery) if lock else statement).one()
    return row[0], row[1]


def _open_case(work: Work, delivery: Delivery, step: str, code: str, resource_id: UUID) -> None:
    """Put a failure on the operator's desk, once."""
    request = work.session.get_one(ServiceRequest, delivery.request_id)
    work.session.execute(
        insert(DeskCase)
        .values(
            id=new_id(),
            request_id=request.id,
            subject_type="delivery",
            subject_id=delivery.id,
            resource_id=resource_id,
            unit_id=request.delivering_unit_id,
            step=step,
            code=code,
            detail="",
        )
        .on_conflict_do_nothing()
    )
