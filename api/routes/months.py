"""A month before it is closed, over HTTP: what a close would freeze, and what stops it.

Called by: those who keep the region's books, and their programs. Must not: compute an amount.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from api.documents import files
from api.permissions import Permission, needs
from api.schemas.months import MonthPreview
from api.uow import Uow
from broker.chargeback import closing

router = APIRouter(prefix="/api/v1", tags=["账单、通知与审计"])


@router.get(
    "/billing-months/{month}/preview",
    response_model=MonthPreview,
    summary="关账试算",
    openapi_extra=needs(Permission.MONTH_CLOSE),
)
def preview_month(month: str, uow: Uow) -> Response:
    """关账到此刻会得出的合计，以及不能计费或结算、使其不能关账的项目（至多一万项，problems_total 为总数）；不写入。"""
    found = uow.trial(lambda work: MonthPreview.of(closing.preview(work, files.month_of(month))))
    return JSONResponse(found.model_dump(mode="json"))


@router.get(
    "/billing-months/{month}/obstacles",
    response_class=FileResponse,
    summary="使月份不能关账的项目（CSV）",
    openapi_extra=needs(Permission.MONTH_CLOSE),
)
def obstacles(month: str, uow: Uow) -> Response:
    """一行一项：代码、资源、计量项、付费主体、金额、账单行与说明；没有时只有表头。"""
    return files.send_obstacles(uow, month)
