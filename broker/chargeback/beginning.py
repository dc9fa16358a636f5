"""With which month the books begin: one person asks, another agrees, as what was used before is then never charged.

Called by: the API, the console. Must not: state the beginning itself (``closing.begin`` does, once for all).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert

from broker.chargeback import closing, drawing
from broker.chargeback.beginning_models import BooksBeginning, BooksProposal
from broker.chargeback.models import MonthClose
from broker.db.base import new_id
from broker.errors import Conflict, Forbidden
from broker.pricing.months import Month
from broker.tenancy.repository import accounts_of_one
from broker.tenancy.work import Work

AGREED, DROPPED = "agreed", "dropped"


@dataclass(frozen=True, slots=True)
class Beginning:
    """``month``: where the books begin as things stand; None: nothing was used. ``stated``: a person said so, for good.

    ``asked``: what waits for a second person. ``closed``: a month is closed, so that there is nothing left to say.
    """

    month: date | None
    stated: bool
    asked: tuple[BooksProposal, ...]
    closed: bool


def state(work: Work) -> Beginning:
    """How it stands, for who keeps the books. Raises Forbidden ``duty.missing``."""
    closing.check_may(work)
    stated = work.session.scalar(select(BooksBeginning.month))
    asked = work.session.scalars(
        select(BooksProposal).where(BooksProposal.decision.is_(None)).order_by(BooksProposal.month)
    )
    books = drawing.books_of(work.session, Month.of(work.now))
    closed = bool(work.session.scalar(select(exists().select_from(MonthClose))))
    return Beginning(stated or books.begin, stated is not None, tuple(asked), closed)


def ask(work: Work, month: Month, reason: str) -> BooksProposal:
    """Ask that the books begin with ``month``; it waits for another person.

    Raises what ``closing.begin`` raises, Forbidden ``reopening.person_needed``, Conflict ``beginning.asked``.
    """
    closing.check_beginning(work, month, reason)
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
    closing.begin(work, month, found.reason)
    _decide(work, found, AGREED)
    return found


def drop(work: Work, month: Month) -> BooksProposal:
    """Take it back, or refuse it. Raises Forbidden ``duty.missing``, Conflict ``beginning.not_asked``."""
    found = _asked(work, month)
    _decide(work, found, DROPPED)
    work.record("books.dropped", "books", found.id, data={"month": str(month)})
    return found


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
