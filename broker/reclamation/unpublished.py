"""Deadlines that pass over days nobody has published yet: counted by year, and told before they would fall due.

Called by: dispatch, ``guiyun doctor``, the first page. Must not: count a deadline (``request.clocks``, ``dates`` do).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Date, cast, func, select, union_all
from sqlalchemy.orm import Session

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.lifecycle import CaseState, Role
from broker.notify import service as notify
from broker.reclamation.models import ReclaimCase
from broker.region import calendars
from broker.request.models import StageClock
from broker.tenancy.work import Work
from broker.workdays import WorkCalendar


def waiting(session: Session, calendar: WorkCalendar) -> Mapping[int, int]:
    """By year whose notice is wanting: how many steps of requests and windows of cases end on a guess for want of it.

    The last days of December are next year's: its notice may turn them, however long this year's has been published.
    """
    clocks = select(StageClock.due_at).where(StageClock.finished_at.is_(None), StageClock.provisional)
    windows = select(ReclaimCase.due_at).where(
        ReclaimCase.state == CaseState.NOTICED.value, ReclaimCase.due_provisional
    )
    ends = union_all(clocks, windows).subquery()
    day = cast(func.timezone(str(calendar.zone), ends.c.due_at), Date)
    counts = Counter[int]()
    for ends_on, count in session.execute(select(day, func.count()).group_by(day).order_by(day)):
        counts[calendar.settled_by(ends_on)] += count
    return counts


def tell(work: Work) -> int:
    """The operators of the main cloud hear of each such year once, and each day of workers that do not agree."""
    rows = [
        _notice(work, "calendar.unpublished", str(year), year=year) for year in waiting(work.session, work.calendar)
    ]
    if calendars.disputed(work):
        day = work.now.astimezone(work.calendar.zone).date()
        rows.append(_notice(work, "calendar.disputed", day.isoformat()))
    return notify.remind(work, [row for row in rows if row is not None])


def _notice(work: Work, code: str, once: str, **params: object) -> dict[str, Any] | None:
    main = work.session.scalar(select(SubCloud.id).where(SubCloud.code == "main"))
    unit = catalog.delivering_unit(work.session, main, work.now) if main is not None else None
    if unit is None:
        return None
    return {
        "code": code,
        "params": params,
        "subject_type": "calendar",
        "subject_id": main,
        "account_id": None,
        "unit_id": unit,
        "role": Role.OPERATOR.value,
        "dedupe": f"{code}/{once}",
    }
