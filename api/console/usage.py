"""Usage by file: upload, the verdict on every line, apply.

Called by: browsers. Must not: read a file itself (``metering.usage_import`` does).
"""

from __future__ import annotations

from uuid import UUID

from fastapi.responses import HTMLResponse, Response

from api.console import brought, show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.documents import files
from api.documents import usage as document
from api.permissions import Permission, needs
from api.texts import usage as words
from api.uow import UnitOfWork, Uow
from broker.errors import BrokerError
from broker.metering import usage_import
from broker.metering.usage_lines import COLUMNS, REQUIRED, show_time
from broker.tenancy.work import Work

router = console_router("账单")
_WORDS: Context = {"usage": words, "columns": COLUMNS, "required": REQUIRED, "show_time": show_time}


@router.get("/usage", openapi_extra=needs(Permission.USAGE_READ))
def upload_form(uow: Uow) -> Response:
    """用量导入。"""
    return _upload(uow)


@router.post("/usage/{kind}/imports", openapi_extra=needs(Permission.USAGE_WRITE))
def upload(kind: str, form: Form, uow: Uow) -> Response:
    """预检：逐行给出结论，不写入。"""
    content, name = brought.uploaded(form)
    return act(
        uow,
        lambda work: usage_import.begin(work, kind, content, name, words.COLUMNS)[0].id,
        then=lambda import_id: Response(headers={"HX-Redirect": f"/usage/imports/{import_id}"}),
        instead=lambda error: _upload(uow, error),
    )


@router.get("/usage/imports/{import_id}", openapi_extra=needs(Permission.USAGE_WRITE))
def verdict(import_id: UUID, uow: Uow) -> Response:
    """用量文件的结论。"""
    return _verdict(uow, import_id)


@router.post("/usage/imports/{import_id}", openapi_extra=needs(Permission.USAGE_WRITE))
def apply(import_id: UUID, form: Form, uow: Uow) -> Response:
    """导入：全部写入，或者全部不写入。"""
    return act(
        uow,
        lambda work: usage_import.apply(work, import_id, text_of(form, "digest"), words.COLUMNS),
        then=lambda _: go("/usage", done="usage_imported"),
        instead=lambda error: _verdict(uow, import_id, error),
    )


@router.get("/usage/imports/{import_id}/problems", openapi_extra=needs(Permission.USAGE_WRITE))
def problems(import_id: UUID, uow: Uow) -> Response:
    """全部有误之处（CSV）。"""
    return files.send(
        uow,
        lambda work, folder: document.problems(
            folder.joinpath("usage-problems.csv"), usage_import.again(work, import_id, words.COLUMNS)[1].problems
        ),
        "text/csv; charset=utf-8",
    )


@router.get("/usage/{kind}/file", openapi_extra=needs(Permission.USAGE_READ))
def recorded(kind: str, uow: Uow) -> Response:
    """已记录的用量（CSV）。"""
    return files.send(
        uow,
        lambda work, folder: document.write(folder.joinpath(f"usage-{kind}.csv"), kind, usage_import.rows(work, kind)),
        "text/csv; charset=utf-8",
    )


def _upload(uow: UnitOfWork, error: BrokerError | None = None) -> HTMLResponse:
    def collect(_: Work) -> Context:
        return _WORDS | {"problems": show.problems(error.problems) if error else []}

    return page(uow, "usage/import.html", collect, status=error.status if error else 200)


def _verdict(uow: UnitOfWork, import_id: UUID, error: BrokerError | None = None) -> HTMLResponse:
    def collect(work: Work) -> Context:
        return _WORDS | brought.verdict(*usage_import.again(work, import_id, words.COLUMNS), error)

    return page(uow, "usage/verdict.html", collect, status=error.status if error else 200)
