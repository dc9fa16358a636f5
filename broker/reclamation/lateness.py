"""Reminds who has a case on his desk and lets it lie: an objection to answer, a release to propose or to confirm.

Called by: ``dates``. Must not: move a case. Nothing is decided because somebody is late; he is told again every week.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from broker.lifecycle import CaseState, Role
from broker.notify import service as notify
from broker.reclamation import history
from broker.reclamation.models import CaseObjection, ReclaimCase
from broker.reclamation.watched import LATE
from broker.tenancy.work import Work

_AHEAD = timedelta(days=1)
"""An answer is reminded of for the first time so long before it is due (ours)."""
_EVERY = timedelta(days=7)


def remind(work: Work) -> int:
    """Everybody who is, or is about to be, late; each week once. Returns how many notices were new."""
    return notify.remind(work, [*_answers(work), *_proposals(work), *_confirmations(work)])


def _week(work: Work, due_at: datetime) -> int:
    """Which week of being late this is, from 0 on; -1 before."""
    return (work.now - due_at) // _EVERY


def _answers(work: Work) -> Iterator[dict[str, Any]]:
    open_ones = (
        select(CaseObjection, ReclaimCase)
        .join(ReclaimCase, ReclaimCase.id == CaseObjection.case_id)
        .where(
            CaseObjection.answered_at.is_(None),
            CaseObjection.due_at <= work.now + _AHEAD,
            ReclaimCase.closed_at.is_(None),
        )
    )
    for objection, case in work.session.execute(open_ones):
        once = f"answer/{objection.id}/{_week(work, objection.due_at)}"
        audience = (case.deciding_unit_id, Role.APPROVER)
        yield history.reminder(case, audience, "reclaim.answer_due", once, due_at=objection.due_at.isoformat())


def _proposals(work: Work) -> Iterator[dict[str, Any]]:
    kept = select(ReclaimCase).where(ReclaimCase.state == CaseState.SUSPENDED.value, ReclaimCase.keep_until <= work.now)
    for case in work.session.scalars(kept):
        assert case.keep_until is not None
        once = f"propose/{case.id}/{case.keep_until.timestamp():.0f}/{_week(work, case.keep_until)}"
        audience = (case.delivering_unit_id, Role.OPERATOR)
        yield history.reminder(case, audience, "reclaim.propose_due", once, due_at=case.keep_until.isoformat())


def _confirmations(work: Work) -> Iterator[dict[str, Any]]:
    waiting = select(ReclaimCase).where(
        ReclaimCase.state == CaseState.PROPOSED.value, ReclaimCase.proposed_at <= work.now - LATE
    )
    for case in work.session.scalars(waiting):
        assert case.proposed_at is not None
        once = f"confirm/{case.id}/{case.proposed_at.timestamp():.0f}/{_week(work, case.proposed_at)}"
        for audience in ((case.delivering_unit_id, Role.OPERATOR), (case.deciding_unit_id, Role.APPROVER)):
            yield history.reminder(case, audience, "reclaim.confirm_due", once, due_at=case.proposed_at.isoformat())
