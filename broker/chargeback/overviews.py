"""Overviews: what each payer owes, the Bureau's industry clouds and their step-down, what operators are owed.

Called by: the API, the console. Must not: compute an amount, or show what the actor may not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from broker.chargeback import access, overviews_sql, statements, views_sql
from broker.chargeback.access import Scope
from broker.chargeback.views import (
    BureauOverview,
    IndustryCloud,
    Mover,
    PayerRow,
    SettlementLineRow,
    SettlementRow,
    SettlementView,
    StatementSummary,
    TrendPoint,
)
from broker.errors import Forbidden, NotFound
from broker.lifecycle import Role
from broker.pricing.months import Month
from broker.tenancy import repository as tenancy
from broker.tenancy.work import Work

TREND_MONTHS = 12
TOP = 10


@dataclass(frozen=True, slots=True)
class PayersOverview:
    """What each payer owes for a month beside the month before, and everybody's months before that."""

    month: Month
    months: tuple[Month, ...]
    payers: tuple[PayerRow, ...]
    trend: tuple[TrendPoint, ...]

    @property
    def total_fen(self) -> int:
        return sum(row.total_fen for row in self.payers)

    @property
    def before_fen(self) -> int:
        return sum(row.before_fen for row in self.payers)

    @property
    def movers(self) -> tuple[PayerRow, ...]:
        """The payers whose bill changed most, either way."""
        changed = [row for row in self.payers if row.change_fen]
        return tuple(sorted(changed, key=lambda row: -abs(row.change_fen))[:TOP])


@dataclass(frozen=True, slots=True)
class PayerOverview:
    """One payer's month: its statement summed up, its months, and the resources whose cost changed most."""

    payer: PayerRow
    statement: StatementSummary
    trend: tuple[TrendPoint, ...]
    movers: tuple[Mover, ...]


def months(work: Work) -> tuple[Month, ...]:
    """The months with statements that the actor may see, newest first."""
    found = overviews_sql.months(work.session, _scope(work), 36)
    return tuple(_month(first) for first in found)


def payers(work: Work, month: Month) -> PayersOverview:
    """Every payer that the actor may see."""
    seen = _scope(work)
    rows = overviews_sql.payers(work.session, seen, month.first_day, month.previous.first_day)
    first = _earlier(month, TREND_MONTHS - 1)
    points = overviews_sql.trend(work.session, seen, first.first_day, month.first_day)
    return PayersOverview(month, _span(first, month), tuple(_payer(row) for row in rows), _points(points))


def payer(work: Work, payer_unit_id: UUID, month: Month) -> PayerOverview:
    """One payer's month. Raises NotFound ``statement.unknown`` when it has none that the actor may see."""
    seen = _scope(work)
    found = statements.of_payer(work.session, seen, payer_unit_id, month)
    if found is None:
        raise NotFound("statement.unknown")
    one = statements.summary(work.session, found.id, actor=work.actor, now=work.now)
    rows = overviews_sql.payers(work.session, seen, month.first_day, month.previous.first_day)
    first = _earlier(month, TREND_MONTHS - 1)
    points = overviews_sql.trend(work.session, seen, first.first_day, month.first_day, payer_unit_id)
    return PayerOverview(
        payer=next(_payer(row) for row in rows if row.payer_unit_id == payer_unit_id),
        statement=one,
        trend=_points(points),
        movers=views_sql.movers(work.session, found.id, one.previous.id if one.previous else None, seen, TOP),
    )


def sees_region(work: Work) -> bool:
    """Whether the actor sees every payer, and so what operators are owed."""
    return _scope(work).sees_region


def may_see_bureau(work: Work) -> bool:
    """The region's finance, who sees everything, and the Bureau: it arranges what industry clouds cost (Art. 16(3))."""
    if sees_region(work):
        return True
    of_the_bureau = bool(work.actor.roles & {Role.APPROVER, Role.CLOUD_CHIEF})
    return of_the_bureau and overviews_sql.is_bureau(work.session, work.actor.unit_id, work.now)


def bureau(work: Work, month: Month) -> BureauOverview:
    """The industry clouds in the year of ``month``, up to it (Art. 16(3)). Raises Forbidden ``duty.missing``."""
    if not may_see_bureau(work):
        raise Forbidden("duty.missing", role=Role.FINANCE.value)
    span = _span(Month(month.year, 1), month)
    # One month earlier, so that January has one to be compared with.
    costs = overviews_sql.by_cloud(work.session, span[0].previous.first_day, month.first_day)
    steps: dict[UUID, list[tuple[int, int]]] = {}
    for row in overviews_sql.steps(work.session):
        steps.setdefault(row.sub_cloud_id, []).append((row.year, row.amount_fen))
    clouds = overviews_sql.clouds(work.session, work.now)
    names = tenancy.unit_names(work.session, {row.payer_unit_id for row in costs}, work.now)
    main = [row.id for row in clouds if row.tier == "main"]
    return BureauOverview(
        month=month,
        months=span,
        clouds=tuple(
            _industry(cloud, [row for row in costs if row.sub_cloud_id == cloud.id], span, names, steps)
            for cloud in clouds
            if cloud.tier == "industry"
        ),
        main_by_month=tuple(
            sum(int(row.amount_fen) for row in costs if row.sub_cloud_id in main and _month(row.month) == each)
            for each in span
        ),
    )


def _industry(
    cloud: Any,
    costs: Sequence[Any],
    span: tuple[Month, ...],
    names: dict[UUID, str],
    steps: dict[UUID, list[tuple[int, int]]],
) -> IndustryCloud:
    sums: dict[Month, int] = {}
    for row in costs:
        month = _month(row.month)
        sums[month] = sums.get(month, 0) + int(row.amount_fen)
    by_month = tuple(sums.get(each, 0) for each in span)
    return IndustryCloud(
        sub_cloud_id=cloud.id,
        name=cloud.name,
        operator=cloud.operator,
        unified=cloud.unified_management,
        payers=tuple(sorted({names.get(row.payer_unit_id, "") for row in costs})),
        month_fen=by_month[-1],
        before_fen=sums.get(span[-1].previous, 0),
        spent_fen=sum(by_month),
        steps=tuple(sorted(steps.get(cloud.id, ()))),
        by_month=by_month,
    )


def settlements(work: Work, month: Month | None = None) -> tuple[SettlementRow, ...]:
    """What closed months owe to operators (Art. 15): to all, or to the one whose people the actor belongs to.

    Raises Forbidden ``duty.missing``.
    """
    operator = _settled_to(work)
    first = None if month is None else month.first_day
    return tuple(_settlement(row) for row in overviews_sql.settlements(work.session, month=first, operator=operator))


def settlement(work: Work, settlement_id: UUID) -> SettlementView:
    """One settlement with its lines and the operator's other months.

    Raises Forbidden ``duty.missing`` and NotFound ``settlement.unknown``, also for another operator's.
    """
    operator = _settled_to(work)
    found = overviews_sql.settlements(
        work.session, settlement_id=settlement_id, operator=operator, every_version=True, limit=1
    )
    if not found:
        raise NotFound("settlement.unknown")
    head = _settlement(found[0])
    months = overviews_sql.settlements(work.session, operator=head.operator, limit=TREND_MONTHS)
    lines = overviews_sql.settlement_lines(work.session, settlement_id)
    return SettlementView(
        head=head,
        lines=tuple(SettlementLineRow(**row._mapping) for row in lines),  # noqa: SLF001 - SQLAlchemy's public name
        trend=tuple(_settlement(row) for row in reversed(months)),
    )


def _settled_to(work: Work) -> str | None:
    """Whose settlements the actor sees; None: every operator's."""
    if sees_region(work):
        return None
    operator = None
    if Role.CLOUD_OPERATOR in work.actor.roles:
        operator = overviews_sql.operator_of(work.session, work.actor.account_id, work.now)
    if operator is None:
        raise Forbidden("duty.missing", role=Role.FINANCE.value)
    return operator


def sees_settlements(work: Work) -> bool:
    """Whether the actor sees any operator's settlement."""
    try:
        _settled_to(work)
    except Forbidden:
        return False
    return True


def _scope(work: Work) -> Scope:
    return access.scope(work.session, work.actor, work.now)


def _month(first: date) -> Month:
    return Month(first.year, first.month)


def _earlier(month: Month, by: int) -> Month:
    for _ in range(by):
        month = month.previous
    return month


def _span(first: Month, last: Month) -> tuple[Month, ...]:
    out = [first]
    while out[-1] < last:
        out.append(out[-1].next)
    return tuple(out)


def _points(rows: Sequence[Any]) -> tuple[TrendPoint, ...]:
    return tuple(TrendPoint(row.payer_unit_id, row.kind, _month(row.month), row.total_fen) for row in rows)


def _payer(row: Any) -> PayerRow:
    return PayerRow(
        payer_unit_id=row.payer_unit_id,
        code=row.code,
        name=row.name,
        kind=row.kind,
        statement_id=row.statement_id,
        standing=None if row.statement_id is None else views_sql.standing(row.close_id, row.reopened_at),
        total_fen=row.total_fen,
        before_fen=row.before_fen,
    )


def _settlement(row: Any) -> SettlementRow:
    return SettlementRow(row.id, _month(row.month), row.version, row.operator, row.total_fen, row.reopened, row.priced)
