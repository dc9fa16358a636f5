"""Closing a month: interim statements before, final ones at the close, and reopening by two people.

Called by: the API, ``guiyun bill``. Must not: compute an amount, or commit: a close is one transaction of its caller's,
so a month is open or closed and nothing between, whenever the process dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from broker.chargeback import bill, budgets, closing_sql, drawing, obstacles, repository, service
from broker.chargeback.drawing import month_of
from broker.chargeback.models import MonthClose, MonthReopening
from broker.chargeback.values import ClosedMonth, IssuedStatement, Totals
from broker.db.base import new_id
from broker.errors import Conflict, Forbidden, Invalid, Problem
from broker.lifecycle import Role
from broker.pricing.months import Month
from broker.tenancy.repository import accounts_of_one
from broker.tenancy.work import Work

_ALWAYS = frozenset({Role.ADMINISTRATOR, Role.SYSTEM})


def issue(work: Work, month: Month) -> tuple[IssuedStatement, ...]:
    """Draw an interim statement for every payer of an open month, up to now or the month's end, as a new version.

    It posts nothing. The region's finance, the administrator and the system may.
    A payer who had a statement in an older version and owes nothing now gets one of zero, so that the newest version
    of a month is complete. Raises Forbidden ``duty.missing``, Conflict ``statement.month_not_begun``,
    ``month.before_books`` or ``month.closed``, and Invalid with what ``obstacles`` names for each line (the first
    10,000, and how many): then nothing is written.
    """
    check_may(work)
    covers_until = min(work.now, month.end)
    if covers_until <= month.start:
        raise Conflict("statement.month_not_begun", month=str(month))
    drawing.be_patient(work.session)  # before the locks: another's drawing is waited for
    _lock(work.session, closing_sql.LOCK_STATEMENTS, month_number=month.year * 12 + month.number)
    books = drawing.books_of(work.session, month)
    drawing.check_begun(books, month)
    if books.closed:
        raise Conflict("month.closed", month=str(month))
    bill.fill(work.session, "bill", (month,), covers_until)
    _run(work.session, closing_sql.ONLY_CHARGES)
    drawing.sum_up(work.session, month)
    obstacles.refuse(*obstacles.find(work.session))
    issued = _write_statements(work, month, covers_until, close_id=None)
    for one in issued:
        data = {"month": str(month), "version": one.version, "lines": one.lines, "total_fen": one.total_fen}
        work.record("statement.issue", "statement", one.id, data=data)
    return issued


def preview(work: Work, month: Month) -> Totals:
    """The month as a close would freeze it now, and what would stop it; for who may read it. Nothing of it stays.

    Raises Forbidden ``duty.missing``, Conflict ``month.before_books``.
    """
    check_reads(work)
    return service.totals(work.session, month, until=work.now)


def close(work: Work, month: Month) -> ClosedMonth:
    """Close a month that is over: freeze its statements, settle the operators, post both.

    Months close in order, from that of the first usage or the one that two people state (``beginning``). Usage of
    closed months that came late or was corrected, and decided adjustments, become lines of this month's statements.
    Raises Forbidden ``duty.missing``; Conflict ``month.not_over``, ``month.closed``, ``month.out_of_order``,
    ``month.nothing_used``; Invalid with what ``obstacles`` names for what cannot be (at most 10,000): then nothing is
    written.
    """
    check_may(work)
    if work.now < month.end:
        raise Conflict("month.not_over", month=str(month))
    session = work.session
    drawing.be_patient(session)  # before the locks: another's close is waited for
    hold(session)
    _lock(session, closing_sql.LOCK_STATEMENTS, month_number=month.year * 12 + month.number)
    books = drawing.books_of(session, month)
    if books.closed:
        raise Conflict("month.closed", month=str(month))
    if books.expected is None:
        raise Conflict("month.nothing_used", month=str(month))
    if books.expected != month.first_day:
        raise Conflict("month.out_of_order", month=str(month), expected=str(month_of(books.expected)))
    drawn = drawing.draw(session, month, month.end, books)
    obstacles.refuse(*obstacles.find(session))
    close_id = new_id()
    _run(
        session,
        closing_sql.CLOSE,
        close_id=close_id,
        snapshot=drawn.snapshot,
        month=month.first_day,
        version=books.version + 1,
        until_at=month.end,
        closed_by=work.actor.account_id,
        now=work.now,
    )
    if drawn.hint_ids:
        _run(session, closing_sql.TAKE_CORRECTIONS, close_id=close_id, correction_ids=list(drawn.hint_ids))
    statements = _write_statements(work, month, month.end, close_id=close_id)
    unsettled = drawing.unsettled(session, month)
    _run(session, closing_sql.SETTLEMENTS, close_id=close_id, unsettled=list(unsettled))
    _run(session, closing_sql.POST, close_id=close_id, now=work.now)
    made = session.get_one(MonthClose, close_id)
    closed = ClosedMonth(
        id=close_id,
        month=month,
        version=made.version,
        statements=len(statements),
        lines=made.lines,
        adjustments=made.adjustments,
        total_fen=made.total_fen,
        settled_fen=made.settled_fen,
        unsettled=unsettled,
    )
    data = {"month": str(month), "version": closed.version, "lines": closed.lines, "total_fen": closed.total_fen}
    work.record("month.close", "month_close", close_id, data=data)
    budgets.notice(work, month.year)
    return closed


def ask_to_reopen(work: Work, month: Month, reason: str) -> MonthReopening:
    """Ask that the last closed month be opened again; a second person has to agree.

    Raises Forbidden ``duty.missing``, Invalid ``reopening.reason_missing``, and Conflict ``month.not_closed``,
    ``month.not_last`` (a later one is closed), ``reopening.asked`` (somebody has asked already).
    """
    last = _reopenable(work, month)
    if not reason.strip():
        raise Invalid([Problem("reopening.reason_missing", "reason")])
    if _asked(work.session, last.id) is not None:
        raise Conflict("reopening.asked", month=str(month))
    account_id = _somebody(work)
    asked = MonthReopening(id=new_id(), close_id=last.id, reason=reason.strip(), asked_by=account_id, asked_at=work.now)
    work.session.add(asked)
    work.session.flush()
    work.record("month.reopening_asked", "month_close", last.id, data={"month": str(month)})
    return asked


def agree_to_reopen(work: Work, month: Month) -> MonthReopening:
    """Agree to what another person asked for: the close's postings are reversed, its statements stay.

    Raises Forbidden ``duty.missing`` and ``reopening.same_person``, Conflict ``month.not_closed``, ``month.not_last``
    and ``reopening.not_asked``.
    """
    last = _reopenable(work, month)
    asked = _asked(work.session, last.id)
    if asked is None:
        raise Conflict("reopening.not_asked", month=str(month))
    account_id = _somebody(work)
    if account_id in accounts_of_one(work.session, asked.asked_by):
        raise Forbidden("reopening.same_person")
    asked.agreed_by, asked.agreed_at = account_id, work.now
    work.session.flush()  # the database lets a month be reopened only after the agreement
    last.reopened_at = work.now
    work.session.flush()
    _run(work.session, closing_sql.REVERSE, close_id=last.id, now=work.now)
    work.record("month.reopen", "month_close", last.id, data={"month": str(month), "version": last.version})
    return asked


def closes(work: Work) -> Sequence[MonthClose]:
    """Every close, the newest month and version first; for whoever sees the whole region, else none."""
    if not may_read(work):
        return ()
    return work.session.query(MonthClose).order_by(MonthClose.month.desc(), MonthClose.version.desc()).all()


def may_close(work: Work) -> bool:
    """Whether the actor keeps the region's books: its finance, the administrator, the system."""
    if work.actor.roles & _ALWAYS:
        return True
    return Role.FINANCE in work.actor.roles and repository.finance_scope(work.session, work.actor.unit_id, work.now)[1]


def check_may(work: Work) -> None:
    """Raises Forbidden ``duty.missing`` for whoever does not keep the books."""
    if not may_close(work):
        raise Forbidden("duty.missing", role=Role.FINANCE.value)


def may_read(work: Work) -> bool:
    """Whether the actor sees how the books stand: who keeps them, and who reads everything (audit, Art. 16(3))."""
    return work.actor.sees_everything or may_close(work)


def check_reads(work: Work) -> None:
    """Raises Forbidden ``duty.missing`` for whoever neither keeps the books nor reads everything."""
    if not may_read(work):
        raise Forbidden("duty.missing", role=Role.FINANCE.value)


def _somebody(work: Work) -> UUID:
    if work.actor.account_id is None:
        raise Forbidden("reopening.person_needed")
    return work.actor.account_id


def _reopenable(work: Work, month: Month) -> MonthClose:
    check_may(work)
    hold(work.session)
    books = drawing.books_of(work.session, month)
    if not books.closed:
        raise Conflict("month.not_closed", month=str(month))
    if books.last_closed != month.first_day:
        raise Conflict("month.not_last", month=str(month), last=str(month_of(books.last_closed)))
    return work.session.query(MonthClose).filter_by(month=month.first_day, reopened_at=None).one()


def _asked(session: Session, close_id: UUID) -> MonthReopening | None:
    return session.query(MonthReopening).filter_by(close_id=close_id).one_or_none()


def _write_statements(
    work: Work, month: Month, until: datetime, *, close_id: UUID | None
) -> tuple[IssuedStatement, ...]:
    rows = _run(
        work.session,
        closing_sql.STATEMENTS,
        month=month.first_day,
        close_id=close_id,
        until_at=until,
        now=work.now,
    ).all()
    if rows:
        which = {"month": month.first_day, "statement_version": rows[0].version}
        _run(work.session, closing_sql.CHARGES, **which)
        _run(work.session, closing_sql.STATEMENT_SUMS, **which)
    return tuple(IssuedStatement(r.id, r.payer_unit_id, r.version, int(r.total_fen), r.lines) for r in rows)


def hold(session: Session) -> None:
    """Nobody else closes a month or opens one again until the transaction ends."""
    _lock(session, closing_sql.LOCK)


def _lock(session: Session, statement: str, **values: Any) -> None:
    _run(session, statement, **values)


def _run(session: Session, statement: str, **values: Any) -> Any:
    return drawing.run(session, statement, **values)
