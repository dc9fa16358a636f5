"""Which calendars processes count deadlines by: two that differ would count each other's anew for ever.

Called by: dispatch (says so every twenty seconds), whoever recounts deadlines, ``guiyun doctor``, the first page.
Must not: choose between two calendars: whose file is the right one is for a person to say.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from broker.region.models import CalendarInUse
from broker.tenancy.work import Work

IN_USE = timedelta(minutes=10)
"""A calendar that no worker spoke of for so long is no longer in use: its worker was started anew with another."""
_EVERY = timedelta(minutes=1)


def note(work: Work) -> None:
    """This process counts by its calendar."""
    mine = insert(CalendarInUse).values(version=work.calendar.version, first_at=work.now, last_at=work.now)
    later = mine.on_conflict_do_update(
        index_elements=["version"], set_={"last_at": work.now}, where=CalendarInUse.last_at < work.now - _EVERY
    )
    work.session.execute(later)


def in_use(session: Session, now: datetime) -> list[str]:
    """The versions that workers count by now, the longest known first."""
    recent = select(CalendarInUse.version).where(CalendarInUse.last_at > now - IN_USE)
    return list(session.scalars(recent.order_by(CalendarInUse.first_at, CalendarInUse.version)))


def disputed(work: Work) -> bool:
    """Whether some worker counts by another calendar: then nothing that is counted already is counted anew."""
    return any(version != work.calendar.version for version in in_use(work.session, work.now))
