"""Statements explained, their files, months as FOCUS, overviews, settlements and disputes over HTTP.

Called by: finance and audit, and their programs. Must not: compute an amount.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from api.documents import files
from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas.chargeback import (
    Answer,
    Dispute,
    DisputePage,
    Industry,
    IndustryCloud,
    Line,
    LinePage,
    MonthTotal,
    NewDispute,
    Payers,
    PayerTotal,
    Settlement,
    SettlementHead,
    SettlementLine,
    Summary,
)
from api.uow import Uow
from broker.chargeback import disputes, overviews, statements
from broker.chargeback.views import BureauOverview, SettlementRow, SettlementView
from broker.pricing.months import Month
from broker.tenancy.work import Work

WhichMonth = Annotated[str, Query(description="月份，如 2026-03；缺省为最近有账单的月份")]

router = APIRouter(prefix="/api/v1", tags=["账单、通知与审计"])


@router.get(
    "/statements/{statement_id}/summary",
    response_model=Summary,
    summary="账单汇总与上月对比",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def summary(statement_id: UUID, uow: Uow) -> Response:
    """按信息系统、资源类别、云平台、使用单位、付费规则汇总，各列合计均等于账单总额。"""
    return uow.read(
        lambda work: statements.summary(work.session, statement_id, actor=work.actor, now=work.now),
        render=Summary.model_validate,
    )


@router.get(
    "/statements/{statement_id}/lines",
    response_model=LinePage,
    summary="账单明细（分页）",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def lines(
    statement_id: UUID,
    uow: Uow,
    *,
    after: Annotated[int | None, Query(description="上一页最后一行的 id")] = None,
    limit: Annotated[int, Query(ge=1, le=statements.MOST_LINES, description="每页行数")] = 100,
) -> Response:
    """每行注明价目版本、付费规则与依据；依据为空的是自定规则。"""

    def read(work: Work) -> Any:
        found = statements.lines(work.session, statement_id, actor=work.actor, now=work.now, after=after, limit=limit)
        return LinePage(
            data=[Line.model_validate(line) for line in found], next=found[-1].id if len(found) == limit else None
        )

    return uow.read(read, render=lambda found: found)


@router.get(
    "/statements/{statement_id}/file",
    response_class=FileResponse,
    summary="账单文件",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def statement_file(
    statement_id: UUID, uow: Uow, *, form: Annotated[str, Query(description="csv、xlsx 或 pdf")] = "xlsx"
) -> Response:
    """金额以元为单位，两位小数，精确到分。"""
    return files.send_statement(uow, statement_id, form)


@router.get(
    "/focus/{month}",
    response_class=FileResponse,
    summary="FOCUS 1.2 费用数据",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def focus(
    month: str,
    uow: Uow,
    *,
    form: Annotated[str, Query(description="csv 或 parquet")] = "csv",
    ascii_only: Annotated[bool, Query(description="以代码代替中文名称")] = False,
) -> Response:
    """可查看的全部付费单位，每个付费单位一个账单账户（BillingAccount）。"""
    return files.send_focus(uow, month, form, ascii_only=ascii_only)


@router.get("/payers", response_model=Payers, summary="各付费单位应付", openapi_extra=needs(Permission.STATEMENT_READ))
def payers(
    uow: Uow, *, month: Annotated[str, Query(description="月份，如 2026-03；缺省为最近有账单的月份")] = ""
) -> Response:
    """可查看的各付费单位本月与上月应付，以及近十二个月走势。"""

    def render(found: overviews.PayersOverview) -> Payers:
        return Payers(
            month=str(found.month),
            total_fen=found.total_fen,
            before_fen=found.before_fen,
            payers=[PayerTotal.model_validate(row) for row in found.payers],
            trend=[
                MonthTotal(payer_unit_id=p.payer_unit_id, month=str(p.month), total_fen=p.total_fen)
                for p in found.trend
            ],
        )

    return uow.read(lambda work: overviews.payers(work, _month(work, month)), render=render)


def _month(work: Work, text: str) -> Month:
    """The month asked for, else the newest with statements."""
    return files.month_of(text) if text else next(iter(overviews.months(work)), Month.of(work.now))


@router.get(
    "/industry-clouds", response_model=Industry, summary="行业云费用", openapi_extra=needs(Permission.STATEMENT_READ)
)
def industry(
    uow: Uow, *, month: Annotated[str, Query(description="月份，如 2026-03；缺省为最近有账单的月份")] = ""
) -> Response:
    """自治区财政、大数据发展局、审计可查看；未纳入统一管理的附逐年上限（《实施细则》第十六条第（三）项）。"""

    def render(found: BureauOverview) -> Industry:
        return Industry(
            month=str(found.month),
            main_by_month=list(found.main_by_month),
            clouds=[
                IndustryCloud(
                    sub_cloud_id=c.sub_cloud_id,
                    name=c.name,
                    operator=c.operator,
                    unified=c.unified,
                    payers=list(c.payers),
                    month_fen=c.month_fen,
                    before_fen=c.before_fen,
                    spent_fen=c.spent_fen,
                    ceilings=dict(c.steps),
                    by_month=list(c.by_month),
                )
                for c in found.clouds
            ],
        )

    return uow.read(lambda work: overviews.bureau(work, _month(work, month)), render=render)


@router.get(
    "/settlements",
    response_model=list[SettlementHead],
    summary="运营方结算",
    openapi_extra=needs(Permission.SETTLEMENT_READ),
)
def settlements(uow: Uow, *, month: Annotated[str, Query(description="月份，如 2026-03")] = "") -> Response:
    """已关账月份应付运营方的费用，新的在前（《实施细则》第十五条）；运营方人员只看到本运营方的。"""
    return uow.read(
        lambda work: overviews.settlements(work, files.month_of(month) if month else None),
        render=lambda rows: [_settlement(row) for row in rows],
    )


@router.get(
    "/settlements/{settlement_id}",
    response_model=Settlement,
    summary="一份结算单",
    openapi_extra=needs(Permission.SETTLEMENT_READ),
)
def settlement(settlement_id: UUID, uow: Uow) -> Response:
    """总额等于各行之和。"""

    def render(found: SettlementView) -> Settlement:
        lines = [SettlementLine.model_validate(line) for line in found.lines]
        return Settlement(**_settlement(found.head).model_dump(), lines=lines)

    return uow.read(lambda work: overviews.settlement(work, settlement_id), render=render)


def _settlement(row: SettlementRow) -> SettlementHead:
    return SettlementHead(
        id=row.id,
        month=str(row.month),
        version=row.version,
        operator=row.operator,
        total_fen=row.total_fen,
        reopened=row.reopened,
        priced=row.priced,
    )


@router.get("/disputes", response_model=DisputePage, summary="账单异议", openapi_extra=needs(Permission.STATEMENT_READ))
def list_disputes(
    uow: Uow, page: Paged, *, only_open: Annotated[bool, Query(description="只看待答复")] = False
) -> Response:
    """新的在前。"""

    def read(work: Work) -> Any:
        rows = disputes.listing(work, before=page.after, only_open=only_open, limit=page.fetch)
        return page.render(rows, Dispute.model_validate, lambda row: row.id)

    return uow.read(read, render=lambda found: found)


@router.post(
    "/disputes",
    status_code=201,
    response_model=Dispute,
    summary="提出异议",
    openapi_extra=needs(Permission.DISPUTE_RAISE),
)
def raise_dispute(form: NewDispute, uow: Uow) -> Response:
    """付费主体的财政人员对已关账账单的一行提出异议。"""

    def run(work: Work) -> Any:
        made = disputes.object_to(work, form.statement_id, form.charge_id, form.reason)
        return disputes.one(work, made)[0]

    return uow.run(run, render=Dispute.model_validate, status=201)


@router.get(
    "/disputes/{dispute_id}", response_model=Dispute, summary="一项异议", openapi_extra=needs(Permission.STATEMENT_READ)
)
def dispute(dispute_id: UUID, uow: Uow) -> Response:
    """异议、答复与调整金额。"""
    return uow.read(lambda work: disputes.one(work, dispute_id)[0], render=Dispute.model_validate)


@router.post(
    "/disputes/{dispute_id}/answer",
    response_model=Dispute,
    summary="答复异议",
    openapi_extra=needs(Permission.DISPUTE_ANSWER),
)
def answer(dispute_id: UUID, form: Answer, uow: Uow) -> Response:
    """自治区财政答复；提出异议的本人不能答复。接受的，差额计入下一个关账月份。"""

    def run(work: Work) -> Any:
        if form.decision == disputes.ACCEPTED:
            disputes.accept(work, dispute_id, form.reason, form.amount_fen)
        else:
            disputes.reject(work, dispute_id, form.reason)
        return disputes.one(work, dispute_id)[0]

    return uow.run(run, render=Dispute.model_validate)
