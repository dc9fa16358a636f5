"""Importing a file into the register: upload, the verdict on every line, apply.

Called by: browsers. Must not: read a file itself (``inventory.register_import`` does).
"""

from __future__ import annotations

from uuid import UUID

from fastapi.responses import HTMLResponse, Response

from api.console import brought, show
from api.console.inventory import REGISTER
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.permissions import Permission, needs
from api.texts import register as words
from api.uow import UnitOfWork, Uow
from broker.errors import BrokerError
from broker.inventory import register_import
from broker.reorganisation import systems as reorganised
from broker.tenancy.work import Work

router = console_router("信息系统")


@router.get("/systems/import", openapi_extra=needs(Permission.SYSTEM_WRITE))
def upload_form(uow: Uow) -> Response:
    """批量导入。"""
    return _upload(uow)


@router.post("/systems/imports", openapi_extra=needs(Permission.SYSTEM_WRITE))
def upload(form: Form, uow: Uow) -> Response:
    """预检：逐行给出结论，不写入台账。"""
    content, name = brought.uploaded(form)
    return act(
        uow,
        lambda work: register_import.begin(work, content, name, words.COLUMNS)[0].id,
        then=lambda import_id: Response(headers={"HX-Redirect": f"/systems/imports/{import_id}"}),
        instead=lambda error: _upload(uow, error),
    )


@router.get("/systems/imports/{import_id}", openapi_extra=needs(Permission.SYSTEM_WRITE))
def verdict(import_id: UUID, uow: Uow) -> Response:
    """导入文件的结论。"""
    return _verdict(uow, import_id)


@router.post("/systems/imports/{import_id}", openapi_extra=needs(Permission.SYSTEM_WRITE))
def apply(import_id: UUID, form: Form, uow: Uow) -> Response:
    """导入：全部写入，或者全部不写入。"""
    return act(
        uow,
        lambda work: reorganised.apply_import(work, import_id, text_of(form, "digest"), words.COLUMNS),
        then=lambda _: go("/systems", done="imported"),
        instead=lambda error: _verdict(uow, import_id, error),
    )


def _upload(uow: UnitOfWork, error: BrokerError | None = None) -> HTMLResponse:
    def collect(_: Work) -> Context:
        return REGISTER | {"problems": show.problems(error.problems) if error else []}

    return page(uow, "inventory/import.html", collect, status=error.status if error else 200)


def _verdict(uow: UnitOfWork, import_id: UUID, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        return REGISTER | brought.verdict(*register_import.again(work, import_id, words.COLUMNS), error)

    return page(uow, "inventory/verdict.html", collect, status=error.status if error else 200)
