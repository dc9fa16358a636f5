"""Budgets of a payer and year: what is spent, what the year will end with, and who is told at 80 % and 100 %.

And the step-down: what an industry cloud outside unified management may still cost, year by year (Art. 16(3)).
Called by: ``chargeback.closing`` (after each close), ``guiyun bill``. Must not: stop a bill: a budget only tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud
from broker.chargeback import access
from broker.chargeback.models import Budget, FundingStep
from broker.chargeback.values import BudgetState
from broker.db.base import new_id
from broker.errors import Forbidden, Invalid, NotFound, Problem
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.tenancy.work import Work

STEPS = (80, 100)
"""Percent of a budget at which its payer's finance is told (ours)."""

_STATES = text("""
SELECT b.id, b.payer_unit_id, b.year, b.amount_fen, coalesce(s.spent_fen, 0) AS spent_fen,
       coalesce(s.months, 0) AS months
FROM broker.budget b
LEFT JOIN (
  SELECT s.payer_unit_id, CAST(sum(s.total_fen) AS bigint) AS spent_fen, count(*) AS months
  FROM broker.statement s JOIN broker.month_close c ON c.id = s.close_id AND c.reopened_at IS NULL
  WHERE s.month >= make_date(:year, 1, 1) AND s.month < make_date(:year + 1, 1, 1)
  GROUP BY s.payer_unit_id
) AS s ON s.payer_unit_id = b.payer_unit_id
WHERE b.year = :year AND b.version = (SELECT max(version) FROM broker.budget o
                                      WHERE o.payer_unit_id = b.payer_unit_id AND o.year = b.year)
ORDER BY b.payer_unit_id
""")

_NOTE = text("""
INSERT INTO broker.budget_notice (budget_id, percent, spent_fen) VALUES (:budget_id, :percent, :spent_fen)
ON CONFLICT DO NOTHING RETURNING percent
""")

_NEXT_VERSION = text("""
SELECT coalesce(max(version), 0) + 1 FROM broker.budget WHERE payer_unit_id = :payer_unit_id AND year = :year
""")


_NEXT_STEP = text("""
SELECT coalesce(max(version), 0) + 1 FROM broker.funding_step WHERE sub_cloud_id = :sub_cloud_id AND year = :year
""")

_STEPS = text("""
SELECT DISTINCT ON (k.position, s.year) k.code, k.name, s.year, s.amount_fen
FROM broker.funding_step s JOIN broker.sub_cloud k ON k.id = s.sub_cloud_id
ORDER BY k.position, s.year, s.version DESC
""")


def set_budget(work: Work, payer_unit_id: UUID, year: int, amount_fen: int) -> Budget:
    """Set what a payer may spend in a year; an earlier figure stays on record, and notices count for the new one.

    The region's finance, the administrator and the system may. Raises Forbidden ``duty.missing``, Invalid
    ``budget.amount``.
    """
    _check_may(work)
    if amount_fen <= 0:
        raise Invalid([Problem("budget.amount", "amount_fen")])
    version = work.session.execute(_NEXT_VERSION, {"payer_unit_id": payer_unit_id, "year": year}).scalar_one()
    made = Budget(
        id=new_id(),
        payer_unit_id=payer_unit_id,
        year=year,
        version=version,
        amount_fen=amount_fen,
        set_by=work.actor.account_id,
        set_at=work.now,
    )
    work.session.add(made)
    work.session.flush()
    work.record("budget.set", "budget", made.id, data={"year": year, "amount_fen": amount_fen})
    return made


def set_step(work: Work, cloud_code: str, year: int, amount_fen: int) -> FundingStep:
    """Set what an industry cloud outside unified management may still cost in a year; zero ends its funding.

    Art. 16(3). Who may: as for a budget. Raises Forbidden ``duty.missing``, NotFound ``sub_cloud.unknown``, Invalid
    ``funding_step.cloud`` (not such a cloud) and ``funding_step.amount``.
    """
    _check_may(work)
    cloud = work.session.query(SubCloud).filter_by(code=cloud_code).one_or_none()
    if cloud is None:
        raise NotFound("sub_cloud.unknown")
    problems = []
    if cloud.tier != "industry" or cloud.unified_management:
        problems.append(Problem("funding_step.cloud", "cloud", article="Art. 16(3)"))
    if amount_fen < 0:
        problems.append(Problem("funding_step.amount", "amount_fen"))
    if problems:
        raise Invalid(problems)
    version = work.session.execute(_NEXT_STEP, {"sub_cloud_id": cloud.id, "year": year}).scalar_one()
    made = FundingStep(
        id=new_id(),
        sub_cloud_id=cloud.id,
        year=year,
        version=version,
        amount_fen=amount_fen,
        set_by=work.actor.account_id,
        set_at=work.now,
    )
    work.session.add(made)
    work.session.flush()
    work.record("funding_step.set", "funding_step", made.id, data={"year": year, "amount_fen": amount_fen})
    return made


def steps(session: Session) -> Sequence[Row[Any]]:
    """What each such cloud may cost, by year: the newest figures (``code, name, year, amount_fen``)."""
    return session.execute(_STEPS).all()


def states(session: Session, year: int) -> tuple[BudgetState, ...]:
    """Each budget of a year with what closed months have used of it and what the year would end with at that pace."""
    return tuple(_state(row) for row in session.execute(_STATES, {"year": year}))


def notice(work: Work, year: int) -> None:
    """Tell the finance of every payer that has used up 80 % or 100 % of its budget, once for each."""
    for state in states(work.session, year):
        for percent in STEPS:
            if state.spent_fen * 100 < state.amount_fen * percent:
                continue
            values = {"budget_id": state.id, "percent": percent, "spent_fen": state.spent_fen}
            if work.session.execute(_NOTE, values).one_or_none() is not None:
                audience = (state.payer_unit_id, Role.FINANCE)
                notify.tell_role(work, audience, "budget.used", ("budget", state.id), percent=percent, year=year)


def _check_may(work: Work) -> None:
    if not work.actor.roles & {Role.ADMINISTRATOR, Role.SYSTEM} and not (
        access.scope(work.session, work.actor, work.now).whole_region
    ):
        raise Forbidden("duty.missing", role=Role.FINANCE.value)


def _state(row: Row[Any]) -> BudgetState:
    # An even pace over the months that are closed; a month without a statement counts as not yet closed.
    forecast = row.spent_fen * 12 // row.months if row.months else 0
    return BudgetState(row.id, row.payer_unit_id, row.year, row.amount_fen, row.spent_fen, row.months, forecast)
