"""Budgets of a payer and year: what is spent, what the year will end with, and who is told at 80 % and 100 %.

And the step-down: what an industry cloud outside unified management may still cost, year by year (Art. 16(3)).
A budget tells after each close, and when it is set.
Called by: ``chargeback.closing``, the API, the console, ``guiyun bill``. Must not: stop a bill: a budget only tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud
from broker.chargeback import access, forecasts, overviews
from broker.chargeback.models import Budget, FundingStep
from broker.chargeback.values import BudgetState, Forecast, NamedBudget
from broker.db.base import new_id
from broker.errors import Forbidden, Invalid, NotFound, Problem
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.pricing.rules import LIMIT_FEN
from broker.tenancy import repository as tenancy
from broker.tenancy.work import Work

STEPS = (80, 100)
"""Percent of a budget at which its payer's finance is told (ours)."""

PAGE_S = 10
"""How long a page waits for the forecast."""

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
  AND (:everything OR EXISTS (SELECT FROM broker.unit_period p
                              WHERE p.unit_id = b.payer_unit_id AND p.during @> CAST(:now AS timestamptz)
                                AND p.ancestors @> ARRAY[CAST(:root_unit_id AS uuid)]))
ORDER BY b.amount_fen DESC, b.payer_unit_id
""")

_NOTE = text("""
INSERT INTO broker.budget_notice (budget_id, percent, spent_fen) VALUES (:budget_id, :percent, :spent_fen)
ON CONFLICT DO NOTHING RETURNING percent
""")

_NEXT_VERSION = text("""
SELECT coalesce(max(version), 0) + 1 FROM broker.budget WHERE payer_unit_id = :payer_unit_id AND year = :year
""")


_PAYS = text("SELECT EXISTS (SELECT FROM broker.payer WHERE payer_unit_id = :unit_id)")

_OUTSIDE = text("""
SELECT code, name FROM broker.sub_cloud
WHERE tier = 'industry' AND NOT unified_management AND (retired_at IS NULL OR retired_at > :now) ORDER BY position
""")

# Who sets the same figure at the same time waits, and sets the next version.
_ONE_BY_ONE = text("SELECT pg_advisory_xact_lock(hashtext('broker.budget'))")

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
    ``budget.amount`` and ``budget.payer`` (a unit that pays for nothing).
    """
    _check_may(work)
    problems = []
    if not 0 < amount_fen <= LIMIT_FEN:
        problems.append(Problem("budget.amount", "amount_fen"))
    if not work.session.execute(_PAYS, {"unit_id": payer_unit_id}).scalar_one():
        problems.append(Problem("budget.payer", "payer_unit_id"))
    if problems:
        raise Invalid(problems)
    work.session.execute(_ONE_BY_ONE)
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
    notice(work, year)
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
    if not 0 <= amount_fen <= LIMIT_FEN:
        problems.append(Problem("funding_step.amount", "amount_fen"))
    if problems:
        raise Invalid(problems)
    work.session.execute(_ONE_BY_ONE)
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
    """Each budget of a year with what closed months have used of it."""
    wanted = {"year": year, "everything": True, "root_unit_id": None, "now": None}
    return tuple(_state(row) for row in session.execute(_STATES, wanted))


def seen(work: Work, year: int, *, patience_s: int = PAGE_S) -> tuple[NamedBudget, ...]:
    """The budgets of a year that the actor may see: all, or those in the tree of the payer whose finance it is.

    Each with the year's forecast; without it where rating the open months takes longer than a page may.
    """
    scope = access.scope(work.session, work.actor, work.now)
    # A budget is for the payer as a whole: who sees a part of it sees none.
    root = None if scope.part_unit_id else scope.root_unit_id
    wanted = {"everything": scope.sees_region, "root_unit_id": root, "now": work.now}
    found = [_state(row) for row in work.session.execute(_STATES, wanted | {"year": year})]
    called = tenancy.unit_names(work.session, [one.payer_unit_id for one in found], work.now)
    expected = forecasts.of_year(work.session, year, work.now, patience_s=patience_s) if found else {}
    return tuple(
        NamedBudget(
            **asdict(one),
            name=called.get(one.payer_unit_id, ""),
            forecast=None if expected is None else expected.get(one.payer_unit_id, Forecast()),
        )
        for one in found
    )


def steps_seen(work: Work) -> Sequence[Row[Any]]:
    """``steps``, for who arranges and watches what industry clouds cost. Raises Forbidden ``duty.missing``."""
    if not overviews.may_see_bureau(work):
        raise Forbidden("duty.missing", role=Role.FINANCE.value)
    return steps(work.session)


def clouds_outside(work: Work) -> Sequence[Row[Any]]:
    """The industry clouds outside unified management (``code, name``)."""
    return work.session.execute(_OUTSIDE, {"now": work.now}).all()


def may_set(work: Work) -> bool:
    """Whether the actor may set budgets and ceilings."""
    if work.actor.roles & {Role.ADMINISTRATOR, Role.SYSTEM}:
        return True
    return access.scope(work.session, work.actor, work.now).whole_region


def notice(work: Work, year: int) -> None:
    """Tell the finance of every payer that has used up 80 % or 100 % of its budget, once for each.

    Of both at once, it hears of the higher.
    """
    for state in states(work.session, year):
        reached = [percent for percent in STEPS if state.spent_fen * 100 >= state.amount_fen * percent]
        values = {"budget_id": state.id, "spent_fen": state.spent_fen}
        new = [p for p in reached if work.session.execute(_NOTE, values | {"percent": p}).one_or_none() is not None]
        if new:
            _tell(work, state, year, max(new))


def _tell(work: Work, state: BudgetState, year: int, percent: int) -> None:
    payer = tenancy.unit_names(work.session, [state.payer_unit_id], work.now).get(state.payer_unit_id, "")
    fen = {"amount": state.amount_fen, "spent": state.spent_fen}
    amounts = {name: f"{Decimal(each).scaleb(-2):,f}" for name, each in fen.items()}
    for unit_id in access.told_of(work.session, state.payer_unit_id, work.now):
        notify.tell_role(
            work, (unit_id, Role.FINANCE), "budget.used", ("budget", state.id),
            percent=percent, year=year, payer=payer, **amounts,
        )  # fmt: skip


def _check_may(work: Work) -> None:
    if not may_set(work):
        raise Forbidden("duty.missing", role=Role.FINANCE.value)


def _state(row: Row[Any]) -> BudgetState:
    return BudgetState(row.id, row.payer_unit_id, row.year, row.amount_fen, row.spent_fen, row.months)
