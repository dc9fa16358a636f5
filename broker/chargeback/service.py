"""Statements read, and months previewed: what each payer owes. Closing is in ``chargeback.closing``.

Called by: the API, the console, workflows (the month's end). Must not: compute an amount (the rating statement does),
commit, or hide usage that has no price or no payer.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from broker.chargeback import access, closing_sql, drawing, obstacles, repository
from broker.chargeback.values import CostToDate, Preview, StatementRow, StatementView, Totals
from broker.errors import NotFound
from broker.pricing.months import Month, months
from broker.tenancy.values import Actor

MAX_PAGE = 500


def preview(
    session: Session, month: Month, *, payer_unit_id: UUID | None = None, until: datetime | None = None
) -> Preview:
    """A month's own usage, rated line by line, of one payer or all, with what has no price or payer. Writes nothing.

    ``until`` cuts usage (pass *now* for "so far"); without it usage that is still running counts to the month's end.
    """
    covers_until = month.end if until is None else min(until, month.end)
    lines, gaps = repository.rate(session, (month,), covers_until, payer_unit_id=payer_unit_id)
    return Preview(month, covers_until, lines, gaps)


def totals(session: Session, month: Month, *, until: datetime) -> Totals:
    """A month as a close would freeze it now, up to ``until``, by payer and without its lines; what would stop it.

    The very computation of the close (``drawing``), with its late usage, decisions and settlements.
    Raises Conflict ``month.before_books``.
    """
    covers_until = min(until, month.end)
    drawing.draw(session, month, covers_until)
    problems, total = obstacles.find(session)
    rows = drawing.run(session, closing_sql.DUE).all()
    return Totals(
        month,
        covers_until,
        payers={row.payer_unit_id: int(row.total_fen) for row in rows},
        lines=sum(row.lines for row in rows),
        adjustments=sum(row.adjustments for row in rows),
        settled_fen=int(drawing.run(session, closing_sql.SETTLED).scalar_one()),
        unsettled=drawing.unsettled(session, month),
        problems=problems,
        problems_total=total,
    )


def statement(session: Session, statement_id: UUID, *, actor: Actor, now: datetime) -> StatementView:
    """One statement with its lines. Raises NotFound ``statement.unknown``, also when the actor may not see it."""
    seen = access.scope(session, actor, now).parameters
    found = repository.statements(session, seen, statement_id=statement_id)
    if not found:
        raise NotFound("statement.unknown")
    return StatementView(found[0], repository.charges(session, statement_id, seen))


def list_statements(
    session: Session,
    actor: Actor,
    *,
    now: datetime,
    month: Month | None = None,
    payer_unit_id: UUID | None = None,
    only_latest: bool = True,
    before: UUID | None = None,
    limit: int = 50,
) -> tuple[StatementRow, ...]:
    """The statements the actor may see (``access``), newest first; ``before`` is the last id of the page before."""
    return repository.statements(
        session,
        access.scope(session, actor, now).parameters,
        month=None if month is None else month.first_day,
        payer_unit_id=payer_unit_id,
        before=before,
        only_latest=only_latest,
        limit=max(1, min(limit, MAX_PAGE)),
    )


def resource_cost_to_date(session: Session, request_id: UUID, now: datetime) -> CostToDate:
    """What a request's resources have cost so far, rated live. The caller has checked that the request may be seen."""
    first = repository.first_use(session, request_id)
    if first is None or first >= now:
        return CostToDate(now, (), ())
    resource_ids = repository.resources_of(session, request_id)
    lines, gaps = repository.rate(session, months(first, now), now, resource_ids=resource_ids)
    return CostToDate(now, lines, gaps)
