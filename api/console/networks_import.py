"""Importing a file of dedicated networks: upload, the verdict on every line, apply; export and template.

Called by: browsers. Must not: read a file itself (``dedicated.bringing`` does).
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from fastapi.responses import HTMLResponse, Response

from api.console import brought, show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.documents import files, networks
from api.documents.sheets import FORMS
from api.permissions import Permission, needs
from api.texts import dedicated as words
from api.uow import UnitOfWork, Uow
from broker.dedicated import board, bringing
from broker.errors import BrokerError
from broker.tenancy.work import Work

router = console_router("业务专网")
AT: Context = {"at": "/networks", "of": "业务专网", "register": words, "headings": words.HEADINGS}


@router.get("/networks/export/{form}", openapi_extra=needs(Permission.NETWORK_READ))
def export(form: str, uow: Uow) -> Response:
    """业务专网台账文件。"""

    def make(work: Work, folder: Path) -> Path:
        return networks.export(folder, form, board.everything(work))

    return files.send(uow, make, FORMS.get(form, ""))


@router.get("/networks/template/{form}", openapi_extra=needs(Permission.NETWORK_READ))
def template(form: str, uow: Uow) -> Response:
    """业务专网导入模板。"""
    return files.send(uow, lambda _, folder: networks.template(folder, form), FORMS.get(form, ""))


@router.get("/networks/import", openapi_extra=needs(Permission.NETWORK_WRITE))
def upload_form(uow: Uow) -> Response:
    """批量导入。"""
    return _upload(uow)


@router.post("/networks/imports", openapi_extra=needs(Permission.NETWORK_WRITE))
def upload(form: Form, uow: Uow) -> Response:
    """预检：逐行给出结论，不写入台账。"""
    content, name = brought.uploaded(form)
    return act(
        uow,
        lambda work: bringing.begin(work, content, name, words.COLUMNS)[0].id,
        then=lambda import_id: Response(headers={"HX-Redirect": f"/networks/imports/{import_id}"}),
        instead=lambda error: _upload(uow, error),
    )


@router.get("/networks/imports/{import_id}", openapi_extra=needs(Permission.NETWORK_WRITE))
def verdict(import_id: UUID, uow: Uow) -> Response:
    """导入文件的结论。"""
    return _verdict(uow, import_id)


@router.post("/networks/imports/{import_id}", openapi_extra=needs(Permission.NETWORK_WRITE))
def apply(import_id: UUID, form: Form, uow: Uow) -> Response:
    """导入：全部写入，或者全部不写入。"""
    workdays = uow.core.settings.network_plan_workdays
    digest = text_of(form, "digest")
    return act(
        uow,
        lambda work: bringing.apply(work, import_id, digest, words.COLUMNS, plan_workdays=workdays),
        then=lambda _: go("/networks", done="imported"),
        instead=lambda error: _verdict(uow, import_id, error),
    )


def _upload(uow: UnitOfWork, error: BrokerError | None = None) -> HTMLResponse:
    def collect(_: Work) -> Context:
        return AT | {"problems": show.problems(error.problems) if error else []}

    return page(uow, "inventory/import.html", collect, status=error.status if error else 200)


def _verdict(uow: UnitOfWork, import_id: UUID, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        return AT | brought.verdict(*bringing.again(work, import_id, words.COLUMNS), error)

    return page(uow, "inventory/verdict.html", collect, status=error.status if error else 200)
