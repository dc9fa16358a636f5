"""The calendars that workers count by.

Used by: ``region.calendars``. What an operator's region file says stands in the tables of the rooms it is loaded into.
"""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Moment


class CalendarInUse(Base):
    """A calendar (``WorkCalendar.version``: a digest of all that an answer depends on), and when it was last in use."""

    __tablename__ = "calendar_in_use"

    version: Mapped[str] = mapped_column(primary_key=True)
    first_at: Mapped[Moment]
    last_at: Mapped[Moment]
