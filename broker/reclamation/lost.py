"""Servers of a case that their cloud does not have any more: not charged for from then on, and no case hangs on them.

Called by: the steps of a case. Must not: call a cloud, or release anything: that takes two people, as ever.

What is lost may turn up again: it is metered as if it had never been missing then (``found``, ``turn_up``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import CaseEvent, CaseState, ResourceState
from broker.metering import service as metering
from broker.reclamation import history, objections, parting
from broker.reclamation.models import CaseObjection, ReclaimCase
from broker.reclamation.power import NOT_FOUND
from broker.reclamation.values import Decision
from broker.tenancy.work import Work

LOST = "resource.lost"
"""Stands with a resource from the look that missed it until it is found, or released by two people."""


def among(stuck: Mapping[UUID, str]) -> set[UUID]:
    """Of what could not be switched the servers that are not there."""
    return {server_id for server_id, code in stuck.items() if code == NOT_FOUND}


def found(work: Work, ids: Collection[UUID]) -> None:
    """These are there."""
    inventory.keep(work, ids)


def mark(work: Work, case: ReclaimCase, ids: Collection[UUID]) -> None:
    """These are not: their metering ends with this look; owner and operators are told once."""
    news = inventory.move(work, ids, ResourceState.RELEASING, error_code=LOST)
    if not news:
        return
    metering.end(work, news)
    numbers = _numbers(work, news)
    history.write(work, case, "miss", note=numbers)
    history.tell_owner(work, case, "reclaim.lost", resources=numbers)
    history.tell_operators(work, case, "reclaim.lost", resources=numbers)


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


def turn_up(work: Work, case: ReclaimCase, ids: Collection[UUID], keep_until: datetime) -> None:
    """What was to be released as lost is there: it was confirmed as gone, so that this is void, and it is kept anew.

    Where an objection had been accepted, what ran before runs again, as was promised.
    """
    found(work, ids)
    numbers = _numbers(work, ids)
    history.go(work, case, CaseEvent.TURN_UP, note=numbers)
    case.proposed_by = case.proposed_at = case.confirmed_by = case.confirmed_at = None
    case.keep_until = keep_until
    history.tell_owner(work, case, "reclaim.turned_up", resources=numbers)
    history.tell_operators(work, case, "reclaim.turned_up", resources=numbers)
    if (ending := granted(work, case)) is not None:
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


def _numbers(work: Work, ids: Collection[UUID]) -> str:
    named = select(Resource.number).where(Resource.id.in_(ids)).order_by(Resource.id)
    return "、".join(work.session.scalars(named))
