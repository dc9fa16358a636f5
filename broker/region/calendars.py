"""Which calendars processes count deadlines by: two that differ would count each other's anew for ever.

Called by: dispatch (says so every twenty seconds), the API (every minute), whoever recounts deadlines, ``guiyun
doctor``, the first page.
Must not: choose between two calendars: whose file is the right one is for a person to say.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import case, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from broker.region.models import CalendarInUse
from broker.tenancy.work import Work

IN_USE = timedelta(minutes=10)
"""A calendar that no process spoke of for so long is no longer in use."""
_OVERLAP = timedelta(minutes=2)
"""So long after a new calendar has come an old one may still be spoken of: processes start anew one by one."""
_EVERY = timedelta(minutes=1)


def note(work: Work) -> None:
    """This process counts by its calendar."""
    mine = insert(CalendarInUse).values(version=work.calendar.version, first_at=work.now, last_at=work.now)
    back = CalendarInUse.last_at < work.now - IN_USE
    later = mine.on_conflict_do_update(
        index_elements=["version"],
        set_={"last_at": work.now, "first_at": case((back, work.now), else_=CalendarInUse.first_at)},
        where=CalendarInUse.last_at < work.now - _EVERY,
    )
    work.session.execute(later)


def in_use(session: Session, now: datetime) -> list[str]:
    """The versions that processes count by now, the longest known first: the newest, and any spoken of beside it."""
    recent = select(CalendarInUse).where(CalendarInUse.last_at > now - IN_USE)
    rows = session.scalars(recent.order_by(CalendarInUse.first_at, CalendarInUse.version)).all()
    return [row.version for row in rows if row is rows[-1] or row.last_at > rows[-1].first_at + _OVERLAP]


def disputed(work: Work) -> bool:
    """Whether some process counts by another calendar: then nothing that is counted already is counted anew."""
    return any(version != work.calendar.version for version in in_use(work.session, work.now))
