"""Budgets of payers with the year's forecast, and ceilings of industry clouds, over HTTP.

Called by: finance, and its programs. Must not: compute an amount, or decide who may.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.permissions import Permission, needs
from api.schemas.budgets import Budget, FundingStep, NewBudget, NewFundingStep
from api.uow import Uow
from broker.chargeback import budgets
from broker.pricing.months import Month
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["账单、通知与审计"])

InYear = Annotated[int | None, Query(ge=2000, le=2999, description="年度；缺省为今年")]


@router.get(
    "/budgets",
    response_model=list[Budget],
    summary="年度预算与全年预计",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def listing(uow: Uow, year: InYear = None) -> Response:
    """可查看的各付费单位：预算、已关账月份已用、全年预计（已关账月份实数，未关账月份计至月末，以后各月按现有资源和届时价格）。"""
    return uow.read(
        lambda work: budgets.seen(work, year or Month.of(work.now).year),
        render=lambda found: [Budget.model_validate(one) for one in found],
    )


@router.post(
    "/budgets",
    status_code=201,
    response_model=Budget,
    summary="设定预算",
    openapi_extra=needs(Permission.BUDGET_SET),
)
def set_budget(form: NewBudget, uow: Uow) -> Response:
    """自治区财政设定；旧数额留存，提醒按新数额重新计算。"""

    def run(work: Work) -> Any:
        made = budgets.set_budget(work, form.payer_unit_id, form.year, form.amount_fen)
        return next(one for one in budgets.seen(work, form.year) if one.id == made.id)

    return uow.run(run, render=Budget.model_validate, status=201)


@router.get(
    "/funding-steps",
    response_model=list[FundingStep],
    summary="行业云逐年上限",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def steps(uow: Uow) -> Response:
    """未纳入统一管理的行业云（《实施细则》第十六条第（三）项）；自治区财政、大数据发展局、审计可查看。"""
    return uow.read(budgets.steps_seen, render=lambda rows: [FundingStep.model_validate(row) for row in rows])


@router.post(
    "/funding-steps",
    status_code=201,
    response_model=FundingStep,
    summary="设定行业云上限",
    openapi_extra=needs(Permission.BUDGET_SET),
)
def set_step(form: NewFundingStep, uow: Uow) -> Response:
    """只用于未纳入统一管理的行业云；零表示不再安排。"""

    def run(work: Work) -> Any:
        budgets.set_step(work, form.cloud, form.year, form.amount_fen)
        found = budgets.steps(work.session)
        return next(one for one in found if (one.code, one.year) == (form.cloud, form.year))

    return uow.run(run, render=FundingStep.model_validate, status=201)
