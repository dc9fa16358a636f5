"""What was deleted goes back: quota hold by hold, prefixes (which rest first), and requests with nothing left close.

Called by: the last steps of a release and of a reclaim case, in their transaction. Must not: call a cloud.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID, uuid5

from sqlalchemy import func, select, update

from broker.delivery import keys
from broker.inventory import rules as scarce
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ItemState, RequestEvent, RequestState, ResourceState, Role, after, item_state
from broker.request.models import RequestItem, ServiceRequest
from broker.tenancy.work import Work
from quotas import service as quotas
from quotas.ipv6 import service as ipv6

_SYSTEM = frozenset({Role.SYSTEM})


def give_back(
    work: Work, key: UUID, sub_cloud_id: UUID, resources: Sequence[Resource], *, quarantine_days: int
) -> None:
    """Quota and prefixes go back, the resources are released. ``key`` makes it happen once."""
    _quota(work, key, sub_cloud_id, resources)
    rests_until = work.now + timedelta(days=quarantine_days)
    for resource in resources:
        if resource.kind == "segment":
            ipv6.release(work.session, resource.id, rests_until)
    inventory.move(work, [r.id for r in resources], ResourceState.RELEASED)


def _quota(work: Work, key: UUID, sub_cloud_id: UUID, resources: Sequence[Resource]) -> None:
    by_hold: dict[UUID, list[Resource]] = {}
    for resource in resources:
        if resource.hold_id is not None:
            by_hold.setdefault(resource.hold_id, []).append(resource)
    if len(by_hold) > 1:
        quotas.alone(work.session)
    for hold_id, part in sorted(by_hold.items()):
        amounts = scarce.total(scarce.amounts(r.kind, r.spec) for r in part)
        # A key belongs to one hold: of several each has its own, and each its own again at a second try.
        quotas.release(
            work.session, key=uuid5(key, str(hold_id)), hold_id=hold_id, lines=scarce.lines(amounts, sub_cloud_id)
        )


def lock_requests(work: Work, ids: Iterable[UUID | None]) -> list[ServiceRequest]:
    """The requests that brought the resources, locked before anything that hangs on them, in one order."""
    wanted = {i for i in ids if i is not None}
    statement = select(ServiceRequest).where(ServiceRequest.id.in_(wanted)).order_by(ServiceRequest.id)
    return list(work.session.scalars(statement.with_for_update())) if wanted else []


def settle(work: Work, requests: Sequence[ServiceRequest]) -> None:
    """Items follow their resources; a delivered request of which nothing is left is closed without being asked."""
    for request in requests:
        rows = work.session.execute(
            select(Resource.item_id, func.array_agg(Resource.state.distinct()))
            .where(Resource.request_id == request.id, Resource.item_id.is_not(None))
            .group_by(Resource.item_id)
        )
        left = False
        for item_id, states in rows:
            state = item_state([ResourceState(s) for s in states])
            left |= state not in {ItemState.RELEASED, ItemState.UNDELIVERED}
            work.session.execute(update(RequestItem).where(RequestItem.id == item_id).values(state=state.value))
        if left or request.state not in {RequestState.DELIVERED.value, RequestState.PARTLY_DELIVERED.value}:
            continue
        request.state = after(RequestState(request.state), RequestEvent.CLOSE, _SYSTEM).value
        request.version += 1
        request.closed_at = work.now
        # Nobody can fetch a key to what is gone.
        nothing = select(ServiceRequest.id).where(ServiceRequest.id == request.id).add_cte(keys.forgotten(request.id))
        work.session.execute(nothing)
        work.record("request.released", "request", request.id, request_id=request.id, article="Art. 14")
