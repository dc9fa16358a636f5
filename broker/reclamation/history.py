"""Moves a case along the one table, writes its history and the audit event, and orders the machine.

Called by: every module of this room that changes a case. Must not: decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import update

from broker.errors import NotFound
from broker.lifecycle import CASE_MACHINE, CASE_OPEN, CaseEvent, CaseState, Role, case_after
from broker.notify import service as notify
from broker.reclamation.models import CaseAct, CaseResource, ReclaimCase
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work

SYSTEM = frozenset({Role.SYSTEM})
OWNERS = (Role.APPLICANT, Role.CLOUD_CHIEF)
"""Who of the unit is told of everything: those who look after its resources, and its cloud chief (Art. 5)."""


def lock(work: Work, case_id: UUID) -> ReclaimCase:
    """The case, for this transaction alone. Raises NotFound ``reclaim.not_found``."""
    case = work.session.get(ReclaimCase, case_id, with_for_update=True, populate_existing=True)
    if case is None:
        raise NotFound("reclaim.not_found")
    return case


def go(
    work: Work,
    case: ReclaimCase,
    event: CaseEvent,
    roles: frozenset[Role] = SYSTEM,
    *,
    note: str = "",
    by: Mandate | None = None,
) -> None:
    """One arrow. Raises Conflict ``reclaim.state``."""
    state = case_after(CaseState(case.state), event, roles)
    case.state = state.value
    case.waits_for = case.look_at = None
    if state in CASE_MACHINE and event is not CaseEvent.ADMIT:  # the run that measured goes on
        order(work, case)
    if state not in CASE_OPEN:
        case.closed_at = work.now
        work.session.execute(update(CaseResource).where(CaseResource.case_id == case.id).values(closed_at=work.now))
    write(work, case, event.value, note=note, by=by)


def order(work: Work, case: ReclaimCase) -> None:
    """The machine's next run: a workflow of its own, whatever became of the last."""
    case.run += 1
    case.ordered_at = work.now
    case.trouble = case.trouble_step = None


def wait(work: Work, case: ReclaimCase, what: str, pause: timedelta) -> None:
    """It cannot go on now; it is looked at again after a pause. Told only when the reason is a new one."""
    case.waits_for, case.look_at = what, work.now + pause


def write(
    work: Work, case: ReclaimCase, event: str, *, note: str = "", by: Mandate | None = None, article: str = "Art. 14"
) -> None:
    """The history and the audit event of what just happened."""
    case.version = (case.version or 0) + 1
    actor_id = by.account_id if by is not None else work.actor.account_id
    work.session.add(
        CaseAct(case_id=case.id, event=event, state=case.state, note=note[:2000], actor_id=actor_id, at=work.now)
    )
    data = {"state": case.state, "run": case.run}
    work.record(f"reclaim.{event}", "reclaim_case", case.id, mandate=by, article=article, data=data)


def tell(work: Work, case: ReclaimCase, code: str, audiences: Iterable[tuple[UUID, Role]], **params: object) -> None:
    """A notice about the case to everybody who holds one of the roles."""
    for audience in audiences:
        notify.tell_role(work, audience, code, ("reclaim_case", case.id), number=case.number, **params)


def tell_owner(work: Work, case: ReclaimCase, code: str, **params: object) -> None:
    """A notice to the unit and its cloud chief."""
    tell(work, case, code, [(case.unit_id, role) for role in OWNERS], **params)


def tell_operators(work: Work, case: ReclaimCase, code: str, **params: object) -> None:
    tell(work, case, code, [(case.delivering_unit_id, Role.OPERATOR)], **params)


def reminder(case: ReclaimCase, audience: tuple[UUID, Role], code: str, once: str, **params: object) -> dict[str, Any]:
    """A notice that is given once: ``once`` names what it is about, for each audience."""
    unit_id, role = audience
    return {
        "code": code,
        "params": {"number": case.number, **params},
        "subject_type": "reclaim_case",
        "subject_id": case.id,
        "account_id": None,
        "unit_id": unit_id,
        "role": role.value,
        "dedupe": f"{once}/{role.value}",
    }
