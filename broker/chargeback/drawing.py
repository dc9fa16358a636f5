"""A month's bill as it comes to, drawn into a working table: the one computation of a preview and of a close.

Called by: ``chargeback.closing``, which freezes what was drawn; ``chargeback.service``, which only shows it.
Must not: write what stays, or decide whether a month may be closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from broker.chargeback import bill, closing_sql
from broker.errors import Conflict
from broker.pricing.months import Month

# A year of a region is a long statement; it may take more than a page of the console may. A million resources are
# grouped and sorted in memory (700 MiB): on disk that takes half as long again.
_PATIENCE = "SET LOCAL statement_timeout = '30min'; SET LOCAL work_mem = '800MB'; SET LOCAL hash_mem_multiplier = 1"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was read: the snapshot of the usage, and the hints of late usage that are in the bill."""

    snapshot: str
    hint_ids: tuple[int, ...]


def draw(session: Session, month: Month, until: datetime, books: Row[Any] | None = None) -> Drawn:
    """``pg_temp.bill``: the month's own lines, late usage of closed months, decisions, settlements, and what cannot be.

    Late usage and decisions belong to the month that is closed next, and to no other. ``pg_temp.due`` has the sums.
    ``books``: how they stand, of who has asked already and keeps them from moving.
    Raises Conflict ``month.before_books``.
    """
    be_patient(session)
    books = books or books_of(session, month)
    check_begun(books, month)
    hints: Sequence[Row[Any]] = ()
    if books.expected == month.first_day:
        # Before the usage is read: what is committed after this may be unseen, and its hint waits for the next close.
        hints = run(session, closing_sql.WAITING_CORRECTIONS).all()
    snapshot = bill.fill(session, "bill", (month,), until)
    if books.expected == month.first_day:
        _add_adjustments(session, month, hints)
    sum_up(session, month)
    return Drawn(snapshot, tuple(hint.id for hint in hints))


def be_patient(session: Session) -> None:
    """A drawing, and who waits for another's, may take longer than a page; until the transaction ends."""
    run(session, _PATIENCE)


def sum_up(session: Session, month: Month) -> None:
    """``pg_temp.due``: what each payer owes of the drawn bill, and ``due_at``, at which cloud."""
    run(session, closing_sql.SUM_UP_AT, month=month.first_day)
    run(session, closing_sql.SUM_UP)


def unsettled(session: Session, month: Month) -> tuple[str, ...]:
    """Operators that supplied something and have no settlement price: owed nothing, and so named."""
    return tuple(run(session, closing_sql.UNSETTLED, month=month.first_day).scalars())


def books_of(session: Session, month: Month) -> Row[Any]:
    """Which month is closed next (``expected``), with which the books ``begin`` (None: unknown), how this stands."""
    found: Row[Any] = run(session, closing_sql.BOOKS, month=month.first_day).one()
    return found


def check_begun(books: Row[Any], month: Month) -> None:
    """Raises Conflict ``month.before_books``: what was used then is charged in no month."""
    if books.begin is not None and month.first_day < books.begin:
        raise Conflict("month.before_books", month=str(month), begin=str(month_of(books.begin)))


def run(session: Session, statement: str, **values: Any) -> Any:
    """A statement of ``closing_sql``."""
    return session.execute(text(statement), values)


def month_of(day: date) -> Month:
    """The month that a day is in."""
    return Month(day.year, day.month)


def _add_adjustments(session: Session, month: Month, hints: Sequence[Row[Any]]) -> None:
    """Lines for usage of closed months that changed since, as ``hints`` say, and for decided adjustments."""
    closed = [month_of(row.month) for row in run(session, closing_sql.CLOSED_MONTHS)]
    late = tuple(one for one in closed if any(closing_sql.touches(hint, one) for hint in hints))
    if late:
        bill.fill(session, "late", late, late[-1].end)
        months = {"late_months": [one.first_day for one in late]}
        run(session, closing_sql.ADD_LATE, **months)
        run(session, closing_sql.ADD_LATE_OWED, **months)
        run(session, closing_sql.ADD_LATE_GAPS)
    decided = run(session, closing_sql.ADD_DECIDED, month=month.first_day).rowcount
    if late or decided:
        run(session, closing_sql.ADD_BELOW_ZERO)
    first = run(session, closing_sql.FIRST_CLOSED).scalar()
    if first is None:
        return
    begin_at = month_of(first).start
    if not closed:  # the first month is closed anew: what came meanwhile has left no hint
        run(session, closing_sql.ADD_ALL_BEFORE, begin_at=begin_at)
    elif early := [hint.id for hint in hints if hint.start_at is None or hint.start_at < begin_at]:
        run(session, closing_sql.ADD_BEFORE, hints=early, begin_at=begin_at)
