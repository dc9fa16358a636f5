"""Open cases that a person should know of though the machine is not stuck: nobody hears of them, or somebody is late.

Called by: the API, the console (the desk, a case's page); ``dates``, which tells. Must not: change anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import ColumnElement, or_, select

from broker.db.base import AnyRow, AnySelect
from broker.inventory.models import Resource
from broker.lifecycle import CaseEvent, CaseState, ResourceState
from broker.reclamation import board, look_again
from broker.reclamation.models import CaseAct, CaseObjection, CaseResource, ReclaimCase
from broker.tenancy.models import UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.work import Work
from broker.utilisation.models import IdleFinding

LATE = timedelta(days=7)
"""A release that may be proposed, or that waits for its second person, is late after this (ours)."""


def unheard(work: Work) -> ColumnElement[bool]:
    """Cases of a unit that has ended: whoever is told of them, it is not the owner."""
    lives = select(UnitPeriod.id).where(UnitPeriod.unit_id == ReclaimCase.unit_id, holds(UnitPeriod.during, work.now))
    return ~lives.correlate(ReclaimCase).exists()


def _started() -> ColumnElement[bool]:
    """Cases that are heard anew since somebody started their servers at the cloud."""
    act = select(CaseAct.id).where(CaseAct.case_id == ReclaimCase.id, CaseAct.event == CaseEvent.FIND_RUNNING.value)
    return ReclaimCase.suspended_at.is_(None) & act.correlate(ReclaimCase).exists()


def _used() -> ColumnElement[bool]:
    """Suspended cases whose release found them in use, or whose volume or segment detection has seen in use since."""
    seen = select(IdleFinding.id).where(
        IdleFinding.id == ReclaimCase.finding_id,
        IdleFinding.kind.in_([kind.value for kind in look_again.WATCHED]),
        IdleFinding.cleared_because == "in_use",
        IdleFinding.cleared_at > ReclaimCase.suspended_at,
    )
    return ReclaimCase.waits_for.is_not_distinct_from("in_use") | seen.correlate(ReclaimCase).exists()


def _lost() -> ColumnElement[bool]:
    """Cases of which the cloud does not have a server any more, before two people have released it."""
    gone = (
        select(CaseResource.id)
        .join(Resource, Resource.id == CaseResource.resource_id)
        .where(CaseResource.case_id == ReclaimCase.id, Resource.state == ResourceState.RELEASING.value)
    )
    return (ReclaimCase.state != CaseState.RELEASING.value) & gone.correlate(ReclaimCase).exists()


def _unanswered(work: Work) -> ColumnElement[bool]:
    open_one = select(CaseObjection.id).where(
        CaseObjection.case_id == ReclaimCase.id, CaseObjection.answered_at.is_(None), CaseObjection.due_at < work.now
    )
    return open_one.correlate(ReclaimCase).exists()


def _conditions(work: Work) -> Mapping[str, ColumnElement[bool]]:
    """Why a case is watched, in the order in which it is told."""
    state = ReclaimCase.state
    return {
        "unheard": unheard(work),
        "calendar": ReclaimCase.waits_for.is_not_distinct_from("calendar"),
        "nobody": ReclaimCase.waits_for.is_not_distinct_from("nobody"),
        "started": _started(),
        "used": _used(),
        "lost": _lost(),
        "answer_late": _unanswered(work),
        "propose_late": (state == CaseState.SUSPENDED.value) & (ReclaimCase.keep_until < work.now - LATE),
        "confirm_late": (state == CaseState.PROPOSED.value) & (ReclaimCase.proposed_at < work.now - LATE),
    }


def _rows(work: Work) -> AnySelect:
    why = _conditions(work)
    columns = [condition.label(name) for name, condition in why.items()]
    return select(ReclaimCase, *columns).where(ReclaimCase.closed_at.is_(None), or_(*why.values()))


def _why(work: Work, row: AnyRow) -> list[str]:
    return [name for name in _conditions(work) if getattr(row, name)]


def of(work: Work, case: ReclaimCase) -> list[str]:
    """Why this case is watched; empty: it is not."""
    row = work.session.execute(_rows(work).where(ReclaimCase.id == case.id)).first()
    return [] if row is None else _why(work, row)


def desk(work: Work, *, limit: int = 100) -> list[tuple[ReclaimCase, list[str]]]:
    """What of it the actor's authority answers or carries out, oldest first, each with why."""
    statement = _rows(work).where(board.answered_here(work)).order_by(ReclaimCase.id).limit(limit)
    return [(row[0], _why(work, row)) for row in work.session.execute(statement)]
