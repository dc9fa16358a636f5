"""What a cloud does not have any more: not charged for from then on, and no case hangs on it.

Called by: the steps of a case, ``missing`` (the regular comparison). Must not: call a cloud, or release anything: that
takes two people, as ever.

The rule, wherever it is noticed: charged up to the look that missed it, and, if it turns up, from the look that finds
it. In between the cloud itself had denied it; nobody could prove to a payer that it was there (ours).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import CASE_MACHINE, CaseEvent, CaseState, ResourceState
from broker.metering import service as metering
from broker.reclamation import history, objections, parting
from broker.reclamation.models import CaseObjection, ReclaimCase
from broker.reclamation.power import NOT_FOUND
from broker.reclamation.values import Decision
from broker.tenancy.work import Work


def among(stuck: Mapping[UUID, str]) -> set[UUID]:
    """Of what could not be switched the servers that are not there."""
    return {server_id for server_id, code in stuck.items() if code == NOT_FOUND}


def found(work: Work, ids: Collection[UUID], servers: ResourceState = ResourceState.STOPPED) -> None:
    """These are there. ``servers``: their state now.

    Of those that were missed the metering goes on from now, of those to be deleted as if nothing had been.
    """
    lost = select(Resource).where(Resource.id.in_(list(ids)), Resource.error_code == inventory.LOST)
    for resource in work.session.scalars(lost):
        work.record("resource.turned_up", "resource", resource.id)
    metering.go_on(work, ids)
    inventory.keep(work, ids, servers)


def missed(work: Work, ids: Collection[UUID]) -> list[UUID]:
    """These are not there: their metering ends with this look. Returns those of which that is news."""
    news = inventory.move(work, ids, ResourceState.RELEASING, error_code=inventory.LOST)
    metering.end(work, news)
    for resource_id in news:
        work.record("resource.lost", "resource", resource_id)
    return news


def mark(work: Work, case: ReclaimCase, ids: Collection[UUID]) -> bool:
    """These of a case are not there; owner and operators are told once. Whether it is news."""
    news = missed(work, ids)
    if not news:
        return False
    numbers = numbers_of(work, news)
    history.write(work, case, "miss", note=numbers)
    history.tell_owner(work, case, "reclaim.lost", resources=numbers)
    history.tell_operators(work, case, "reclaim.lost", resources=numbers)
    return True


def leave_behind(work: Work, case: ReclaimCase, ids: Collection[UUID], others: Sequence[UUID]) -> None:
    """What is lost cannot be started: the rest goes on in a case of its own, and this one is back to its suspension.

    There two people may release what is lost, at once: nothing of it is kept. Disks of a lost server stay the owner's.
    """
    if others:
        parting.free_disks(work, others, ids)
        history.order(work, parting.part(work, case, others, CaseState.RESUMING))
    case.ending = None
    case.suspended_at = case.suspended_at or work.now
    case.keep_until = work.now
    history.go(work, case, CaseEvent.LOSE)
    if objections.open_one(work, case) is not None:  # an operator had it started before it was answered
        history.go(work, case, CaseEvent.OBJECT)


_STANDS_STILL = {CaseState.SUSPENDED, CaseState.PROPOSED, CaseState.RELEASING}


def turn_up(work: Work, case: ReclaimCase, ids: Collection[UUID], keep_until: datetime) -> None:
    """What a case had lost is there: it was proposed or confirmed as gone, so that this is void, and it is kept anew.

    Where an objection had been accepted, what ran before runs again, as was promised. A case that has not come to its
    suspension, or waits for an answer, stays where it is.
    """
    state = CaseState(case.state)
    stopped = state in _STANDS_STILL or case.suspended_at is not None or state in CASE_MACHINE
    found(work, ids, ResourceState.STOPPED if stopped else ResourceState.ACTIVE)
    numbers = numbers_of(work, ids)
    if state in _STANDS_STILL:
        history.go(work, case, CaseEvent.TURN_UP, note=numbers)
        case.proposed_by = case.proposed_at = case.confirmed_by = case.confirmed_at = None
    else:
        history.write(work, case, CaseEvent.TURN_UP.value, note=numbers)
    if case.keep_until is not None:
        case.keep_until = max(case.keep_until, keep_until)
    history.tell_owner(work, case, "reclaim.turned_up", resources=numbers)
    history.tell_operators(work, case, "reclaim.turned_up", resources=numbers)
    if state in _STANDS_STILL and (ending := granted(work, case)) is not None:
        case.ending = ending.value
        history.go(work, case, CaseEvent.RESUME)


def granted(work: Work, case: ReclaimCase) -> CaseState | None:
    """How a case ends by the objection that was accepted and whose day has not come; None: there is none."""
    if case.exempt_until is None or case.exempt_until <= work.now:
        return None
    accepted = (
        select(CaseObjection.renew_until)
        .where(CaseObjection.case_id == case.id, CaseObjection.decision == Decision.ACCEPT.value)
        .order_by(CaseObjection.id.desc())
        .limit(1)
    )
    return CaseState.EXEMPTED if work.session.scalar(accepted) is None else CaseState.RENEWED


def numbers_of(work: Work, ids: Collection[UUID]) -> str:
    """What people call them."""
    named = select(Resource.number).where(Resource.id.in_(ids)).order_by(Resource.id)
    return "、".join(work.session.scalars(named))
