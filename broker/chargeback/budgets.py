"""Budgets of a payer and year: what is spent, what the year will end with, and who is told at 80 % and 100 %.

Called by: ``chargeback.closing`` (after each close), the API, the console. Must not: stop a bill: a budget only tells.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from broker.chargeback.models import Budget
from broker.chargeback.values import BudgetState
from broker.db.base import new_id
from broker.errors import Invalid, Problem
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


def set_budget(work: Work, payer_unit_id: UUID, year: int, amount_fen: int) -> Budget:
    """Set what a payer may spend in a year; an earlier figure stays on record. The caller has checked who may."""
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


def _state(row: Row[Any]) -> BudgetState:
    # An even pace over the months that are closed; a month without a statement counts as not yet closed.
    forecast = row.spent_fen * 12 // row.months if row.months else 0
    return BudgetState(row.id, row.payer_unit_id, row.year, row.amount_fen, row.spent_fen, row.months, forecast)
