"""The stages' clocks (Art. 17: 1, 3 and 1 working days): opened, stopped, resumed, finished, recomputed.

Called by: the services of request, approval, assessment and delivery, and dispatch (what is due).
Must not: compute working days itself (``broker.workdays`` does).

The clock stands still, by instants, while the request is with the applicant.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CTE, ScalarSelect, func, select, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import aliased

from broker.db.base import AnyRow
from broker.region import calendars
from broker.request.models import ClockStop, ServiceRequest, StageClock
from broker.tenancy.work import Work
from broker.workdays import WorkCalendar


class Stage(StrEnum):
    """The stages that have a time limit."""

    APPROVAL = "approval"
    ASSESSMENT = "assessment"
    DELIVERY = "delivery"


WORKDAYS = {Stage.APPROVAL: 1, Stage.ASSESSMENT: 3, Stage.DELIVERY: 1}
ARTICLE = {Stage.APPROVAL: "Art. 17(2)", Stage.ASSESSMENT: "Art. 17(3)", Stage.DELIVERY: "Art. 17(4)"}


def start(work: Work, request: ServiceRequest, stage: Stage, unit_id: UUID) -> None:
    """Open the stage's clock now: its first round, or the next where it had one before. ``due_at`` follows."""
    if request.version == 1:  # it has just come: no stage of it can have had a round before
        _open(work, request, stage, unit_id, 1)
    else:
        _open(work, request, stage, unit_id, work.session.scalars(select(_next_round(request, stage))).one())


def finish(work: Work, request: ServiceRequest, stage: Stage, *also: CTE) -> bool:
    """End the stage's open clock; returns whether the stage was late. ``also``: what travels in the same statement."""
    return _finish(work, request, stage, stage, *also)[0]


def hand_on(work: Work, request: ServiceRequest, stage: Stage, to: Stage, unit_id: UUID, *also: CTE) -> bool:
    """The same, and open the clock of stage ``to`` of a unit."""
    late, next_round = _finish(work, request, stage, to, *also)
    if next_round is None:
        start(work, request, to, unit_id)
    else:
        _open(work, request, to, unit_id, next_round)
    return late


def _finish(work: Work, request: ServiceRequest, stage: Stage, to: Stage, *also: CTE) -> tuple[bool, int | None]:
    """Whether the stage was late, and which round of ``to`` comes next; ``None`` where the stage had no open clock."""
    row = work.session.execute(
        update(StageClock)
        .where(StageClock.request_id == request.id, StageClock.stage == stage.value, StageClock.finished_at.is_(None))
        .values(finished_at=work.now)
        .returning(StageClock.due_at, _next_round(request, to).label("next_round"))
        .add_cte(*also)
    ).first()
    request.due_at = None
    return (False, None) if row is None else (work.now > row.due_at, row.next_round)


def _next_round(request: ServiceRequest, stage: Stage) -> ScalarSelect[int]:
    earlier = aliased(StageClock)  # of its own, beside a statement that changes another stage's clock
    return (
        select(func.coalesce(func.max(earlier.round), 0) + 1)
        .where(earlier.request_id == request.id, earlier.stage == stage.value)
        .scalar_subquery()
    )


def _open(work: Work, request: ServiceRequest, stage: Stage, unit_id: UUID, number: int) -> None:
    deadline = work.calendar.deadline(work.now, WORKDAYS[stage])
    work.session.add(
        StageClock(
            request_id=request.id,
            stage=stage.value,
            round=number,
            unit_id=unit_id,
            workdays=WORKDAYS[stage],
            received_at=work.now,
            due_at=deadline.at,
            provisional=deadline.provisional,
            calendar_version=work.calendar.version,
        )
    )
    request.due_at = deadline.at


def stop(work: Work, request: ServiceRequest, stage: Stage) -> None:
    """The request goes to the applicant: the stage's clock stands still from now on."""
    clock = _open_clock(work, request.id, stage)
    if clock is not None:
        work.session.add(ClockStop(clock_id=clock.id, during=Range(work.now, None)))
    request.due_at = None


def resume(work: Work, request: ServiceRequest, stage: Stage) -> bool:
    """The request is back: the stage's clock goes on. False when the stage has no clock that stands still."""
    clock = _open_clock(work, request.id, stage)
    if clock is None:
        return False
    work.session.execute(
        update(ClockStop)
        .where(ClockStop.clock_id == clock.id, func.upper_inf(ClockStop.during))
        .values(during=func.tstzrange(func.lower(ClockStop.during), work.now))
    )
    request.due_at = _recompute(work.calendar, clock, _stops(work, clock.id))
    return True


def abandon(work: Work, request: ServiceRequest) -> None:
    """The request ends early: no clock of it runs any longer."""
    work.session.execute(
        update(StageClock)
        .where(StageClock.request_id == request.id, StageClock.finished_at.is_(None))
        .values(finished_at=work.now)
    )
    request.due_at = None


def recompute_all(work: Work) -> int:
    """Recompute every open clock that was computed with another calendar (a year was published). Returns how many.

    None while workers count by several calendars: each would undo what the other has counted.
    """
    if calendars.disputed(work):
        return 0
    clocks = work.session.execute(
        select(StageClock, ServiceRequest)
        .join(ServiceRequest, ServiceRequest.id == StageClock.request_id)
        .where(StageClock.finished_at.is_(None), StageClock.calendar_version != work.calendar.version)
        .with_for_update(of=StageClock, skip_locked=True)
    ).all()
    for clock, request in clocks:
        due = _recompute(work.calendar, clock, _stops(work, clock.id))
        if request.due_at is not None:
            request.due_at = due
    return len(clocks)


def of_request(work: Work, request_id: UUID) -> list[AnyRow]:
    """The clocks of a request with their stops, in order: rows of ``(StageClock, stops: list of ranges)``."""
    stops = func.array_agg(ClockStop.during).filter(ClockStop.id.is_not(None)).label("stops")
    statement = (
        select(StageClock, stops)
        .outerjoin(ClockStop, ClockStop.clock_id == StageClock.id)
        .where(StageClock.request_id == request_id)
        .group_by(StageClock.id)
        .order_by(StageClock.id)
    )
    return list(work.session.execute(statement).all())


def due(work: Work, *, until: datetime) -> list[AnyRow]:
    """Open clocks that run out by ``until``, earliest first: ``(StageClock, number, unit_id, applicant_id)``."""
    stands = select(ClockStop.id).where(ClockStop.clock_id == StageClock.id, func.upper_inf(ClockStop.during)).exists()
    statement = (
        select(StageClock, ServiceRequest.number, ServiceRequest.unit_id, ServiceRequest.applicant_id)
        .join(ServiceRequest, ServiceRequest.id == StageClock.request_id)
        .where(StageClock.finished_at.is_(None), StageClock.due_at <= until, ~stands)
        .order_by(StageClock.due_at)
        .limit(500)
    )
    return list(work.session.execute(statement).all())


def _open_clock(work: Work, request_id: UUID, stage: Stage) -> StageClock | None:
    return work.session.scalar(
        select(StageClock)
        .where(StageClock.request_id == request_id, StageClock.stage == stage.value, StageClock.finished_at.is_(None))
        .with_for_update()
    )


def _stops(work: Work, clock_id: UUID) -> Sequence[Range[datetime]]:
    return work.session.scalars(
        select(ClockStop.during).where(ClockStop.clock_id == clock_id).order_by(func.lower(ClockStop.during))
    ).all()


def _recompute(calendar: WorkCalendar, clock: StageClock, stops: Sequence[Range[datetime]]) -> datetime | None:
    """The clock's deadline under this calendar; ``None`` while it stands still."""
    spans = [(s.lower, s.upper) for s in stops if s.lower is not None]
    deadline = calendar.deadline_with_stops(clock.received_at, clock.workdays, spans)
    clock.calendar_version = calendar.version
    if deadline is None:
        return None
    clock.due_at, clock.provisional = deadline.at, deadline.provisional
    return deadline.at
