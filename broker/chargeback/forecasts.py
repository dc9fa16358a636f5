"""What a year will end with: closed months as they were, and the others rated as if what is there now stayed.

Called by: ``chargeback.budgets``. Must not: write, or guess where usage says: an open month counts what has been used
and, to its end, what is still running; the months after it cost what the next one would, at the prices it will have.
A mean over closed months would know nothing of what was ordered or given back since; this asks for two ratings instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from psycopg.errors import QueryCanceled
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from broker.chargeback import repository
from broker.chargeback.values import Forecast
from broker.pricing.months import Month

_NEXT = text("SELECT broker.month_to_close()")
_PATIENCE = text("SELECT set_config('statement_timeout', :wait, true)")


def of_year(session: Session, year: int, now: datetime, *, patience_s: int = 0) -> Mapping[UUID, Forecast] | None:
    """What the months of ``year`` that are not closed will cost, by payer; None when it takes longer than that.

    Months before the books begin are not charged (0008), so they cost nothing here. Whole fen: sums of lines, each
    rounded once, times a number of months. Usage without a price or a payer is not in it.
    """
    opened, later = _open(session, year, now)
    before = session.scalar(text("SHOW statement_timeout"))
    try:
        with session.begin_nested():
            session.execute(_PATIENCE, {"wait": f"{patience_s}s"})
            so_far = repository.sums(session, opened) if opened else {}
            each = repository.sums(session, later[:1]) if later else {}
            session.execute(_PATIENCE, {"wait": before})
    except OperationalError as error:
        if isinstance(error.orig, QueryCanceled):
            return None
        raise
    return {
        payer: Forecast(len(opened), so_far.get(payer, 0), len(later), each.get(payer, 0) * len(later))
        for payer in so_far.keys() | each.keys()
    }


def _open(session: Session, year: int, now: datetime) -> tuple[Sequence[Month], Sequence[Month]]:
    """The year's months that are not closed: those that have begun, and those to come."""
    first: date | None = session.scalar(_NEXT)
    left = [m for m in (Month(year, n) for n in range(1, 13)) if first is None or m.first_day >= first]
    return [m for m in left if m.start < now], [m for m in left if m.start >= now]
