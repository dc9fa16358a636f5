"""The register of information systems (Art. 26, 28): the list, and putting one on it.

Called by: browsers. Must not: check what is registered (``inventory.service`` does).
"""

from __future__ import annotations

from datetime import date

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData

from api.console import show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.paging import Paged
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from broker.errors import BrokerError, Invalid, Problem
from broker.inventory import repository, service
from broker.inventory.models import InformationSystem
from broker.tenancy import repository as tenancy
from broker.tenancy.work import Work

router = console_router("信息系统")

_TEXTS = {
    "code": 40,
    "name": 200,
    "function": 500,
    "scope_of_use": 200,
    "frequency_of_use": 100,
    "approving_department": 200,
    "funding_source": 200,
}


@router.get("/systems", openapi_extra=needs(Permission.SYSTEM_READ))
def systems(uow: Uow, paged: Paged) -> Response:
    """信息系统台账。"""

    def collect(work: Work) -> Context:
        rows = repository.systems(work.session, work.actor, now=work.now, after=paged.after, limit=paged.fetch)
        shown = paged.render(rows, lambda row: row, lambda row: row[0].id)
        return {"rows": shown["data"], "next": shown["next"], "paged": paged.after is not None}

    return page(uow, "inventory/systems.html", collect)


@router.get("/systems/new", openapi_extra=needs(Permission.SYSTEM_WRITE))
def new_system(uow: Uow) -> Response:
    """登记信息系统。"""
    return _form_page(uow, FormData())


@router.post("/systems", openapi_extra=needs(Permission.SYSTEM_WRITE))
def register(form: Form, uow: Uow) -> Response:
    """登记信息系统。"""
    return act(
        uow,
        lambda work: _register(work, form),
        then=lambda _: go("/systems", done="registered"),
        instead=lambda error: _form_page(uow, form, error),
    )


def _register(work: Work, form: FormData) -> InformationSystem:
    problems = [
        Problem("field.length", name, params={"least": 1, "most": most})
        for name, most in _TEXTS.items()
        if not 1 <= len(text_of(form, name)) <= most
    ]
    approved_on, level = text_of(form, "approved_on"), text_of(form, "mlps_level")
    try:
        day = date.fromisoformat(approved_on) if approved_on else None
    except ValueError:
        day = None
        problems.append(Problem("field.date", "approved_on"))
    if not level.isdigit():
        problems.append(Problem("field.missing", "mlps_level"))
    if problems:
        raise Invalid(problems)
    return service.register_system(
        work,
        unit_id=tenancy.unit_id_of(work.session, text_of(form, "unit"), actor=work.actor, now=work.now),
        mlps_level=int(level[:4]),
        approved_on=day,
        **{name: text_of(form, name) for name in _TEXTS},
    )


def _form_page(uow: UnitOfWork, form: FormData, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        return {
            "units": tenancy.units(work.session, work.actor, work.now),
            "raw": {name: text_of(form, name) for name in (*_TEXTS, "unit", "mlps_level", "approved_on")},
            "problems": show.problems(error.problems) if error else [],
            "focus": "",
        }

    return page(uow, "inventory/register.html", collect, status=error.status if error else 200)
