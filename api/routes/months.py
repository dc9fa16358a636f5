"""A month before it is closed, over HTTP: what a close would freeze, and what stops it.

Called by: those who keep the region's books, who reads everything, and their programs. Must not: compute an amount.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from api.documents import files
from api.permissions import Permission, needs
from api.schemas.months import BooksBeginning, BooksProposal, MonthPreview
from api.schemas.registers import AskToReopen
from api.uow import Uow
from broker.chargeback import beginning, closing

router = APIRouter(prefix="/api/v1", tags=["账单、通知与审计"])


@router.get(
    "/billing-months/{month}/preview",
    response_model=MonthPreview,
    summary="关账试算",
    openapi_extra=needs(Permission.MONTH_READ),
)
def preview_month(month: str, uow: Uow) -> Response:
    """关账到此刻会得出的合计，以及不能计费或结算、使其不能关账的项目（至多一万项，problems_total 为总数）；不写入。"""
    found = uow.trial(lambda work: MonthPreview.of(closing.preview(work, files.month_of(month))))
    return JSONResponse(found.model_dump(mode="json"))


@router.get(
    "/billing-months/{month}/obstacles",
    response_class=FileResponse,
    summary="使月份不能关账的项目（CSV）",
    openapi_extra=needs(Permission.MONTH_READ),
)
def obstacles(month: str, uow: Uow) -> Response:
    """一行一项：代码、资源、计量项、付费主体、金额、账单行与说明；没有时只有表头。"""
    return files.send_obstacles(uow, month)


@router.get(
    "/books-beginning",
    response_model=BooksBeginning,
    summary="账目起始月份",
    openapi_extra=needs(Permission.MONTH_READ),
)
def books_beginning(uow: Uow) -> Response:
    """现在从哪个月开始、是否已经设定，以及等待另一人同意的申请。"""
    return uow.read(beginning.state, render=BooksBeginning.model_validate)


@router.post(
    "/billing-months/{month}/beginning",
    response_model=BooksProposal,
    status_code=201,
    summary="申请设定账目起始月份",
    openapi_extra=needs(Permission.MONTH_CLOSE),
)
def ask_to_begin(month: str, form: AskToReopen, uow: Uow) -> Response:
    """写明理由，由另一人同意后生效；此前的用量不计费。"""
    return uow.run(
        lambda work: beginning.ask(work, files.month_of(month), form.reason),
        render=BooksProposal.model_validate,
        status=201,
    )


@router.post(
    "/billing-months/{month}/beginning/agreement",
    response_model=BooksProposal,
    summary="同意账目起始月份",
    openapi_extra=needs(Permission.MONTH_CLOSE),
)
def agree_to_begin(month: str, uow: Uow) -> Response:
    """应当与申请人不是同一人；只能设定一次，不能改变。"""
    return uow.run(lambda work: beginning.agree(work, files.month_of(month)), render=BooksProposal.model_validate)


@router.post(
    "/billing-months/{month}/beginning/drop",
    response_model=BooksProposal,
    summary="撤回或不同意账目起始月份",
    openapi_extra=needs(Permission.MONTH_CLOSE),
)
def drop_beginning(month: str, uow: Uow) -> Response:
    """申请人撤回，或者另一人不同意。"""
    return uow.run(lambda work: beginning.drop(work, files.month_of(month)), render=BooksProposal.model_validate)
