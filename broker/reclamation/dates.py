"""Dates of cases that have come, and what happened meanwhile: found ones are told, windows that are over fall due.

Deadlines follow the calendar; servers of a suspended case that run, and a unit that has ended, are taken note of.

Called by: dispatch, every twenty seconds. Must not: act on a cloud; a case that falls due is carried by a workflow.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import or_, select

from broker.inventory.models import Resource
from broker.lifecycle import CaseEvent, CaseState, ResourceState, Role
from broker.notify import service as notify
from broker.reclamation import history, lateness, lost, rules, terms, watched
from broker.reclamation.models import CaseObjection, CaseResource, ReclaimCase
from broker.reclamation.values import Heard
from broker.region import calendars
from broker.tenancy.work import Work
from broker.utilisation import findings
from broker.utilisation.findings import FindingKind

_AT_ONCE = 200
_BEFORE = {"nobody", "calendar"}
"""What a case waits for before its window ends."""


def come(work: Work) -> int:
    """Everything that is due; returns how many cases moved."""
    _tell_of_the_unheard(work)
    lateness.remind(work)
    return _tell_found(work) + _follow_calendar(work) + _fall_due(work) + _undo_started(work)


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
    found = _cases(
        work,
        ReclaimCase.state == CaseState.FOUND.value,
        or_(ReclaimCase.look_at.is_(None), ReclaimCase.look_at <= work.now),
    )
    for case in found:
        if not history.owners(work, case.unit_id):
            _nobody(work, case)
            continue
        case.noticed_at = work.now
        history.go(work, case, CaseEvent.NOTIFY)
        set_window(work, case)
        assert case.due_at is not None
        history.tell_owner(work, case, f"reclaim.noticed_{case.cause}", due_at=case.due_at.isoformat())
    return len(found)


def _nobody(work: Work, case: ReclaimCase) -> None:
    """Neither the unit nor one above it has somebody who would hear of it: the operators look for a person first."""
    if case.waits_for is None:
        history.write(work, case, CaseEvent.WAIT.value, note="nobody")
        history.tell_operators(work, case, "reclaim.nobody_to_tell")
    history.wait(work, case, "nobody", timedelta(days=1))


def set_window(work: Work, case: ReclaimCase) -> None:
    """The end of the objection window, as ``rules`` counts it. A term's window begins with its end."""
    assert case.noticed_at is not None
    begins = max(case.noticed_at, terms.ends_at(case) or case.noticed_at)
    this_time = or_(CaseObjection.answered_at.is_(None), CaseObjection.answered_at >= case.noticed_at)
    rows = work.session.execute(
        select(CaseObjection.raised_at, CaseObjection.answered_at, CaseObjection.workdays)
        .where(CaseObjection.case_id == case.id, this_time)
        .order_by(CaseObjection.raised_at)
    )
    heard = [Heard(row.raised_at, row.answered_at, row.workdays or 0) for row in rows]
    due = rules.window_end(work.calendar, begins, case.grace_workdays, heard)
    if due is not None:
        case.due_at, case.due_provisional = due.at, due.provisional
    case.calendar_version = work.calendar.version


def _follow_calendar(work: Work) -> int:
    """Windows that still run, counted by another calendar than today's; none while workers count by several."""
    if calendars.disputed(work):
        return 0
    old = _cases(
        work, ReclaimCase.state == CaseState.NOTICED.value, ReclaimCase.calendar_version != work.calendar.version
    )
    for case in old:
        set_window(work, case)
        if case.waits_for == "calendar":
            case.waits_for = case.look_at = None
    return len(old)


def _fall_due(work: Work) -> int:
    due = _cases(
        work,
        ReclaimCase.state == CaseState.NOTICED.value,
        ReclaimCase.due_at <= work.now,
        or_(ReclaimCase.look_at.is_(None), ReclaimCase.look_at <= work.now),
    )
    for case in due:
        if case.due_provisional:
            _no_calendar(work, case)
        else:
            event, what = history.last(work, case)
            looked_at_again = event == CaseEvent.WAIT.value and what not in _BEFORE
            history.go(work, case, CaseEvent.FALL_DUE, quietly=looked_at_again)
    return len(due)


def _no_calendar(work: Work, case: ReclaimCase) -> None:
    """Its window passes over days that no notice has settled: nobody's time to object ends on a guess."""
    if case.waits_for != "calendar":
        history.write(work, case, CaseEvent.WAIT.value, note="calendar")
        history.tell_operators(work, case, "reclaim.calendar_missing")
    history.wait(work, case, "calendar", timedelta(days=1))


def _undo_started(work: Work) -> int:
    """Suspended cases of which a server runs again, by no order of ours: the suspension is undone as a whole.

    Then it is heard anew, dropped where standing still was all that was found, or exempt as an answer had said.
    """
    runs = (
        select(CaseResource.case_id)
        .join(Resource, Resource.id == CaseResource.resource_id)
        .where(
            Resource.kind == "server", Resource.state == ResourceState.ACTIVE.value, CaseResource.closed_at.is_(None)
        )
    )
    stopped = (CaseState.SUSPENDED.value, CaseState.PROPOSED.value)
    found = _cases(work, ReclaimCase.state.in_(stopped), ReclaimCase.id.in_(runs))
    for case in found:
        case.proposed_by = case.proposed_at = None
        heard = CaseState.DROPPED if _was_off(work, case) else CaseState.NOTICED
        case.ending = (lost.granted(work, case) or heard).value
        history.go(work, case, CaseEvent.FIND_RUNNING)
        history.tell_operators(work, case, "reclaim.started")
    return len(found)


def _was_off(work: Work, case: ReclaimCase) -> bool:
    """Whether it was taken up for nothing but standing still: running is being used then, and no sample says more."""
    return case.finding_id is not None and findings.finding(work.session, case.finding_id).kind is not FindingKind.IDLE


def hear_again(work: Work, case: ReclaimCase) -> None:
    """What was suspended runs again: its owner is told anew, with a whole window; what was vouched for is void."""
    case.noticed_at = work.now
    case.suspended_at = case.keep_until = case.waived_by = case.waived_at = case.ending = None
    history.go(work, case, CaseEvent.NOTIFY)
    set_window(work, case)
    assert case.due_at is not None
    history.tell_owner(work, case, "reclaim.heard_again", due_at=case.due_at.isoformat())


def _tell_of_the_unheard(work: Work) -> None:
    """Open cases of a unit that has ended: nobody hears a notice to it, so the authorities are told, once."""
    rows = []
    for case in work.session.scalars(select(ReclaimCase).where(ReclaimCase.closed_at.is_(None), watched.unheard(work))):
        told = ((case.deciding_unit_id, Role.APPROVER), (case.delivering_unit_id, Role.OPERATOR))
        rows += [history.reminder(case, audience, "reclaim.unheard", f"unheard/{case.id}") for audience in told]
    notify.remind(work, rows)
