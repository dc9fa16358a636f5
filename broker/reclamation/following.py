"""Open cases go with their resources to another unit, which is told and heard as the first one was.

Called by: ``reorganisation``. Must not: move a resource, or end a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text

from broker.errors import Conflict
from broker.lifecycle import CASE_MACHINE, CaseEvent, CaseState
from broker.reclamation import history
from broker.reclamation.models import ReclaimCase
from broker.tenancy.work import Work

# Open cases that say another unit than their resources do, or a system that was merged.
_STRAY = text("""
SELECT c.id, c.number, CAST(array_agg(DISTINCT r.unit_id) AS uuid[]) AS units,
       CAST(array_agg(DISTINCT r.system_id) AS uuid[]) AS systems
FROM broker.reclaim_case c
JOIN broker.reclaim_case_resource x ON x.case_id = c.id AND x.closed_at IS NULL
JOIN broker.resource r ON r.id = x.resource_id
WHERE c.closed_at IS NULL
GROUP BY c.id
HAVING bool_or(r.unit_id <> c.unit_id) OR c.system_id = ANY (CAST(:systems AS uuid[]))
ORDER BY c.id
""")

_RELEASING = text("""
SELECT q.number FROM broker.release l JOIN broker.service_request q ON q.id = l.request_id
WHERE l.state IN ('asked', 'queued', 'running', 'needs_operator')
  AND (q.system_id = ANY (CAST(:systems AS uuid[])) OR q.unit_id = CAST(:unit AS uuid))
ORDER BY q.number LIMIT 1
""")


def refuse_while_given_back(work: Work, systems: Sequence[UUID], unit: UUID | None = None) -> None:
    """Raises Conflict ``system.in_flight``: a unit is giving back what a system has, and the other did not ask that."""
    number = work.session.scalar(_RELEASING, {"systems": list(systems), "unit": unit})
    if number is not None:
        raise Conflict("system.in_flight", what=number)


def pass_on(work: Work, systems: Sequence[UUID]) -> int:
    """Cases over what has just gone to another unit follow it; how many. ``systems``: which moved or were merged.

    A case that only waits for objections begins its window anew, a proposal to release falls: the new unit is heard
    first. Resources are locked already, and a case is locked before them elsewhere: none is waited for. Raises Conflict
    ``system.in_flight`` (the machine or a person is at work on one), ``system.case_mixed`` (part of one stays behind).
    """
    stray = work.session.execute(_STRAY, {"systems": list(systems)}).all()
    if not stray:
        return 0
    statement = select(ReclaimCase).where(ReclaimCase.id.in_([row.id for row in stray])).order_by(ReclaimCase.id)
    locked = statement.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    cases = {case.id: case for case in work.session.scalars(locked)}
    for row in stray:
        case = cases.get(row.id)
        if case is None or CaseState(case.state) in CASE_MACHINE:
            raise Conflict("system.in_flight", what=row.number)
        if len(row.units) > 1:
            raise Conflict("system.case_mixed", case=row.number)
        _follow(work, case, row.units[0], row.systems[0] if len(row.systems) == 1 else None)
    return len(stray)


def _follow(work: Work, case: ReclaimCase, unit_id: UUID, system_id: UUID | None) -> None:
    moved, case.unit_id = case.unit_id != unit_id, unit_id
    if case.system_id is not None:
        case.system_id = system_id
    if not moved:
        return
    match CaseState(case.state):
        case CaseState.NOTICED | CaseState.PROPOSED:
            history.go(work, case, CaseEvent.FOLLOW)
            case.proposed_by = case.proposed_at = None
        case _:
            history.write(work, case, CaseEvent.FOLLOW.value)
    if case.state == CaseState.FOUND.value:  # told as a case that was just found: with its reason and its window
        case.noticed_at = case.due_at = None
    else:
        history.tell_owner(work, case, "reclaim.passed_on")
