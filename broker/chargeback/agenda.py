"""How the months of the books stand: which is closed next, which were, and what waits for a second person.

Called by: the console. Must not: close anything (``closing`` does), or compute an amount.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from broker.chargeback import closing, drawing
from broker.chargeback.models import MonthClose, MonthReopening
from broker.pricing.months import Month
from broker.tenancy.work import Work


@dataclass(frozen=True, slots=True)
class Agenda:
    """``next``: the month that is closed next (None: nothing was used yet); ``over``: so it may be closed now.

    ``closes``: every close, the newest first; ``asked``: reopenings by close, agreed to or not; ``last``: the close
    that could be opened again.
    """

    next: Month | None
    over: bool
    closes: Sequence[MonthClose]
    asked: Mapping[UUID, MonthReopening]
    last: UUID | None


def agenda(work: Work) -> Agenda:
    """How it stands now, for who may read it. Raises Forbidden ``duty.missing``."""
    closing.check_reads(work)
    books = drawing.books_of(work.session, Month.of(work.now))
    coming = None if books.expected is None else drawing.month_of(books.expected)
    closes = closing.closes(work)
    asked = {one.close_id: one for one in work.session.scalars(select(MonthReopening))}
    last = next((one.id for one in closes if one.month == books.last_closed and one.reopened_at is None), None)
    return Agenda(coming, coming is not None and coming.end <= work.now, closes, asked, last)
