"""Statements, notices and the audit log over HTTP.

Called by: finance, audit, and everybody for their own inbox. Must not: compute an amount, or change an event.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.console import show
from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas.base import View
from api.schemas.registers import (
    AskToReopen,
    AuditEvent,
    AuditHead,
    BillingMonth,
    Charge,
    ClosedMonth,
    Cost,
    IssuedStatement,
    NewStatements,
    Notice,
    ReadNotices,
    Reopening,
    Statement,
    StatementHead,
)
from api.uow import Uow
from broker.audit import repository as audit
from broker.audit import seal
from broker.chargeback import closing
from broker.chargeback import service as chargeback
from broker.chargeback.values import CostToDate, StatementView
from broker.db.base import AnyRow
from broker.errors import Invalid, Problem
from broker.notify import service as notify
from broker.pricing.months import Month
from broker.request import repository as requests
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["账单、通知与审计"])


class StatementPage(View):
    """A page of statements."""

    data: list[StatementHead]
    next: str | None


class NoticePage(View):
    """A page of notices."""

    data: list[Notice]
    next: str | None


class AuditPage(View):
    """A page of audit events."""

    data: list[AuditEvent]
    next: str | None


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise Invalid([Problem("month.invalid", "month")]) from error


@router.get("/statements", response_model=StatementPage, summary="账单", openapi_extra=needs(Permission.STATEMENT_READ))
def statements(
    uow: Uow,
    page: Paged,
    *,
    month: Annotated[str, Query(description="月份，如 2026-03")] = "",
    payer: Annotated[UUID | None, Query(description="付费单位")] = None,
    every_version: Annotated[bool, Query(description="包括已被更正的版本")] = False,
) -> Response:
    """新的在前。"""

    def read(work: Work) -> Any:
        rows = chargeback.list_statements(
            work.session,
            work.actor,
            now=work.now,
            month=_month(month) if month else None,
            payer_unit_id=payer,
            only_latest=not every_version,
            before=page.after,
            limit=page.fetch,
        )
        return page.render(rows, StatementHead.model_validate, lambda row: row.id)

    return uow.read(read, render=lambda found: found)


@router.post(
    "/statements",
    status_code=201,
    response_model=list[IssuedStatement],
    summary="出账",
    openapi_extra=needs(Permission.STATEMENT_DRAW),
)
def issue(form: NewStatements, uow: Uow) -> Response:
    """为该月每个付费单位出一份账单；重复出账产生新的版本。"""
    return uow.run(
        lambda work: closing.issue(work, _month(form.month)),
        render=lambda rows: [IssuedStatement.model_validate(row) for row in rows],
        status=201,
    )


@router.get(
    "/statements/{statement_id}",
    response_model=Statement,
    summary="账单明细",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def statement(statement_id: UUID, uow: Uow) -> Response:
    """金额以分为单位，总额等于各行之和。"""
    return uow.read(
        lambda work: chargeback.statement(work.session, statement_id, actor=work.actor, now=work.now),
        render=_statement,
    )


def _statement(found: StatementView) -> Statement:
    head = StatementHead.model_validate(found.head)
    return Statement(**head.model_dump(), lines=[Charge.model_validate(line) for line in found.lines])


@router.get(
    "/billing-months",
    response_model=list[BillingMonth],
    summary="关账的月份",
    openapi_extra=needs(Permission.STATEMENT_READ),
)
def billing_months(uow: Uow) -> Response:
    """每次关账一条，新的在前；重新打开过的也在其中。"""
    return uow.read(
        closing.closes,
        render=lambda rows: [BillingMonth.model_validate(row) for row in rows],
    )


@router.post(
    "/billing-months/{month}/close",
    response_model=ClosedMonth,
    summary="关账",
    openapi_extra=needs(Permission.MONTH_CLOSE),
)
def close_month(month: str, uow: Uow) -> Response:
    """冻结该月账单并记账；缺价格或付费单位时一律不写。"""
    return uow.run(lambda work: closing.close(work, _month(month)), render=ClosedMonth.model_validate)


@router.post(
    "/billing-months/{month}/reopening",
    response_model=Reopening,
    status_code=201,
    summary="申请重新打开账期",
    openapi_extra=needs(Permission.MONTH_CLOSE),
)
def ask_to_reopen(month: str, form: AskToReopen, uow: Uow) -> Response:
    """写明理由，由另一人同意后生效。"""
    return uow.run(
        lambda work: closing.ask_to_reopen(work, _month(month), form.reason),
        render=Reopening.model_validate,
        status=201,
    )


@router.post(
    "/billing-months/{month}/reopening/agreement",
    response_model=Reopening,
    summary="同意重新打开账期",
    openapi_extra=needs(Permission.MONTH_CLOSE),
)
def agree_to_reopen(month: str, uow: Uow) -> Response:
    """应当与申请人不是同一人；原账单保留，分录冲销。"""
    return uow.run(lambda work: closing.agree_to_reopen(work, _month(month)), render=Reopening.model_validate)


@router.get(
    "/requests/{request_id}/cost",
    response_model=Cost,
    summary="申请的累计费用",
    openapi_extra=needs(Permission.REQUEST_READ),
)
def cost(request_id: UUID, uow: Uow) -> Response:
    """至此刻为止，按现行价目计算。"""

    def read(work: Work) -> CostToDate:
        requests.load(work.session, work.actor, request_id)
        return chargeback.resource_cost_to_date(work.session, request_id, work.now)

    return uow.read(read, render=lambda c: Cost(until=c.until, total_fen=c.total_fen, missing=len(c.gaps)))


@router.get("/notices", response_model=NoticePage, summary="通知", openapi_extra=needs(Permission.SELF))
def notices(uow: Uow, page: Paged, *, unread: Annotated[bool, Query(description="只看未读")] = False) -> Response:
    """本人的通知，新的在前。"""

    def read(work: Work) -> Any:
        rows = notify.inbox(work, limit=page.fetch, before=page.after, unread_only=unread)
        return page.render(rows, _notice, lambda row: row[0].id)

    return uow.read(read, render=lambda found: found)


def _notice(row: AnyRow) -> Notice:
    found = row[0]
    return Notice(
        id=found.id,
        code=found.code,
        message=show.notice(found.code, found.params),
        params=found.params,
        subject_type=found.subject_type,
        subject_id=found.subject_id,
        created_at=found.created_at,
        read=row.read,
    )


@router.post("/notices/read", status_code=204, summary="标为已读", openapi_extra=needs(Permission.SELF))
def mark_read(form: ReadNotices, uow: Uow) -> Response:
    """不是本人的通知不受影响。"""
    return uow.run(lambda work: notify.mark_read(work, form.ids), render=lambda _count: None, status=204)


@router.get("/audit/events", response_model=AuditPage, summary="审计事件", openapi_extra=needs(Permission.AUDIT_READ))
def events(
    uow: Uow,
    page: Paged,
    *,
    request: Annotated[UUID | None, Query(description="申请")] = None,
    subject: Annotated[UUID | None, Query(description="对象")] = None,
    actor: Annotated[UUID | None, Query(description="操作人")] = None,
    action: Annotated[str, Query(max_length=60, description="动作")] = "",
) -> Response:
    """新的在前；`seq` 与 `hash` 为链上的位置，尚未封存时为空。"""

    def read(work: Work) -> Any:
        rows = audit.listing(
            work.session,
            request_id=request,
            subject_id=subject,
            actor_id=actor,
            action=action,
            after=page.after,
            limit=page.fetch,
        )
        return page.render(rows, _event, lambda row: row[0].id)

    return uow.read(read, render=lambda found: found)


_EVENT = tuple(name for name in AuditEvent.model_fields if name not in {"seq", "hash"})


def _event(row: AnyRow) -> AuditEvent:
    return AuditEvent(
        **{name: getattr(row[0], name) for name in _EVENT}, seq=row.seq, hash=row.hash.hex() if row.hash else None
    )


@router.get("/audit/head", response_model=AuditHead, summary="审计链末端", openapi_extra=needs(Permission.AUDIT_READ))
def head(uow: Uow) -> Response:
    """供在库外留存，以便日后核对。"""
    return uow.read(lambda work: seal.head(work.session), render=lambda h: AuditHead(seq=h.seq, hash=h.hash.hex()))
