"""Statements: what each payer owes for a month.

Called by: the API, the console, workflows (the month's end). Must not: compute an amount (the rating statement does),
commit, or hide usage that has no price or no payer.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from broker.chargeback import repository
from broker.chargeback.values import CostToDate, IssuedStatement, Preview, StatementRow, StatementView
from broker.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from broker.lifecycle import Role
from broker.pricing.months import Month, months
from broker.tenancy.values import Actor
from broker.tenancy.work import Work

MAX_PAGE = 500
_ALWAYS = frozenset({Role.ADMINISTRATOR, Role.SYSTEM})
_REFUSED = {"price": "charge.price_missing", "payer": "charge.payer_missing", "limit": "charge.limit"}


def preview(
    session: Session, month: Month, *, payer_unit_id: UUID | None = None, until: datetime | None = None
) -> Preview:
    """A month as it would be billed, of one payer or all, with what has no price or payer. Writes nothing.

    ``until`` cuts usage (pass *now* for "so far"); without it usage that is still running counts to the month's end.
    """
    covers_until = month.end if until is None else min(until, month.end)
    lines, gaps = repository.rate(session, (month,), covers_until, payer_unit_id=payer_unit_id)
    return Preview(month, covers_until, lines, gaps)


def issue(work: Work, month: Month) -> tuple[IssuedStatement, ...]:
    """Write a statement with its lines for every payer of ``month``, up to now or the month's end, as a new version.

    The region's finance, the administrator and the system may.
    A payer who had a statement in an older version and owes nothing now gets one of zero, so that the newest version
    of a month is complete. Raises Forbidden ``duty.missing``, Conflict ``statement.month_not_begun``, and Invalid with
    ``charge.price_missing``, ``charge.payer_missing`` or ``charge.limit`` for each line (the first 20): then nothing is
    written.
    """
    if not _may_issue(work):
        raise Forbidden("duty.missing", role=Role.FINANCE.value)
    covers_until = min(work.now, month.end)
    if covers_until <= month.start:
        raise Conflict("statement.month_not_begun", month=str(month))
    rows = repository.issue(work.session, month, covers_until, work.now)
    refused = [row for row in rows if row.reason is not None]
    if refused:
        raise Invalid([Problem(_REFUSED[row.reason], str(row.id), params={"meter": row.meter}) for row in refused])
    issued = tuple(IssuedStatement(r.id, r.payer_unit_id, r.version, int(r.total_fen), r.lines) for r in rows)
    for one in issued:
        data = {"month": str(month), "version": one.version, "lines": one.lines, "total_fen": one.total_fen}
        work.record("statement.issue", "statement", one.id, data=data)
    return issued


def statement(session: Session, statement_id: UUID, *, actor: Actor, now: datetime) -> StatementView:
    """One statement with its lines. Raises NotFound ``statement.unknown``, also when the actor may not see it."""
    found = repository.statements(
        session, actor, root_unit_id=_scope(session, actor, now), statement_id=statement_id, limit=1
    )
    if not found:
        raise NotFound("statement.unknown")
    return StatementView(found[0], repository.charges(session, statement_id))


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
    """The statements the actor may see, newest first; ``before`` is the last id of the page before.

    Finance sees the tree of its payer: the nearest unit at or above its own that pays for anything (the region's
    finance: all). Audit, the administrator and the system see all, everybody else none.
    """
    return repository.statements(
        session,
        actor,
        root_unit_id=_scope(session, actor, now),
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
    lines, gaps = repository.rate(session, months(first, now), now, request_id=request_id)
    return CostToDate(now, lines, gaps)


def _scope(session: Session, actor: Actor, now: datetime) -> UUID | None:
    if Role.FINANCE not in actor.roles:
        return None
    return repository.finance_scope(session, actor.unit_id, now)[0]


def _may_issue(work: Work) -> bool:
    if work.actor.roles & _ALWAYS:
        return True
    return Role.FINANCE in work.actor.roles and repository.finance_scope(work.session, work.actor.unit_id, work.now)[1]
