"""Adjustments of closed lines by finance: the list, proposing one at a line, confirming or dropping it.

Called by: browsers. Must not: decide who may (the service does).
"""

from __future__ import annotations

from uuid import UUID

from fastapi.responses import HTMLResponse, Response

from api.console import show
from api.console.chargeback import WORDS, tabs
from api.console.disputes import fen_of, line_number
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.paging import Page, Paged
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from broker.chargeback import adjustments
from broker.errors import BrokerError
from broker.tenancy import people
from broker.tenancy.work import Work

router = console_router("账单")


@router.get("/adjustments", openapi_extra=needs(Permission.STATEMENT_READ))
def listing(uow: Uow, paged: Paged) -> Response:
    """账单调整。"""
    return _list(uow, paged)


@router.get("/lines/{line_id}/adjustment", openapi_extra=needs(Permission.ADJUSTMENT_DECIDE))
def ask(line_id: str, uow: Uow) -> Response:
    """提出调整。"""
    return _form(uow, line_id)


@router.post("/lines/{line_id}/adjustment", openapi_extra=needs(Permission.ADJUSTMENT_DECIDE))
def propose(line_id: str, form: Form, uow: Uow) -> Response:
    """提交调整。"""
    amount, reason = text_of(form, "amount"), text_of(form, "reason")
    return act(
        uow,
        lambda work: adjustments.propose(work, line_number(line_id), fen_of(amount), reason),
        then=lambda _: go("/adjustments", done="adjustment_proposed"),
        instead=lambda error: _form(uow, line_id, error, {"amount": amount, "reason": reason}),
    )


@router.post("/adjustments/{adjustment_id}/confirm", openapi_extra=needs(Permission.ADJUSTMENT_DECIDE))
def confirm(adjustment_id: UUID, uow: Uow, paged: Paged) -> Response:
    """确认调整。"""
    return act(
        uow,
        lambda work: adjustments.confirm(work, adjustment_id),
        then=lambda _: go("/adjustments", done="adjustment_confirmed"),
        instead=lambda error: _list(uow, paged, error),
    )


@router.post("/adjustments/{adjustment_id}/drop", openapi_extra=needs(Permission.ADJUSTMENT_DECIDE))
def drop(adjustment_id: UUID, form: Form, uow: Uow, paged: Paged) -> Response:
    """撤回或不同意。"""
    reason = text_of(form, "reason")
    return act(
        uow,
        lambda work: adjustments.drop(work, adjustment_id, reason),
        then=lambda _: go("/adjustments", done="adjustment_dropped"),
        instead=lambda error: _list(uow, paged, error),
    )


def _list(uow: UnitOfWork, paged: Page, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        rows = adjustments.listing(work, before=paged.after, limit=paged.fetch)
        shown = paged.render(rows, lambda row: row, lambda row: row.id)
        return WORDS | {
            "tabs": tabs(work),
            "rows": [(row, adjustments.may_confirm(work, row)) for row in shown["data"]],
            "named": people.named(work.session, [who for row in rows for who in (row.proposed_by, row.decided_by)]),
            "may": adjustments.may_propose(work),
            "next": shown["next"],
            "paged": paged.after is not None,
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "chargeback/adjustments.html", collect, status=error.status if error else 200)


def _form(
    uow: UnitOfWork, line_id: str, error: BrokerError | None = None, given: dict[str, str] | None = None
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        statement_id, line = adjustments.line_to_adjust(work, line_number(line_id))
        return WORDS | {
            "line": line,
            "statement_id": statement_id,
            "given": given or {"amount": "", "reason": ""},
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "chargeback/adjustment_form.html", collect, status=error.status if error else 200)
