"""Statements: the list, one with its lines, drawing a month's.

Called by: browsers. Must not: compute an amount.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi.responses import HTMLResponse, Response

from api.console import show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.paging import Paged
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from broker.chargeback import closing, service
from broker.errors import BrokerError, Invalid, Problem
from broker.pricing.months import Month
from broker.tenancy.work import Work

router = console_router("账单")


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
        lambda work: closing.issue(work, _month(month)),
        then=lambda _: go(f"/statements?month={_month(month)}", done="issued"),
        instead=lambda error: _list(uow, paged, "", error),
    )


@router.get("/statements/{statement_id}", openapi_extra=needs(Permission.STATEMENT_READ))
def statement(statement_id: UUID, uow: Uow) -> Response:
    """账单明细。"""

    def collect(work: Work) -> Context:
        view = service.statement(work.session, statement_id, actor=work.actor, now=work.now)
        return {
            "head": view.head,
            "lines": view.lines,
            "by_cloud": _sums(view.lines, "sub_cloud_name"),
            "by_meter": _sums(view.lines, "meter"),
        }

    return page(uow, "chargeback/statement.html", collect)


def _list(uow: UnitOfWork, paged: Any, month: str, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        rows = service.list_statements(
            work.session,
            work.actor,
            now=work.now,
            month=_month(month) if month else None,
            before=paged.after,
            limit=paged.fetch,
        )
        shown = paged.render(rows, lambda row: row, lambda row: row.id)
        return {
            "rows": shown["data"],
            "next": shown["next"],
            "paged": paged.after is not None,
            "month": month,
            "this_month": _this_month(work.now),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "chargeback/statements.html", collect, status=error.status if error else 200)


def _this_month(now: datetime) -> str:
    return now.astimezone(show.LOCAL).strftime("%Y-%m")


def _month(text: str) -> Month:
    """Raises Invalid ``month.invalid``."""
    try:
        return Month.parse(text)
    except ValueError as error:
        raise Invalid([Problem("month.invalid", "month")]) from error


def _sums(lines: Iterable[Any], name: str) -> list[tuple[str, int]]:
    """Fen by one of the lines' columns, the largest first."""
    out: dict[str, int] = {}
    for line in lines:
        out[getattr(line, name)] = out.get(getattr(line, name), 0) + line.amount_fen
    return sorted(out.items(), key=lambda pair: -pair[1])
