"""Moves a case along the one table, writes its history and the audit event, and orders the machine.

Called by: every module of this room that changes a case. Must not: decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, update

from broker.catalog.models import SubCloud
from broker.errors import NotFound
from broker.inventory.models import Resource
from broker.lifecycle import CASE_MACHINE, CASE_OPEN, CaseEvent, CaseState, Role, case_after
from broker.notify import service as notify
from broker.reclamation.models import CaseAct, CaseResource, ReclaimCase
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work

SYSTEM = frozenset({Role.SYSTEM})
OWNERS = (Role.APPLICANT, Role.CLOUD_CHIEF)
"""Who of the unit is told of everything: those who look after its resources, and its cloud chief (Art. 5)."""

# From the unit upwards, the region itself left out: it owns nothing. A unit that has ended still stands by its last.
_NEAREST = text("""
SELECT w.role, (
  SELECT a.id FROM (
    SELECT ancestors FROM broker.unit_period WHERE unit_id = :unit
    ORDER BY during @> CAST(:now AS timestamptz) DESC, lower(during) DESC LIMIT 1
  ) p CROSS JOIN LATERAL unnest(p.ancestors) WITH ORDINALITY AS a(id, depth)
  JOIN broker.unit u ON u.id = a.id AND u.kind <> 'region'
  WHERE EXISTS (
    SELECT FROM broker.account c JOIN broker.role_grant g ON g.account_id = c.id
    WHERE c.unit_id = a.id AND c.disabled_at IS NULL AND g.role = w.role AND g.during @> CAST(:now AS timestamptz))
  ORDER BY a.depth DESC LIMIT 1
) AS unit_id
FROM unnest(CAST(:roles AS text[])) AS w(role)
""")


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
    quietly: bool = False,
) -> None:
    """One arrow; ``quietly``: it leads where the last one of the history has led. Raises Conflict ``reclaim.state``."""
    state = case_after(CaseState(case.state), event, roles)
    case.state = state.value
    case.waits_for = case.look_at = None
    if state in CASE_MACHINE and event is not CaseEvent.ADMIT:  # the run that measured goes on
        order(work, case)
    if state not in CASE_OPEN:
        case.closed_at = work.now
        work.session.execute(update(CaseResource).where(CaseResource.case_id == case.id).values(closed_at=work.now))
    if not quietly:
        write(work, case, event.value, note=note, by=by)


def order(work: Work, case: ReclaimCase) -> None:
    """The machine's next run: a workflow of its own, whatever became of the last."""
    case.run += 1
    case.ordered_at = work.now
    case.trouble = case.trouble_step = None


def wait(work: Work, case: ReclaimCase, what: str, pause: timedelta) -> None:
    """It cannot go on now; it is looked at again after a pause. Told only when the reason is a new one."""
    case.waits_for, case.look_at = what, work.now + pause


def last(work: Work, case: ReclaimCase) -> tuple[str, str]:
    """The last thing that happened to a case, and its note."""
    statement = select(CaseAct.event, CaseAct.note).where(CaseAct.case_id == case.id).order_by(CaseAct.id.desc())
    row = work.session.execute(statement.limit(1)).one()
    return row.event, row.note


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


def owners(work: Work, unit_id: UUID) -> list[tuple[UUID, Role]]:
    """Whom a notice to a unit reaches: for each role of ``OWNERS`` the unit, or the nearest one above with a holder.

    Empty: nobody would hear of it.
    """
    values = {"unit": unit_id, "now": work.now, "roles": [role.value for role in OWNERS]}
    rows = work.session.execute(_NEAREST, values)
    return [(row.unit_id, Role(row.role)) for row in rows if row.unit_id is not None]


def tell_owner(work: Work, case: ReclaimCase, code: str, **params: object) -> None:
    """A notice to the unit and its cloud chief, or to whom their duties fall above it: which resources, too."""
    nobody = [(case.unit_id, role) for role in OWNERS]  # who comes later finds it
    tell(work, case, code, owners(work, case.unit_id) or nobody, **_named(work, case), **params)


def _named(work: Work, case: ReclaimCase) -> dict[str, object]:
    """What a case is about in a notice: the first resource, servers before all else, of how many, on which cloud."""
    row = work.session.execute(
        select(Resource.number, Resource.name, SubCloud.name.label("cloud"), func.count().over().label("count"))
        .join(CaseResource, CaseResource.resource_id == Resource.id)
        .join(SubCloud, SubCloud.id == Resource.sub_cloud_id)
        .where(CaseResource.case_id == case.id)
        .order_by(Resource.kind != "server", Resource.id)
        .limit(1)
    ).first()
    return {} if row is None else {"first": f"{row.number} {row.name}", "count": row.count, "cloud": row.cloud}


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
