"""What an assessment held is let go: the request is withdrawn, or the hold's date has passed.

Called by: the API (withdraw), dispatch (dates that have come), delivery's first step (a hold that is gone).
Must not: hold anything, or touch a resource that is more than planned.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select, update

from broker.inventory.models import Resource
from broker.lifecycle import ItemState, RequestEvent, RequestState, ResourceState, Role, after
from broker.notify import service as notify
from broker.request import clocks
from broker.request import service as requests
from broker.request.clocks import Stage
from broker.request.models import ServiceRequest
from broker.tenancy.work import Work
from quotas import service as quotas
from quotas.ipv6 import service as ipv6


def withdraw(work: Work, request_id: UUID, *, reason: str, version: int | None = None) -> ServiceRequest:
    """The applicant withdraws: the request ends, and what an assessment held for it is let go at once."""
    request = requests.withdraw(work, request_id, reason=reason, version=version)
    _let_go(work, request)
    return request


def expire_holds(work: Work, limit: int = 100) -> int:
    """Let go the holds whose date has passed, each an event; their requests are assessed anew. Returns how many.

    In a transaction of its own: requests are locked first, then the gate, prefixes last (``quotas.order``). What
    somebody decides about at this moment is not waited for: its holds are met by the next look.
    """
    back = _expire(work, limit)
    ipv6.sweep(work.session, work.now)
    return back


def _expire(work: Work, limit: int) -> int:
    due = quotas.due(work.session, work.now, limit)
    if not due:
        return 0
    of = ServiceRequest.id.in_(set(due.values()))
    theirs = set(work.session.scalars(select(ServiceRequest.id).where(of)))
    statement = select(ServiceRequest).where(of).order_by(ServiceRequest.id)
    locked = {r.id: r for r in work.session.scalars(statement.with_for_update(skip_locked=True))}
    free = [hold for hold, owner in due.items() if owner in locked or owner not in theirs]
    if not free:
        return 0
    quotas.alone(work.session)  # a request's other holds are voided in the same transaction
    swept = quotas.sweep(work.session, work.now, limit, only=free)
    for each in swept:
        work.record("hold.expired", "hold", each.hold, data={"owner": str(each.owner), "node": str(each.node)})
    owners = {each.owner for each in swept}
    back = [r for r in locked.values() if r.id in owners and r.state == RequestState.ASSESSED.value]
    for request in back:
        reassess(work, request)
    return len(back)


def reassess(work: Work, request: ServiceRequest) -> None:
    """A hold has expired: back to the assessor, with a new clock, and everybody told."""
    request.state = after(RequestState(request.state), RequestEvent.EXPIRE, frozenset({Role.SYSTEM})).value
    request.version += 1
    _let_go(work, request)
    clocks.abandon(work, request)
    assert request.assessing_unit_id is not None
    clocks.start(work, request, Stage.ASSESSMENT, request.assessing_unit_id)
    requests.set_items(work, request, ItemState.REQUESTED)
    audience = (request.assessing_unit_id, Role.ASSESSOR)
    notify.tell_role(work, audience, "hold.expired", ("request", request.id), number=request.number)
    work.record("request.hold_expired", "request", request.id, request_id=request.id)


def _let_go(work: Work, request: ServiceRequest) -> None:
    """Void what is held for resources that are only planned, and free their prefixes."""
    planned = work.session.execute(
        select(Resource.id, Resource.kind, Resource.hold_id).where(
            Resource.request_id == request.id, Resource.state == ResourceState.PLANNED.value
        )
    ).all()
    held = sorted({row.hold_id for row in planned if row.hold_id is not None})
    if len(held) > 1:
        quotas.alone(work.session)
    for hold_id in held:
        quotas.void(work.session, hold_id)
    for row in planned:
        if row.kind == "segment":
            ipv6.cancel(work.session, row.id)
    if planned:
        work.session.execute(
            update(Resource)
            .where(Resource.id.in_([row.id for row in planned]))
            .values(state=ResourceState.UNDONE.value)
        )
