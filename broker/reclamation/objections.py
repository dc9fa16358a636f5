"""An owner's word against a case, or for a longer term: who may raise it, and what it sets aside.

Called by: ``cases``, ``terms``, the steps of a case. Must not: answer.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from broker.errors import Conflict, Forbidden
from broker.lifecycle import CaseEvent, CaseState, Role
from broker.reclamation import board, history, rules
from broker.reclamation.models import CaseObjection, ReclaimCase
from broker.tenancy.work import Work

_UNIT = frozenset({Role.APPLICANT, Role.UNIT_LEADER})


def of_its_unit(work: Work, case_id: UUID) -> ReclaimCase:
    """The case, locked, for somebody of its unit or of one above. Raises NotFound, Forbidden ``duty.missing``."""
    board.visible(work, case_id)
    case = history.lock(work, case_id)
    if not work.actor.roles & _UNIT or not board.in_tree(work, case.unit_id):
        raise Forbidden("duty.missing", role=Role.APPLICANT.value)
    return case


def open_one(work: Work, case: ReclaimCase) -> CaseObjection | None:
    """What waits for its answer."""
    unanswered = select(CaseObjection).where(CaseObjection.case_id == case.id, CaseObjection.answered_at.is_(None))
    return work.session.scalar(unanswered)


def undoes_suspension(case: ReclaimCase) -> bool:
    """Whether servers are being started only so that an objection against a suspension that is stuck can be heard."""
    return case.state == CaseState.RESUMING.value and case.ending is None


def answered_meanwhile(work: Work, case: ReclaimCase) -> bool:
    """Whether one was raised since the suspension began, and has its answer."""
    found = select(CaseObjection.id).where(
        CaseObjection.case_id == case.id,
        CaseObjection.answered_at.is_not(None),
        CaseObjection.raised_at >= case.admitted_at,
    )
    return work.session.scalar(found.limit(1)) is not None


def put(work: Work, case: ReclaimCase, code: str, *, reason: str, renew_until: datetime | None = None) -> None:
    """Write it down and tell who has to answer, by when. Raises Conflict ``reclaim.state``, ``reclaim.stopping``.

    A proposal to release falls, and so does what an operator vouched for: the owner says otherwise. A suspension that
    is stuck is undone first; while the machine is at it, it is not interrupted.
    """
    assert work.actor.account_id is not None
    if case.state == CaseState.SUSPENDING.value and case.trouble is None:
        raise Conflict("reclaim.stopping")
    history.go(work, case, CaseEvent.OBJECT, work.actor.roles & _UNIT, note=reason.strip())
    case.proposed_by = case.proposed_at = case.waived_by = case.waived_at = None
    due_at = work.calendar.deadline(work.now, rules.ANSWER_WORKDAYS).at
    objection = CaseObjection(
        case_id=case.id,
        renew_until=renew_until,
        reason=reason.strip(),
        raised_by=work.actor.account_id,
        raised_at=work.now,
        due_at=due_at,
    )
    work.session.add(objection)
    history.tell(work, case, code, [(case.deciding_unit_id, Role.APPROVER)], due_at=due_at.isoformat())
