"""What people do about a reclaim case: object, answer, end it, start its servers again, propose and confirm a release.

Called by: the API and the console. Must not: call a cloud; the machine acts on the row afterwards.

Everything up to ``confirm`` can be undone. What cannot, needs two people: who proposes a release does not confirm it,
who objects does not answer, and the database says so too (``two_people``).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from broker.errors import Conflict, Invalid, Problem
from broker.lifecycle import CASE_MACHINE, CaseEvent, CaseState, Role
from broker.reclamation import board, dates, history, objections, rules
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import Answer, Decision
from broker.tenancy.repository import accounts_of_one
from broker.tenancy.rules import mandate, one_of
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work

_EVENT = {Decision.ACCEPT: CaseEvent.ACCEPT, Decision.REFUSE: CaseEvent.REFUSE, Decision.EXTEND: CaseEvent.EXTEND}

_ENDING = {CaseEvent.ACCEPT: CaseState.EXEMPTED.value, CaseEvent.RENEW: CaseState.RENEWED.value}


def object_to(work: Work, case_id: UUID, *, reason: str) -> ReclaimCase:
    """The owner objects, with a reason; the window's clock stands until it is answered.

    Raises NotFound, Forbidden ``duty.missing``, Conflict ``reclaim.state``, ``reclaim.stopping``, Invalid
    ``reason.missing``.
    """
    case = objections.of_its_unit(work, case_id)
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    objections.put(work, case, "reclaim.objected", reason=reason)
    return case


def answer(work: Work, case_id: UUID, given: Answer) -> ReclaimCase:
    """The authority answers the open objection, with a reason: accepted (exempt until a date), refused, or more time.

    Accepted after the suspension, the servers are started again first. While they are being started already, or cannot
    be, the answer decides how the case ends once they run; not accepted it stops no start. Raises NotFound, Forbidden
    ``duty.missing``, ``duty.separated`` (nobody answers his own), Conflict ``reclaim.not_objected``, Invalid.
    """
    case = _locked(work, case_id)
    objection = objections.open_one(work, case)
    if objection is None:
        raise Conflict("reclaim.not_objected")
    by = mandate(work.actor, Role.APPROVER, case.deciding_unit_id, except_for=_not(work, objection.raised_by))
    if given.decision is Decision.ACCEPT and given.until is None:
        given = replace(given, until=objection.renew_until)  # a renewal is accepted as it was asked for
    if problems := rules.answer_problems(given, work.now):
        raise Invalid(problems)
    objection.decision, objection.answer = given.decision.value, given.reason.strip()
    objection.answered_by, objection.answered_at = by.account_id, work.now
    if given.decision is Decision.EXTEND:
        objection.workdays = given.workdays
    event = _EVENT[given.decision]
    if given.decision is Decision.ACCEPT:
        objection.until = case.exempt_until = given.until
        event = CaseEvent.ACCEPT if objection.renew_until is None else CaseEvent.RENEW
        case.ending = _ENDING[event]
    work.session.flush()
    if case.state == CaseState.RESUMING.value:
        history.write(work, case, event.value, note=given.reason.strip(), by=by)
    else:
        history.go(work, case, event, frozenset({Role.APPROVER}), note=given.reason.strip(), by=by)
    if case.state == CaseState.NOTICED.value or objections.undoes_suspension(case):
        dates.set_window(work, case)
    elif given.decision is Decision.EXTEND and case.keep_until is not None:
        case.keep_until = max(case.keep_until, work.calendar.deadline(work.now, given.workdays or 0).at)
    asked = "answered" if objection.renew_until is None else "renewal"
    told = {"due_at": "" if case.due_at is None else case.due_at.isoformat()}
    if objection.until is not None:  # the first instant at which it does not hold any more
        told["last_day"] = (
            (objection.until - timedelta(microseconds=1)).astimezone(work.calendar.zone).date().isoformat()
        )
    history.tell_owner(work, case, f"reclaim.{asked}_{given.decision.value}", **told)
    return case


def withdraw(work: Work, case_id: UUID, *, reason: str) -> ReclaimCase:
    """A person of an authority ends a case before anything was stopped, with a reason. Raises as ``answer``."""
    case, by, role = _ending(work, case_id, reason)
    history.go(work, case, CaseEvent.WITHDRAW, frozenset({role}), note=reason.strip(), by=by)
    history.tell_owner(work, case, "reclaim.dropped")
    return case


def resume(work: Work, case_id: UUID, *, reason: str) -> ReclaimCase:
    """A person of an authority has suspended servers started again; the case ends once they run. Raises as ``answer``.

    While the machine is at it, ``reclaim.on_its_way``; what it could not finish may be undone.
    """
    case, by, role = _ending(work, case_id, reason)
    if case.state == CaseState.SUSPENDING.value and case.trouble is None:
        raise Conflict("reclaim.on_its_way")
    case.ending = CaseState.DROPPED.value
    case.proposed_by = case.proposed_at = None
    history.go(work, case, CaseEvent.RESUME, frozenset({role}), note=reason.strip(), by=by)
    return case


def propose(work: Work, case_id: UUID, *, reason: str) -> ReclaimCase:
    """An operator proposes the release, once the suspended servers were kept as long as they must be.

    Raises NotFound, Forbidden, Conflict ``reclaim.kept``, ``reclaim.state``, Invalid ``reason.missing``.
    """
    case = _locked(work, case_id)
    by = mandate(work.actor, Role.OPERATOR, case.delivering_unit_id)
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    if case.keep_until is not None and work.now < case.keep_until:
        raise Conflict("reclaim.kept", until=_day(work, case.keep_until))
    history.go(work, case, CaseEvent.PROPOSE, frozenset({Role.OPERATOR}), note=reason.strip(), by=by)
    case.proposed_by, case.proposed_at = by.account_id, work.now
    history.tell_operators(work, case, "reclaim.proposed")
    return case


def confirm(work: Work, case_id: UUID) -> ReclaimCase:
    """A second person confirms: the resources are deleted. Nobody can undo this.

    Another operator, or the authority that decides (a small cloud has one operator). Raises NotFound, Forbidden
    ``duty.missing``, ``duty.separated`` (who proposed it), Conflict ``reclaim.state``.
    """
    case = _locked(work, case_id)
    by, role = _of_an_office(work, case, except_for=_not(work, case.proposed_by))
    case.confirmed_by, case.confirmed_at = by.account_id, work.now
    history.go(work, case, CaseEvent.CONFIRM, frozenset({role}), by=by)
    return case


def decline(work: Work, case_id: UUID, *, reason: str) -> ReclaimCase:
    """An operator takes a proposed release back, or does not agree to it. Raises as ``propose``."""
    case = _locked(work, case_id)
    by = mandate(work.actor, Role.OPERATOR, case.delivering_unit_id)
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    case.proposed_by = case.proposed_at = None
    history.go(work, case, CaseEvent.DECLINE, frozenset({Role.OPERATOR}), note=reason.strip(), by=by)
    return case


def retry(work: Work, case_id: UUID) -> ReclaimCase:
    """An operator has the machine try again what it could not finish. Raises Conflict ``reclaim.no_trouble``."""
    case = _locked(work, case_id)
    by = mandate(work.actor, Role.OPERATOR, case.delivering_unit_id)
    if case.trouble is None or case.state not in CASE_MACHINE:
        raise Conflict("reclaim.no_trouble")
    note = f"{case.trouble_step}: {case.trouble}"
    history.order(work, case)
    history.write(work, case, "retry", note=note, by=by)
    return case


def waive(work: Work, case_id: UUID, *, reason: str) -> ReclaimCase:
    """An operator vouches, with a reason, that what nobody measures is not in use: the case may go on without.

    The word holds for ``FRESH_DAYS``, and no longer than until the owner says otherwise. Raises Conflict
    ``reclaim.measured`` when it does not wait for a measurement.
    """
    case = _locked(work, case_id)
    by = mandate(work.actor, Role.OPERATOR, case.delivering_unit_id)
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    if case.waits_for != "unmeasured":
        raise Conflict("reclaim.measured")
    case.waived_by, case.waived_at, case.look_at = by.account_id, work.now, work.now
    history.write(work, case, "waive", note=reason.strip(), by=by)
    return case


def _locked(work: Work, case_id: UUID) -> ReclaimCase:
    """The case, if the actor may see it, locked."""
    board.visible(work, case_id)
    return history.lock(work, case_id)


def _ending(work: Work, case_id: UUID, reason: str) -> tuple[ReclaimCase, Mandate, Role]:
    """Who may end a case, and the case."""
    case = _locked(work, case_id)
    by, role = _of_an_office(work, case)
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    return case, by, role


def _of_an_office(work: Work, case: ReclaimCase, *, except_for: frozenset[UUID] = frozenset()) -> tuple[Mandate, Role]:
    """Somebody who decides for the cloud, or who delivers for it: whoever has one of the two duties here has it."""
    duties = [(Role.APPROVER, case.deciding_unit_id), (Role.OPERATOR, case.delivering_unit_id)]
    return one_of(work.actor, duties, except_for=except_for)


def _not(work: Work, account_id: UUID | None) -> frozenset[UUID]:
    return frozenset() if account_id is None else accounts_of_one(work.session, account_id)


def _day(work: Work, at: datetime) -> str:
    return at.astimezone(work.calendar.zone).date().isoformat()
