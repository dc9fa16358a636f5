"""The last machine steps: hand over what is there and start metering, or leave it on an operator's desk, or undo it.

Called by: ``workflows.steps``. Must not: hand over a resource that is not ready, or meter one that is not handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import func, select, update

from broker.db.base import new_id
from broker.delivery import cases, progress
from broker.delivery.begin import locked
from broker.delivery.models import Delivery, Handover
from broker.delivery.provision import fail_all
from broker.delivery.remove import remove
from broker.delivery.tools import Pace, Tools
from broker.delivery.values import Job
from broker.extranet import service as extranet
from broker.inventory import rules as scarce
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ItemState, RequestEvent, RequestState, ResourceState, Role, after, item_state
from broker.notify import service as notify
from broker.request import clocks
from broker.request import service as requests
from broker.request.clocks import ARTICLE, Stage
from broker.request.models import RequestItem, RequestRevision, ServiceRequest
from broker.tenancy.work import Work
from quotas import service as quotas
from quotas.ipv6 import service as ipv6

_RS = ResourceState
_GONE = {_RS.UNDONE.value, _RS.RELEASED.value, _RS.RELEASING.value}


def undo_failed(tools: Tools, job: Job, pace: Pace) -> bool:
    """Take whatever there is of the failed resources out of the cloud again; they stay ``failed`` for the operator.

    What a broken step left half-made has failed too. What the operator has given up is undone once it is gone.
    False: something could not be removed (it is on the desk).
    """
    step = "undo_failed"
    with tools.works.begin() as work:
        resources = _begin(work, job, step)
        half_made = [r.id for r in resources if r.state == _RS.BUILDING.value]
        cases.fail(work, job, step, dict.fromkeys(half_made, cases.STEP_FAILED))
        failed = [r for r in resources if r.state in {_RS.FAILED.value, _RS.BUILDING.value}]
    stuck = remove(tools, job.sub_cloud, failed, pace)
    with tools.works.begin() as work:
        on_desk = cases.open_cases(work, job.id)
        given_up = [r.id for r in failed if r.error_code == cases.GIVEN_UP and r.id not in stuck]
        inventory.move(work, given_up, _RS.UNDONE)
        for resource in failed:
            # Without a project there is one case for the whole, and nothing was made that could not be removed.
            if resource.id in stuck and not (resource.error_code == cases.BASE_FAILED and None in on_desk):
                cases.put(work, job, step, stuck[resource.id], resource.id)
        progress.end(work, job, step, failed=" ".join(sorted(set(stuck.values()))))
    return not stuck


def hand_over(tools: Tools, job: Job) -> str:
    """Hand over what is ready, if it is all or if a part is allowed; returns the delivery's state."""
    with tools.works.begin() as work:
        request, delivery, revision = _locked(work, job)
        if delivery.state != "running":
            return delivery.state
        resources = inventory.of_delivery(work, job.id)
        ready = [r for r in resources if r.state == _RS.READY.value]
        failed = [r for r in resources if r.state in (_RS.FAILED.value, _RS.BUILDING.value)]
        undone = [r for r in resources if r.state == _RS.UNDONE.value]
        if failed:
            _to_the_desk(work, job, request, failed)
        allowed = bool(ready) and (not failed or revision.form["allow_partial"])
        # Amounts first, prefixes after them (quotas.order).
        if allowed:
            _activate(work, delivery, ready, everything=len(ready) == len(resources))
        if not failed and len(ready) < len(resources):
            _let_go(work, delivery, undone)
        if allowed:
            for segment in _segments(ready):
                ipv6.activate(work.session, segment.id, now=work.now)
            places = _places(work, job, ready)
            _record(work, job, request, ready=ready, revision=revision, places=places)
        before = any(r.state == _RS.ACTIVE.value for r in resources)
        delivery.state = _outcome(failed=bool(failed), undone=bool(undone), handed_over=allowed or before)
        delivery.finished_at = work.now
        with work.session.no_autoflush:  # the commit writes what was added, both audit events in one statement
            close_request(work, job, "hand_over", request, delivery)
        return delivery.state


def _to_the_desk(work: Work, job: Job, request: ServiceRequest, failed: Sequence[Resource]) -> None:
    """Each failure has a case that speaks for it, and the operators know."""
    half_made = [r.id for r in failed if r.state == _RS.BUILDING.value]
    cases.fail(work, job, "deliver", dict.fromkeys(half_made, cases.STEP_FAILED))
    for resource in cases.uncovered(failed, cases.open_cases(work, job.id)):
        cases.put(work, job, "deliver", resource.error_code or cases.STEP_FAILED, resource.id)
    _tell_operators(work, request)


def _tell_operators(work: Work, request: ServiceRequest) -> None:
    audience = (request.delivering_unit_id, Role.OPERATOR)
    notify.tell_role(work, audience, "delivery.needs_operator", ("request", request.id), number=request.number)


def _outcome(*, failed: bool, undone: bool, handed_over: bool) -> str:
    """Where a delivery is: failures wait for an operator, even beside what was handed over in part."""
    if handed_over:
        return "partly_delivered" if failed or undone else "delivered"
    return "needs_operator" if failed else "undone"


def _let_go(work: Work, delivery: Delivery, undone: Sequence[Resource]) -> None:
    """Nothing waits any more: what was held and not used is free again."""
    quotas.void(work.session, delivery.hold_id)
    for segment in _segments(undone):
        ipv6.cancel(work.session, segment.id)


def _segments(resources: Sequence[Resource]) -> list[Resource]:
    return [each for each in resources if each.kind == "segment"]


def _activate(work: Work, delivery: Delivery, ready: Sequence[Resource], *, everything: bool) -> None:
    """From now on they are metered and their quota is used. Keyed by run: once."""
    inventory.activate(work, [r.id for r in ready])
    amounts = scarce.total(scarce.amounts(r.kind, r.spec) for r in ready)
    quotas.post(
        work.session,
        delivery.hold_id,
        None if everything else scarce.lines(amounts, delivery.sub_cloud_id),
        key=uuid5(delivery.id, f"run/{delivery.run}"),
        now=work.now,
    )


def _places(work: Work, job: Job, ready: Sequence[Resource]) -> dict[UUID, dict[str, Any]]:
    """Where segments meet the extranet, for those who run the network: router, table, VNI, gateway."""
    segments = [r.id for r in ready if r.kind == "segment"]
    if not segments or not job.routes:
        return {}
    return {
        spec.id: {
            "router": spec.router,
            "vrf": spec.vrf,
            "encapsulation": spec.encapsulation.value,
            "vni": spec.vni,
            "gateway": str(spec.gateway),
            "addressing": spec.addressing.value,
        }
        for spec in extranet.specs(work.session, extranet.attachments(work.session, segments))
    }


def _record(
    work: Work,
    job: Job,
    request: ServiceRequest,
    *,
    ready: Sequence[Resource],
    revision: RequestRevision,
    places: Mapping[UUID, Mapping[str, Any]],
) -> None:
    """The handover record: what, where, addresses, and how to get in."""
    numbers = {r.id: r.number for r in ready if r.kind == "segment"}
    record: dict[str, Any] = {
        "sub_cloud": job.sub_cloud,
        "resources": [
            {
                "number": r.number,
                "kind": r.kind,
                "name": r.name,
                "ref": r.ref,
                "addresses": [str(a).split("/")[0] for a in r.addresses],
                "prefix": str(r.prefix) if r.prefix else None,
                "spec": r.spec,
                **({"extranet": places[r.id]} if r.id in places else {}),
                **({"segment": numbers[r.network_id]} if r.network_id in numbers else {}),
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
        delivery_id=job.id,
        run=job.run,
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
        job.id,
        request_id=request.id,
        article=ARTICLE[Stage.DELIVERY],
        data={"resources": [str(r.id) for r in ready], "sub_cloud": job.sub_cloud},
    )


def undo(tools: Tools, job: Job, pace: Pace) -> str:
    """Undo a whole delivery: nothing of it is left in the cloud, quota and prefixes are free again."""
    with tools.works.begin() as work:
        delivery = work.session.get_one(Delivery, job.id)
        if delivery.state != "running":
            return delivery.state
        mine = [r for r in _begin(work, job, "undo") if r.state not in _GONE]
    stuck = remove(tools, job.sub_cloud, mine, pace)
    with tools.works.begin() as work:
        request, delivery, _ = _locked(work, job)
        if delivery.state != "running":
            return delivery.state
        gone = [r for r in mine if r.id not in stuck]
        inventory.move(work, [r.id for r in gone], _RS.UNDONE)
        for resource_id, code in stuck.items():
            cases.put(work, job, "undo", code, resource_id)
        if stuck:
            _tell_operators(work, request)
        else:
            _let_go(work, delivery, inventory.of_delivery(work, job.id))
            delivery.secret = None  # the key of servers that are not there
        delivery.state = "needs_operator" if stuck else "undone"
        delivery.finished_at = work.now
        close_request(work, job, "undo", request, delivery)
        return delivery.state


def break_off(tools: Tools, job: Job, step: str) -> None:
    """A step broke on its last attempt, and no row says why: what it was about has failed, and an operator looks."""
    if step == "create_project":
        fail_all(tools, job, cases.STEP_FAILED)
        return
    with tools.works.begin() as work:
        if step == "undo":
            _stall(work, job)
        elif step in _UNFINISHED:
            unfinished = _UNFINISHED[step]
            ids = [r.id for r in inventory.of_delivery(work, job.id) if unfinished(r)]
            cases.fail(work, job, step, dict.fromkeys(ids, cases.STEP_FAILED))
            progress.end(work, job, step, failed=cases.STEP_FAILED)


def _building(kind: str) -> Callable[[Resource], bool]:
    return lambda r: r.kind == kind and r.state == _RS.BUILDING.value


_UNFINISHED: Mapping[str, Callable[[Resource], bool]] = {
    "create_segments": _building("segment"),
    "route_segments": lambda r: r.kind == "segment" and r.state == _RS.READY.value,
    "verify_segments": lambda r: r.kind == "segment" and r.state == _RS.READY.value,
    "create_volumes": _building("volume"),
    "create_servers": _building("server"),
    "attach_volumes": lambda r: r.kind == "volume" and r.server_id is not None and r.state == _RS.READY.value,
    "configure_guests": lambda r: r.kind == "server" and r.state == _RS.READY.value,
}
"""What a step that broke has not finished and must not be handed over."""


def _stall(work: Work, job: Job) -> None:
    """An undo that broke waits on the desk as a whole."""
    request, delivery, _ = _locked(work, job)
    if delivery.state != "running":
        return
    cases.put(work, job, "undo", cases.STEP_FAILED, None)
    _tell_operators(work, request)
    delivery.state, delivery.finished_at = "needs_operator", work.now
    close_request(work, job, "undo", request, delivery)


_EVENTS = {
    "delivered": RequestEvent.HAND_OVER,
    "partly_delivered": RequestEvent.HAND_OVER_PART,
    "needs_operator": RequestEvent.STALL,
    "undone": RequestEvent.UNDO,
}


def close_request(work: Work, job: Job, step: str, request: ServiceRequest, delivery: Delivery) -> None:
    """Bring the request and its items to where all its deliveries together are; waits while one is on its way."""
    through = delivery.state == "delivered" or (step, delivery.state) == ("undo", "undone")
    done = progress.done_at_once(work, job, step, failed="" if through else delivery.state)
    others = select(Delivery.state).where(
        Delivery.request_id == request.id, Delivery.state != "expired", Delivery.id != delivery.id
    )
    states = {delivery.state, *work.session.scalars(others.add_cte(done))}
    all_delivered = states == {"delivered"}
    if not all_delivered:
        _close_items(work, request)
    if states & {"queued", "running"}:
        return
    if "needs_operator" in states:
        outcome = "needs_operator"
    elif len(states) == 1:
        outcome = states.pop()
    else:
        outcome = "partly_delivered"
    state = RequestState(request.state)
    if state is RequestState.NEEDS_OPERATOR and outcome == "needs_operator":
        return
    late = False
    if outcome != "needs_operator":
        also = [requests.items_at(request, ItemState.DELIVERED)] if all_delivered else []
        late = clocks.finish(work, request, Stage.DELIVERY, *also)
    request.state = after(state, _EVENTS[outcome], frozenset({Role.SYSTEM})).value
    request.version += 1
    if outcome == "undone":
        request.closed_at = work.now
    work.record(f"request.{request.state}", "request", request.id, request_id=request.id, data={"late": late})


def _close_items(work: Work, request: ServiceRequest) -> None:
    """Each item's state from those of its resources."""
    rows = work.session.execute(
        select(Resource.item_id, func.array_agg(Resource.state.distinct()))
        .join(Delivery, Delivery.id == Resource.delivery_id)
        .where(Resource.request_id == request.id, Delivery.state != "expired")
        .group_by(Resource.item_id)
    )
    by_state: dict[ItemState, list[UUID]] = {}
    for item_id, states in rows:
        if item_id is not None:
            by_state.setdefault(item_state([ResourceState(s) for s in states]), []).append(item_id)
    for state, ids in by_state.items():
        work.session.execute(update(RequestItem).where(RequestItem.id.in_(ids)).values(state=state.value))


def _begin(work: Work, job: Job, step: str) -> Sequence[Resource]:
    """The step runs: one statement says so and reads the delivery's resources."""
    statement = select(Resource).where(Resource.delivery_id == job.id).order_by(Resource.id)
    return work.session.scalars(statement.add_cte(progress.begun(work, job, step))).all()


def _locked(work: Work, job: Job) -> tuple[ServiceRequest, Delivery, RequestRevision]:
    """The request and its delivery, locked, with the revision in force."""
    row = work.session.execute(locked(job).add_columns(RequestRevision)).one()
    return row[0], row[1], row[2]
