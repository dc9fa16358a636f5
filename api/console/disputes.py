"""Disputes: the list, objecting to a line, answering.

Called by: browsers. Must not: decide who may object or answer (the service does).
"""

from __future__ import annotations

import re
from uuid import UUID

from fastapi.responses import HTMLResponse, Response

from api.console import show
from api.console.chargeback import WORDS, tabs
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.paging import Page, Paged
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from broker.chargeback import disputes
from broker.errors import BrokerError, Invalid, NotFound, Problem
from broker.tenancy import people
from broker.tenancy.work import Work

router = console_router("账单")

_YUAN = re.compile(r"([+-]?)([0-9]{1,12})(?:\.([0-9]{1,2}))?")


@router.get("/disputes", openapi_extra=needs(Permission.STATEMENT_READ))
def listing(uow: Uow, paged: Paged) -> Response:
    """账单异议。"""
    return page(uow, "chargeback/disputes.html", lambda work: _list(work, paged))


@router.get("/statements/{statement_id}/lines/{line_id}/dispute", openapi_extra=needs(Permission.DISPUTE_RAISE))
def ask(statement_id: UUID, line_id: str, uow: Uow) -> Response:
    """提出异议。"""
    return _form(uow, statement_id, line_id)


@router.post("/statements/{statement_id}/lines/{line_id}/dispute", openapi_extra=needs(Permission.DISPUTE_RAISE))
def object_to(statement_id: UUID, line_id: str, form: Form, uow: Uow) -> Response:
    """提交异议。"""
    reason = text_of(form, "reason")
    return act(
        uow,
        lambda work: disputes.object_to(work, statement_id, line_number(line_id), reason),
        then=lambda made: go(f"/disputes/{made}", done="disputed"),
        instead=lambda error: _form(uow, statement_id, line_id, error, reason),
    )


@router.get("/disputes/{dispute_id}", openapi_extra=needs(Permission.STATEMENT_READ))
def dispute(dispute_id: UUID, uow: Uow) -> Response:
    """一项异议。"""
    return _show(uow, dispute_id)


@router.post("/disputes/{dispute_id}/answer", openapi_extra=needs(Permission.DISPUTE_ANSWER))
def answer(dispute_id: UUID, form: Form, uow: Uow) -> Response:
    """答复异议。"""
    decision, reason, amount = text_of(form, "decision"), text_of(form, "reason"), text_of(form, "amount")

    def decide(work: Work) -> None:
        if decision == disputes.ACCEPTED:
            disputes.accept(work, dispute_id, reason, fen_of(amount))
        else:
            disputes.reject(work, dispute_id, reason)

    return act(
        uow,
        decide,
        then=lambda _: go(f"/disputes/{dispute_id}", done=f"dispute_{decision or disputes.REJECTED}"),
        instead=lambda error: _show(uow, dispute_id, error, {"decision": decision, "reason": reason, "amount": amount}),
    )


def line_number(text: str) -> int:
    """A line's number in an address. Raises NotFound ``statement.line_unknown``."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotFound("statement.line_unknown")
    return int(text)


def fen_of(text: str) -> int | None:
    """``-12.5`` yuan as fen, without a float. Raises Invalid ``dispute.amount_format``."""
    if not text:
        return None
    found = _YUAN.fullmatch(text.replace(",", ""))
    if found is None:
        raise Invalid([Problem("dispute.amount_format", "amount_fen")])
    fen = int(found[2]) * 100 + int((found[3] or "").ljust(2, "0"))
    return -fen if found[1] == "-" else fen


def _list(work: Work, paged: Page) -> Context:
    rows = disputes.listing(work, before=paged.after, limit=paged.fetch)
    shown = paged.render(rows, lambda row: row, lambda row: row.id)
    return WORDS | {
        "tabs": tabs(work),
        "rows": shown["data"],
        "next": shown["next"],
        "paged": paged.after is not None,
    }


def _form(
    uow: UnitOfWork, statement_id: UUID, line_id: str, error: BrokerError | None = None, reason: str = ""
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        line = disputes.line_to_dispute(work, statement_id, line_number(line_id))
        return WORDS | {
            "line": line,
            "statement_id": statement_id,
            "reason": reason,
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "chargeback/dispute_form.html", collect, status=error.status if error else 200)


def _show(
    uow: UnitOfWork, dispute_id: UUID, error: BrokerError | None = None, given: dict[str, str] | None = None
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        row, line = disputes.one(work, dispute_id)
        return WORDS | {
            "d": row,
            "line": line,
            "named": people.named(work.session, [row.raised_by, row.answered_by]),
            "may_answer": disputes.may_answer(work, row),
            "given": given or {"decision": "", "reason": "", "amount": ""},
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "chargeback/dispute.html", collect, status=error.status if error else 200)
