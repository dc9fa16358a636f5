"""Statements: the list, one with its sums and lines, its files, drawing a month's. Closing one: ``console.months``.

Called by: browsers. Must not: compute an amount.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi.responses import HTMLResponse, Response

from api import formats
from api.console import show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.documents import files
from api.documents import statement as document
from api.paging import Paged
from api.permissions import Permission, allowed, needs
from api.texts import money
from api.uow import UnitOfWork, Uow
from broker.chargeback import adjustments, closing, disputes, overviews, service
from broker.chargeback import statements as readers
from broker.chargeback.views import Axis, Standing
from broker.errors import BrokerError, Invalid, Problem
from broker.pricing.months import Month
from broker.tenancy.work import Work

router = console_router("账单")

PAGE_LINES = 100
TAB_URLS = {
    "statements": "/statements",
    "payers": "/payers",
    "industry": "/industry-clouds",
    "budgets": "/budgets",
    "settlements": "/settlements",
    "disputes": "/disputes",
    "adjustments": "/adjustments",
    "months": "/months",
}
WORDS: Context = {"axes": tuple(Axis), "money": money, "document": document, "shown": 12}
"""What the templates of statements need beside the values."""


@router.get("/statements", openapi_extra=needs(Permission.STATEMENT_READ))
def statements(uow: Uow, paged: Paged, month: str = "") -> Response:
    """账单列表。"""
    return _list(uow, paged, month)


@router.post("/statements", openapi_extra=needs(Permission.STATEMENT_DRAW))
def draw(form: Form, uow: Uow, paged: Paged) -> Response:
    """生成一个月的账单。"""
    month = text_of(form, "month")
    return act(
        uow,
        lambda work: closing.issue(work, month_of(month)),
        then=lambda _: go(f"/statements?month={month_of(month)}", done="issued"),
        instead=lambda error: _list(uow, paged, "", error),
    )


@router.get("/statements/{statement_id}", openapi_extra=needs(Permission.STATEMENT_READ))
def statement(statement_id: UUID, uow: Uow, after: int | None = None) -> Response:
    """账单：汇总与明细。"""

    def collect(work: Work) -> Context:
        summary = readers.summary(work.session, statement_id, actor=work.actor, now=work.now)
        lines = readers.lines(
            work.session, statement_id, actor=work.actor, now=work.now, after=after, limit=PAGE_LINES + 1
        )
        return WORDS | {
            "head": summary.head,
            "summary": summary,
            "lines": lines[:PAGE_LINES],
            "next": lines[PAGE_LINES - 1].id if len(lines) > PAGE_LINES else None,
            "paged": after is not None,
            "may_object": summary.standing is Standing.CLOSED and disputes.may_object(work, summary.head.payer_unit_id),
            "may_adjust": summary.standing is Standing.CLOSED and adjustments.may_propose(work),
        }

    return page(uow, "chargeback/statement.html", collect)


@router.get("/statements/{statement_id}/file/{form}", openapi_extra=needs(Permission.STATEMENT_READ))
def statement_file(statement_id: UUID, form: str, uow: Uow) -> Response:
    """账单文件。"""
    return files.send_statement(uow, statement_id, form)


def tabs(work: Work) -> list[tuple[str, str, str]]:
    """The pages about money that somebody may open: name, address, title."""
    reads = allowed(work.actor, Permission.STATEMENT_READ)
    shown = {
        "statements": reads,
        "payers": reads,
        "industry": reads and overviews.may_see_bureau(work),
        "budgets": reads,
        "settlements": overviews.sees_settlements(work),
        "disputes": reads,
        "adjustments": reads,
        "months": allowed(work.actor, Permission.MONTH_READ) and closing.may_read(work),
    }
    return [(name, TAB_URLS[name], money.TABS[name]) for name, see in shown.items() if see]


def _list(uow: UnitOfWork, paged: Any, month: str, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        rows = service.list_statements(
            work.session,
            work.actor,
            now=work.now,
            month=month_of(month) if month else None,
            before=paged.after,
            limit=paged.fetch,
        )
        shown = paged.render(rows, lambda row: row, lambda row: row.id)
        return {
            "tabs": tabs(work),
            "rows": shown["data"],
            "next": shown["next"],
            "paged": paged.after is not None,
            "month": month,
            "this_month": _this_month(work.now),
            "may_draw": closing.may_close(work),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "chargeback/statements.html", collect, status=error.status if error else 200)


def _this_month(now: datetime) -> str:
    return now.astimezone(formats.LOCAL).strftime("%Y-%m")


def month_of(text: str) -> Month:
    """What a form calls a month. Raises Invalid ``month.invalid``."""
    try:
        return Month.parse(text)
    except ValueError as error:
        raise Invalid([Problem("month.invalid", "month")]) from error
