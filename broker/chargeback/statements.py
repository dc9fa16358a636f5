"""Reading a statement: its sums beside last month's, its explained lines, page by page or all of them.

Called by: the API, the console, the command line. Must not: compute an amount, or show what the actor may not see.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from broker.chargeback import access, drawing, repository, views_sql
from broker.chargeback.access import Scope
from broker.chargeback.values import StatementRow
from broker.chargeback.views import ExplainedLine, StatementSummary
from broker.errors import NotFound
from broker.pricing.months import Month
from broker.tenancy.values import Actor

MOST_LINES = 500
MOST_PAYERS = 100_000


def summary(session: Session, statement_id: UUID, *, actor: Actor, now: datetime) -> StatementSummary:
    """A statement's sums and its payer's month before. Raises NotFound ``statement.unknown``."""
    seen = access.scope(session, actor, now)
    found = visible(session, statement_id, seen)
    month = Month(found.month.year, found.month.month)
    previous = of_payer(session, seen, found.payer_unit_id, month.previous)
    more = views_sql.head(session, statement_id, seen)
    sums = views_sql.sums(session, statement_id, previous.id if previous else None, seen)
    return StatementSummary(head=found, previous=previous, sums=sums, **more)


def lines(
    session: Session, statement_id: UUID, *, actor: Actor, now: datetime, after: int | None = None, limit: int = 100
) -> tuple[ExplainedLine, ...]:
    """A page of explained lines. Raises NotFound ``statement.unknown``."""
    seen = access.scope(session, actor, now)
    visible(session, statement_id, seen)
    return views_sql.lines(session, statement_id, seen, after=after, limit=max(1, min(limit, MOST_LINES)))


def every_line(session: Session, statement_id: UUID, *, actor: Actor, now: datetime) -> Iterator[ExplainedLine]:
    """All explained lines, in portions, for a document. Raises NotFound ``statement.unknown``."""
    seen = access.scope(session, actor, now)
    visible(session, statement_id, seen)
    return views_sql.every_line(session, statement_id, seen)


def of_month(
    session: Session, month: Month, *, actor: Actor, now: datetime
) -> Iterator[tuple[StatementSummary, Iterator[ExplainedLine]]]:
    """The newest statement of every payer that the actor may see, each with its lines, one after the other.

    Raises Conflict ``month.before_books``.
    """
    drawing.check_begun(drawing.books_of(session, month), month)
    seen = access.scope(session, actor, now)
    for row in repository.statements(
        session, seen.parameters, month=month.first_day, only_latest=True, limit=MOST_PAYERS
    ):
        more = views_sql.head(session, row.id, seen)
        yield StatementSummary(head=row, previous=None, sums=(), **more), views_sql.every_line(session, row.id, seen)


def visible(session: Session, statement_id: UUID, seen: Scope) -> StatementRow:
    """The statement's head. Raises NotFound ``statement.unknown``, also when the actor may not see it."""
    found = repository.statements(session, seen.parameters, statement_id=statement_id)
    if not found:
        raise NotFound("statement.unknown")
    return found[0]


def of_payer(session: Session, seen: Scope, payer_unit_id: UUID, month: Month) -> StatementRow | None:
    """A payer's newest statement of a month, if there is one that the actor may see."""
    found = repository.statements(
        session,
        seen.parameters,
        payer_unit_id=payer_unit_id,
        month=month.first_day,
        only_latest=True,
        limit=1,
    )
    return found[0] if found else None
