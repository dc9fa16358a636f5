"""Budgets with the year's forecast, and what industry clouds may still cost: a page with a picture and two forms.

Called by: browsers. Must not: compute an amount, or decide who may set one (the service does).
"""

from __future__ import annotations

from uuid import UUID

from fastapi.responses import HTMLResponse, JSONResponse, Response

from api.console import show
from api.console.chargeback import WORDS, tabs
from api.console.disputes import fen_of
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.permissions import Permission, needs
from api.texts import dedicated, money
from api.uow import UnitOfWork, Uow
from broker.chargeback import budgets, overviews
from broker.dedicated import stops
from broker.errors import BrokerError, Invalid, Problem
from broker.pricing.months import Month
from broker.tenancy.work import Work

router = console_router("账单")


@router.get("/budgets", openapi_extra=needs(Permission.STATEMENT_READ))
def listing(uow: Uow, year: str = "") -> Response:
    """预算与全年预计。"""
    return _show(uow, year)


@router.get("/budgets/chart", openapi_extra=needs(Permission.STATEMENT_READ))
def chart(uow: Uow, year: str = "") -> Response:
    """预算、已用与全年预计（图表数据）。"""

    def collect(work: Work) -> Context:
        found = budgets.seen(work, _year(work, year))
        series = [(money.BUDGET, [one.amount_fen for one in found]), (money.SPENT, [one.spent_fen for one in found])]
        expected = [one.forecast_fen for one in found if one.forecast_fen is not None]
        if len(expected) == len(found):
            series.append((money.FORECAST, expected))
        shown = [{"name": name, "data": data, "stack": ""} for name, data in series]
        return {"kind": "rows", "names": [one.name for one in found], "series": shown}

    return JSONResponse(uow.look(collect))


@router.post("/budgets", openapi_extra=needs(Permission.BUDGET_SET))
def set_budget(form: Form, uow: Uow) -> Response:
    """设定一个付费单位的预算。"""
    year, payer, amount = text_of(form, "year"), text_of(form, "payer"), text_of(form, "amount")
    return act(
        uow,
        lambda work: budgets.set_budget(work, _unit(payer), _year(work, year), fen_of(amount) or 0),
        then=lambda _: go(f"/budgets?year={year}", done="budget_set"),
        instead=lambda error: _show(uow, year, error, {"payer": payer, "amount": amount}),
    )


@router.post("/funding-steps", openapi_extra=needs(Permission.BUDGET_SET))
def set_step(form: Form, uow: Uow) -> Response:
    """设定一个行业云的年度上限。"""
    year, cloud, amount = text_of(form, "year"), text_of(form, "cloud"), text_of(form, "amount")

    def run(work: Work) -> None:
        fen = fen_of(amount)
        if fen is None:
            raise Invalid([Problem("funding_step.amount", "amount_fen")])
        budgets.set_step(work, cloud, _year(work, year), fen)

    return act(
        uow,
        run,
        then=lambda _: go(f"/budgets?year={year}", done="step_set"),
        instead=lambda error: _show(uow, year, error, {"cloud": cloud, "ceiling": amount}),
    )


def _show(
    uow: UnitOfWork, year: str, error: BrokerError | None = None, given: dict[str, str] | None = None
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        chosen = _year(work, year) if error is None or year.isdigit() else _year(work, "")
        months = overviews.months(work)
        paying = overviews.payers(work, months[0]).payers if months else ()
        bureau = overviews.may_see_bureau(work)
        return WORDS | {
            "tabs": tabs(work),
            "year": chosen,
            "rows": budgets.seen(work, chosen),
            "payers": paying,
            "steps": budgets.steps_seen(work) if bureau else (),
            "clouds": budgets.clouds_outside(work) if bureau else (),
            "bureau": bureau,
            "may_set": budgets.may_set(work),
            "stops": stops.standing(work),
            "texts": dedicated,
            "given": {"payer": "", "amount": "", "cloud": "", "ceiling": ""} | (given or {}),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "chargeback/budgets.html", collect, status=error.status if error else 200)


def _unit(text: str) -> UUID:
    """Raises Invalid ``budget.payer``."""
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid([Problem("budget.payer", "payer")]) from error


def _year(work: Work, text: str) -> int:
    """The year asked for, else this one. Raises Invalid ``year.invalid``."""
    if not text:
        return Month.of(work.now).year
    if not (text.isascii() and text.isdigit() and 2000 <= int(text[:5]) <= 2999):
        raise Invalid([Problem("year.invalid", "year")])
    return int(text)
