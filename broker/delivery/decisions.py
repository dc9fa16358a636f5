"""What follows from an operator's decision: what becomes of the resource and, once all is decided, the next run.

Called by: ``delivery.service`` (decide_case), in its transaction and under the request's lock.
Must not: call a cloud; the run that follows removes and makes things.
"""

from __future__ import annotations

from sqlalchemy import update

from broker.delivery import cases
from broker.delivery.models import Delivery, DeskCase
from broker.errors import Conflict
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import RequestEvent, RequestState, ResourceState, Role, after
from broker.request import repository
from broker.request.models import ServiceRequest
from broker.tenancy.work import Work

_GIVE_UP = "give_up"
_FAILED = ResourceState.FAILED.value
_TO_COME = {ResourceState.PLANNED.value, ResourceState.BUILDING.value, ResourceState.READY.value}


def follow(work: Work, request: ServiceRequest, case: DeskCase) -> None:
    """Mark what was decided; start the delivery again once nothing of it is left to decide.

    Raises Conflict ``case.on_its_way`` while the delivery runs: it may still change what is on the desk.
    """
    delivery = work.session.get_one(Delivery, case.subject_id, with_for_update=True)
    if delivery.state in {"queued", "running"}:
        raise Conflict("case.on_its_way")
    if delivery.mode == "build":
        _mark(work, delivery, case)
    if cases.open_cases(work, delivery.id):
        return
    if delivery.mode == "build":
        _mark_dependents(work, delivery)
        if delivery.state == "needs_operator" and _is_over(work, request, delivery):
            delivery.mode = "undo"
    delivery.state = "queued"
    delivery.run += 1
    delivery.queued_at = work.now
    if request.state != RequestState.DELIVERING.value:
        roles = frozenset({Role.OPERATOR})
        request.state = after(RequestState(request.state), RequestEvent.RESUME, roles).value
        request.version += 1


def _mark(work: Work, delivery: Delivery, case: DeskCase) -> None:
    """The case's resource, or for a case of the whole delivery all that failed with it."""
    everything = inventory.of_delivery(work, delivery.id)
    for resource in everything:
        if resource.id == case.resource_id or (case.resource_id is None and resource.error_code == cases.BASE_FAILED):
            _decide(work, resource, give_up=case.action == _GIVE_UP)


def _decide(work: Work, resource: Resource, *, give_up: bool) -> None:
    """To be made again, or to be undone once nothing of it is left in the cloud."""
    if give_up:
        mine = update(Resource).where(Resource.id == resource.id, Resource.state == _FAILED)
        work.session.execute(mine.values(error_code=cases.GIVEN_UP))
    else:
        inventory.move(work, [resource.id], ResourceState.BUILDING)


def _mark_dependents(work: Work, delivery: Delivery) -> None:
    """What failed only because of what it stands on shares its fate: servers their segment's, disks their server's."""
    for kind in ("server", "volume"):
        everything = {r.id: r for r in inventory.of_delivery(work, delivery.id)}
        for resource in everything.values():
            if resource.kind != kind or resource.error_code != cases.BASE_FAILED:
                continue
            stands_on = resource.server_id if kind == "volume" else resource.network_id
            base = everything.get(stands_on) if stands_on is not None else None
            gone = base is not None and (base.error_code == cases.GIVEN_UP or base.state == ResourceState.UNDONE.value)
            _decide(work, resource, give_up=gone)


def _is_over(work: Work, request: ServiceRequest, delivery: Delivery) -> bool:
    """Nothing was handed over and something was given up: only a part could follow, if it may and if one is left."""
    everything = inventory.of_delivery(work, delivery.id)
    if not any(r.error_code == cases.GIVEN_UP for r in everything):
        return False
    allowed = repository.revision(work.session, request).form["allow_partial"]
    return not (allowed and any(r.state in _TO_COME for r in everything))
