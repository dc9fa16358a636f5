"""Dedicated networks (Art. 10-12): the list, one as a line of time, its steps and the Bureau's word, stopped funds.

Called by: browsers. Must not: decide (``broker.dedicated`` does).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData

from api.console import show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.console.timeline import draw
from api.documents import networks
from api.formats import LOCAL
from api.paging import Paged
from api.permissions import Permission, needs
from api.texts import dedicated as words
from api.uow import UnitOfWork, Uow
from api.views import dedicated as views
from broker.dedicated import board, dates, register, rulings, steps, stops
from broker.dedicated.entry import READ, NetworkEntry, read
from broker.dedicated.values import STEPS, Closing, Date, Done, Plan, Step
from broker.errors import BrokerError, Invalid, Problem
from broker.tenancy import repository as tenancy
from broker.tenancy.work import Work

router = console_router("业务专网")
WORDS: Context = {"texts": words, "headings": words.HEADINGS}


@router.get("/networks", openapi_extra=needs(Permission.NETWORK_READ))
def listing(uow: Uow, paged: Paged, state: str = "", q: str = "", *, late: bool = False) -> Response:
    """业务专网。"""

    def collect(work: Work) -> Context:
        chosen = state if state in words.STATES else ""
        rows = board.listing(work, state=chosen, words=q[:100], late=late, after=paged.after, limit=paged.fetch)
        found = paged.render(rows, views.network, lambda row: row.network.id)
        return WORDS | {
            "rows": found["data"],
            "next": found["next"],
            "paged": paged.after is not None,
            "state": chosen,
            "q": q,
            "late": late,
        }

    return page(uow, "dedicated/networks.html", collect)


@router.get("/funds-stops", openapi_extra=needs(Permission.FUNDS_STOP_READ))
def stopped(uow: Uow) -> Response:
    """停拨经费的业务专网（《实施细则》第十条）。"""
    return page(uow, "dedicated/stops.html", lambda work: WORDS | {"stops": stops.standing(work)})


@router.get("/networks/new", openapi_extra=needs(Permission.NETWORK_WRITE))
def new(uow: Uow) -> Response:
    """登记业务专网。"""
    return _form_page(uow, None)


@router.post("/networks", openapi_extra=needs(Permission.NETWORK_WRITE))
def create(form: Form, uow: Uow) -> Response:
    """登记业务专网。"""
    workdays = uow.core.settings.network_plan_workdays
    return act(
        uow,
        lambda work: register.register(work, _entry(form), plan_workdays=workdays).id,
        then=lambda network_id: go(f"/networks/{network_id}", done="network_registered"),
        instead=lambda error: _form_page(uow, form, error),
    )


@router.get("/networks/{network_id}", openapi_extra=needs(Permission.NETWORK_READ))
def one(network_id: UUID, uow: Uow) -> Response:
    """一个业务专网。"""
    return _show(uow, network_id)


@router.get("/networks/{network_id}/edit", openapi_extra=needs(Permission.NETWORK_WRITE))
def edit(network_id: UUID, uow: Uow) -> Response:
    """修改登记内容。"""
    return _form_page(uow, None, network_id=network_id)


@router.post("/networks/{network_id}/edit", openapi_extra=needs(Permission.NETWORK_WRITE))
def revise(network_id: UUID, form: Form, uow: Uow) -> Response:
    """修改登记内容。"""
    text = text_of(form, "version")
    version = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    return act(
        uow,
        lambda work: register.revise(work, network_id, _entry(form), version=version),
        then=lambda _: go(f"/networks/{network_id}", done="revised"),
        instead=lambda error: _form_page(uow, form, error, network_id),
    )


@router.post("/networks/{network_id}/step", openapi_extra=needs(Permission.NETWORK_WRITE))
def step(network_id: UUID, form: Form, uow: Uow) -> Response:
    """报送计划、报告联通与迁移、报请撤并改。"""
    what = text_of(form, "step")

    def use_case(work: Work) -> Any:
        if what == Step.PLAN:
            return steps.report_plan(work, network_id, _plan(form))
        if what == Step.SHUT_DOWN:
            given = Closing(text_of(form, "outcome"), _day(form, "done_on"), text_of(form, "evidence"))
            return steps.propose_closing(work, network_id, given)
        numbers = _codes(text_of(form, "segments"))
        done = Done(_day(form, "done_on"), text_of(form, "evidence"), numbers)
        return steps.report_done(work, network_id, Step.CONNECT if what == Step.CONNECT else Step.MIGRATE, done)

    return _acted(uow, network_id, use_case, form)


@router.post("/networks/{network_id}/decision", openapi_extra=needs(Permission.NETWORK_DECIDE))
def decide(network_id: UUID, form: Form, uow: Uow) -> Response:
    """大数据发展局：确认撤并改、调整期限、批准保留。"""
    what = text_of(form, "what")

    def use_case(work: Work) -> Any:
        reason = text_of(form, "reason")
        if what == "closing":
            return steps.decide_closing(work, network_id, decision=text_of(form, "decision"), answer=reason)
        if what == "ruling":
            return rulings.rule(work, network_id, drop=_codes(text_of(form, "drop")), reason=reason)
        if what == "stay":
            number = text_of(form, "document_number")
            return dates.let_stay(work, network_id, until=_day(form, "until"), document_number=number, reason=reason)
        wanted = text_of(form, "step")
        if wanted not in STEPS:
            raise Invalid([Problem("field.missing", "step")])
        due_on, owner = _day(form, "due_on"), text_of(form, "owner")
        return dates.redate(work, network_id, Step(wanted), due_on=due_on, reason=reason, owner=owner)

    return _acted(uow, network_id, use_case, form)


def _codes(text: str) -> tuple[str, ...]:
    return tuple(re.split(r"[,，、\s]+", text.strip())) if text.strip() else ()


def _acted(uow: UnitOfWork, network_id: UUID, use_case: Callable[[Work], Any], form: FormData) -> Response:
    return act(
        uow,
        use_case,
        then=lambda _: go(f"/networks/{network_id}", done="network_done"),
        instead=lambda error: _show(uow, network_id, error, form),
    )


def _show(
    uow: UnitOfWork, network_id: UUID, error: BrokerError | None = None, form: FormData | None = None
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        found, who = views.with_people(work, str(network_id))
        given = form.items() if form is not None else ()
        raw = defaultdict(str, {name: value for name, value in given if isinstance(value, str)})
        return WORDS | {
            "n": found,
            "picture": draw(found, work.now.astimezone(LOCAL).date()),
            "raw": raw,
            "who": who,
            "today": work.now.astimezone(LOCAL).date(),
            "probing": next((p for p in found.probes if p.answered_at is None), None),
            "waiting": next((c for c in found.closings if c.decision is None), None),
            "problems": show.problems(error.problems) if error else [],
            "focus": "",
        }

    return page(uow, "dedicated/network.html", collect, status=error.status if error else 200)


def _day(form: FormData, name: str) -> date:
    """Raises Invalid ``field.date``."""
    found = _day_or_none(form, name)
    if found is None:
        raise Invalid([Problem("field.date", name)])
    return found


def _day_or_none(form: FormData, name: str) -> date | None:
    try:
        return date.fromisoformat(text_of(form, name))
    except ValueError:
        return None


def _plan(form: FormData) -> Plan:
    """What was written; a day that is none is left out, and the service says so with everything else."""
    days = {}
    for each in STEPS[1:]:
        due = _day_or_none(form, f"dates.{each.value}.due_on")
        if due is not None:
            days[each] = Date(due, text_of(form, f"dates.{each.value}.owner"))
    named = ("scope", "content", "zone", "leader", "office", "liaison", "document_number")
    return Plan(**{name: text_of(form, name) for name in named}, dates=days)


def _entry(form: FormData) -> NetworkEntry:
    """Raises Invalid with everything that cannot be read."""
    entry, problems = read({name: text_of(form, name) for name in READ})
    if entry is None:
        raise Invalid(problems)
    return entry


def _form_page(
    uow: UnitOfWork, form: FormData | None, error: BrokerError | None = None, network_id: UUID | None = None
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        found = board.one(work, str(network_id)).listed if network_id else None
        raw = dict.fromkeys(READ, "") if form is None else {name: text_of(form, name) for name in READ}
        if form is None and found is not None:
            raw = networks.texts_of(found.entry) | {"level": found.entry.level}
        return WORDS | {
            "units": tenancy.units(work.session, work.actor, work.now),
            "found": found,
            "raw": raw,
            "problems": show.problems(error.problems) if error else [],
            "focus": "",
        }

    return page(uow, "dedicated/register.html", collect, status=error.status if error else 200)
