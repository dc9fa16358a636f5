"""Adjustments of closed lines by finance, over HTTP: one proposes, another confirms.

Called by: finance, and its programs. Must not: decide who may.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas.adjustments import Adjustment, AdjustmentPage, DropAdjustment, NewAdjustment
from api.uow import Uow
from broker.chargeback import adjustments
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["账单、通知与审计"])


@router.get(
    "/adjustments",
    response_model=AdjustmentPage,
    summary="账单调整",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def listing(uow: Uow, page: Paged, *, only_open: Annotated[bool, Query(description="只看待确认")] = False) -> Response:
    """可查看的付费单位的调整，新的在前。"""

    def read(work: Work) -> Any:
        rows = adjustments.listing(work, before=page.after, only_open=only_open, limit=page.fetch)
        return page.render(rows, Adjustment.model_validate, lambda row: row.id)

    return uow.read(read, render=lambda found: found)


@router.get(
    "/adjustments/{adjustment_id}",
    response_model=Adjustment,
    summary="一项调整",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def one(adjustment_id: UUID, uow: Uow) -> Response:
    """提出、确认与入账月份。"""
    return uow.read(lambda work: adjustments.one(work, adjustment_id), render=Adjustment.model_validate)


@router.post(
    "/adjustments",
    status_code=201,
    response_model=Adjustment,
    summary="提出调整",
    openapi_extra=needs(Permission.ADJUSTMENT_DECIDE),
)
def propose(form: NewAdjustment, uow: Uow) -> Response:
    """自治区财政对已关账账单的一行提出更正，由另一人确认后计入下一个关账月份；原账单不变。"""

    def run(work: Work) -> Any:
        return adjustments.one(work, adjustments.propose(work, form.charge_id, form.amount_fen, form.reason))

    return uow.run(run, render=Adjustment.model_validate, status=201)


@router.post(
    "/adjustments/{adjustment_id}/confirmation",
    response_model=Adjustment,
    summary="确认调整",
    openapi_extra=needs(Permission.ADJUSTMENT_DECIDE),
)
def confirm(adjustment_id: UUID, uow: Uow) -> Response:
    """提出人以外的另一人；确认后只能以另一项调整冲回。"""

    def run(work: Work) -> Any:
        adjustments.confirm(work, adjustment_id)
        return adjustments.one(work, adjustment_id)

    return uow.run(run, render=Adjustment.model_validate)


@router.post(
    "/adjustments/{adjustment_id}/drop",
    response_model=Adjustment,
    summary="撤回或不同意调整",
    openapi_extra=needs(Permission.ADJUSTMENT_DECIDE),
)
def drop(adjustment_id: UUID, form: DropAdjustment, uow: Uow) -> Response:
    """提出人撤回，或另一人不同意；写明理由。"""

    def run(work: Work) -> Any:
        adjustments.drop(work, adjustment_id, form.reason)
        return adjustments.one(work, adjustment_id)

    return uow.run(run, render=Adjustment.model_validate)
