"""Months of the books: what a close would freeze, what stops it, closing, opening again, where the books begin.

Called by: browsers. Must not: compute an amount, or decide who may close.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi.responses import HTMLResponse, Response

from api.console import show
from api.console.chargeback import month_of, tabs
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.documents import files
from api.permissions import Permission, needs
from api.schemas.months import MonthPreview
from api.uow import UnitOfWork, Uow
from broker.chargeback import beginning, closing
from broker.chargeback.agenda import agenda
from broker.errors import BrokerError
from broker.tenancy import people
from broker.tenancy import repository as tenancy
from broker.tenancy.work import Work

router = console_router("账单")

SHOWN = 50
"""So many obstacles stand on the page; all of them are in the file."""


@router.get("/months", openapi_extra=needs(Permission.MONTH_READ))
def months(uow: Uow) -> Response:
    """关账：下一个月份、已关账的月份、账目起始月份。"""
    return _list(uow)


@router.post("/months/beginning", openapi_extra=needs(Permission.MONTH_CLOSE))
def begin(form: Form, uow: Uow) -> Response:
    """申请、同意或不再设定账目起始月份。"""
    month, step = text_of(form, "month"), text_of(form, "step")
    acts: dict[str, tuple[str, Callable[[Work], object]]] = {
        "ask": ("beginning_asked", lambda work: beginning.ask(work, month_of(month), text_of(form, "reason"))),
        "agree": ("beginning_agreed", lambda work: beginning.agree(work, month_of(month))),
        "drop": ("beginning_dropped", lambda work: beginning.drop(work, month_of(month))),
    }
    done, run = acts.get(step, acts["ask"])
    return _act(uow, run, done)


@router.get("/months/{month}", openapi_extra=needs(Permission.MONTH_READ))
def month(month: str, uow: Uow) -> Response:
    """试算一个月：关账会得出的合计，以及使其不能关账的项目。"""
    return _preview(uow, month)


@router.get("/months/{month}/obstacles", openapi_extra=needs(Permission.MONTH_READ))
def obstacles(month: str, uow: Uow) -> Response:
    """使该月不能关账的项目（CSV）。"""
    return files.send_obstacles(uow, month)


@router.post("/months/{month}/close", openapi_extra=needs(Permission.MONTH_CLOSE))
def close(month: str, uow: Uow) -> Response:
    """关账。"""
    return _act(uow, lambda work: closing.close(work, month_of(month)), "month_closed")


@router.post("/months/{month}/reopening", openapi_extra=needs(Permission.MONTH_CLOSE))
def reopen(month: str, form: Form, uow: Uow) -> Response:
    """申请重新打开，或同意他人的申请。"""
    if text_of(form, "step") == "agree":
        return _act(uow, lambda work: closing.agree_to_reopen(work, month_of(month)), "month_reopened")
    reason = text_of(form, "reason")
    return _act(uow, lambda work: closing.ask_to_reopen(work, month_of(month), reason), "reopening_asked")


def _act(uow: UnitOfWork, run: Callable[[Work], object], done: str) -> Response:
    return act(
        uow,
        run,
        then=lambda _: go("/months", done=done),
        instead=lambda error: _list(uow, error),
    )


def _list(uow: UnitOfWork, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        found = agenda(work)
        who = [one.closed_by for one in found.closes]
        who += [by for one in found.asked.values() for by in (one.asked_by, one.agreed_by)]
        return {
            "tabs": tabs(work),
            "found": found,
            "people": people.named(work.session, who),
            "beginning": beginning.state(work),
            "mine": work.actor.accounts,
            "may": closing.may_close(work),
            "problems": show.problems(error.problems[:SHOWN]) if error else [],
        }

    return page(uow, "chargeback/months.html", collect, status=error.status if error else 200)


def _preview(uow: UnitOfWork, which: str) -> HTMLResponse:
    drawn = uow.trial(lambda work: MonthPreview.of(closing.preview(work, month_of(which))))

    def collect(work: Work) -> Context:
        names = tenancy.unit_names(work.session, set(drawn.payers), work.now)
        owed = sorted(drawn.payers.items(), key=lambda one: (-one[1], names.get(one[0], "")))
        return {
            "tabs": tabs(work),
            "month": str(month_of(which)),
            "found": agenda(work),
            "drawn": drawn,
            "owed": [(names.get(unit_id, ""), fen) for unit_id, fen in owed],
            "shown": drawn.problems[:SHOWN],
            "may": closing.may_close(work),
        }

    return page(uow, "chargeback/month.html", collect)
