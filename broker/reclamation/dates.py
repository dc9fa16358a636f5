"""Dates of cases that have come: found ones are told, windows that are over fall due, deadlines follow the calendar.

Called by: dispatch, every twenty seconds. Must not: act on a cloud; a case that falls due is carried by a workflow.
"""

from __future__ import annotations

from sqlalchemy import or_, select

from broker.lifecycle import CaseEvent, CaseState
from broker.reclamation import history, rules, terms
from broker.reclamation.models import CaseObjection, ReclaimCase
from broker.reclamation.values import Heard
from broker.tenancy.work import Work

_AT_ONCE = 200


def come(work: Work) -> int:
    """Everything that is due; returns how many cases moved."""
    return _tell_found(work) + _follow_calendar(work) + _fall_due(work)


def _cases(work: Work, *which: object) -> list[ReclaimCase]:
    statement = (
        select(ReclaimCase)
        .where(*which)  # type: ignore[arg-type]  # conditions
        .order_by(ReclaimCase.id)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return list(work.session.scalars(statement))


def _tell_found(work: Work) -> int:
    found = _cases(work, ReclaimCase.state == CaseState.FOUND.value)
    for case in found:
        case.noticed_at = work.now
        history.go(work, case, CaseEvent.NOTIFY)
        set_window(work, case)
        assert case.due_at is not None
        history.tell_owner(work, case, f"reclaim.noticed_{case.cause}", due_at=case.due_at.isoformat())
    return len(found)


def set_window(work: Work, case: ReclaimCase) -> None:
    """The end of the objection window, as ``rules`` counts it. A term's window begins with its end."""
    assert case.noticed_at is not None
    begins = max(case.noticed_at, terms.ends_at(case) or case.noticed_at)
    rows = work.session.execute(
        select(CaseObjection.raised_at, CaseObjection.answered_at, CaseObjection.workdays)
        .where(CaseObjection.case_id == case.id)
        .order_by(CaseObjection.raised_at)
    )
    heard = [Heard(row.raised_at, row.answered_at, row.workdays or 0) for row in rows]
    due = rules.window_end(work.calendar, begins, case.grace_workdays, heard)
    if due is not None:
        case.due_at, case.due_provisional = due.at, due.provisional
    case.calendar_version = work.calendar.version


def _follow_calendar(work: Work) -> int:
    """Windows that still run, counted by another calendar than today's."""
    old = _cases(
        work, ReclaimCase.state == CaseState.NOTICED.value, ReclaimCase.calendar_version != work.calendar.version
    )
    for case in old:
        set_window(work, case)
    return len(old)


def _fall_due(work: Work) -> int:
    due = _cases(
        work,
        ReclaimCase.state == CaseState.NOTICED.value,
        ReclaimCase.due_at <= work.now,
        or_(ReclaimCase.look_at.is_(None), ReclaimCase.look_at <= work.now),
    )
    for case in due:
        history.go(work, case, CaseEvent.FALL_DUE)
    return len(due)
