"""With which month the books begin: one person asks, another agrees, as what was used before is then never charged.

Called by: the API, the console. Must not: let one person alone say it; the database does not either (``begun_by_two``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert

from broker.chargeback import closing, drawing
from broker.chargeback.beginning_models import BooksBeginning, BooksProposal
from broker.chargeback.models import MonthClose
from broker.db.base import new_id
from broker.errors import Conflict, Forbidden, Invalid, Problem
from broker.pricing.months import Month
from broker.tenancy.repository import accounts_of_one
from broker.tenancy.work import Work

AGREED, DROPPED = "agreed", "dropped"


@dataclass(frozen=True, slots=True)
class Beginning:
    """``month``: where the books begin as things stand; None: nothing was used. ``stated``: a person said so, for good.

    ``asked``: what waits for a second person. ``closed``: a month is closed; only the first one, with which the books
    did begin, can still be stated: then late usage from before it no longer stops a close.
    """

    month: date | None
    stated: bool
    asked: tuple[BooksProposal, ...]
    closed: bool


def state(work: Work) -> Beginning:
    """How it stands, for who may read it. Raises Forbidden ``duty.missing``."""
    closing.check_reads(work)
    stated = work.session.scalar(select(BooksBeginning.month))
    asked = work.session.scalars(
        select(BooksProposal).where(BooksProposal.decision.is_(None)).order_by(BooksProposal.month)
    )
    books = drawing.books_of(work.session, Month.of(work.now))
    closed = bool(work.session.scalar(select(exists().select_from(MonthClose))))
    return Beginning(stated or books.begin, stated is not None, tuple(asked), closed)


def ask(work: Work, month: Month, reason: str) -> BooksProposal:
    """Ask that the books begin with ``month``; it waits for another person.

    Also afterwards, of the month they did begin with: then late usage from before it no longer stops a close.
    Raises Forbidden ``duty.missing``, ``reopening.person_needed``, Invalid ``books.reason_missing``, Conflict
    ``books.begun``, ``beginning.asked``, and ``statement.month_not_begun``: a month to come would keep every month
    before it from being closed.
    """
    _check(work, month, reason)
    row = {
        "id": new_id(),
        "month": month.first_day,
        "reason": reason.strip(),
        "asked_by": _somebody(work),
        "asked_at": work.now,
    }
    made: BooksProposal | None = work.session.scalar(
        insert(BooksProposal).values(row).on_conflict_do_nothing().returning(BooksProposal)
    )
    if made is None:
        raise Conflict("beginning.asked", month=str(month))
    work.record("books.asked", "books", made.id, data={"month": str(month), "reason": made.reason})
    return made


def agree(work: Work, month: Month) -> BooksProposal:
    """Agree to what another person asked for: the books begin there, for good.

    Raises as ``ask`` does, Forbidden ``beginning.same_person``, Conflict ``beginning.not_asked``.
    """
    found = _asked(work, month)
    if _somebody(work) in accounts_of_one(work.session, found.asked_by):
        raise Forbidden("beginning.same_person")
    closing.hold(work.session)
    _check(work, month, found.reason)
    _decide(work, found, AGREED)
    _begin(work, found)
    return found


def drop(work: Work, month: Month) -> BooksProposal:
    """Take it back, or refuse it. Raises Forbidden ``duty.missing``, Conflict ``beginning.not_asked``."""
    found = _asked(work, month)
    _decide(work, found, DROPPED)
    work.record("books.dropped", "books", found.id, data={"month": str(month)})
    return found


def _check(work: Work, month: Month, reason: str) -> None:
    closing.check_may(work)
    if work.now < month.start:
        raise Conflict("statement.month_not_begun", month=str(month))
    if not reason.strip():
        raise Invalid([Problem("books.reason_missing", "reason")])
    first = work.session.scalar(select(func.min(MonthClose.month)))
    stated = work.session.scalar(select(BooksBeginning.month))
    begun = stated or (first if first != month.first_day else None)
    if begun is not None:
        raise Conflict("books.begun", month=str(drawing.month_of(begun)))


def _begin(work: Work, agreed: BooksProposal) -> None:
    stated = BooksBeginning(month=agreed.month, reason=agreed.reason, set_by=agreed.decided_by, set_at=work.now)
    work.session.add(stated)
    work.session.flush()
    data = {"month": str(drawing.month_of(agreed.month)), "reason": agreed.reason}
    work.record("books.begin", "books", agreed.id, data=data)


def _asked(work: Work, month: Month) -> BooksProposal:
    closing.check_may(work)
    wanted = select(BooksProposal).where(BooksProposal.month == month.first_day, BooksProposal.decision.is_(None))
    found = work.session.scalar(wanted.with_for_update())
    if found is None:
        raise Conflict("beginning.not_asked", month=str(month))
    return found


def _decide(work: Work, found: BooksProposal, decision: str) -> None:
    found.decision, found.decided_by, found.decided_at = decision, _somebody(work), work.now
    work.session.flush()


def _somebody(work: Work) -> UUID:
    if work.actor.account_id is None:
        raise Forbidden("reopening.person_needed")
    return work.actor.account_id
