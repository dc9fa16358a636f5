"""The files of dedicated networks over HTTP: export, template, import with a verdict on every line.

Called by: units that register many, the Bureau, programs. Must not: hold rules.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import Response

from api.documents import files, networks
from api.documents.sheets import FORMS
from api.permissions import Permission, needs
from api.schemas import dedicated as schemas
from api.schemas.systems import ApplyImport
from api.texts import dedicated as words
from api.uow import Uow
from api.views import brought
from broker.dedicated import board, bringing
from broker.dedicated.bringing import Looked
from broker.dedicated.models import NetworkImport
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1/dedicated-networks", tags=["业务专网"])


@router.get("/export", summary="导出业务专网台账", openapi_extra=needs(Permission.NETWORK_READ))
def export(uow: Uow, form: Annotated[str, Query(description="xlsx 或 csv")] = "xlsx") -> Response:
    """可见的全部业务专网；可直接修改后再导入。"""

    def make(work: Work, folder: Path) -> Path:
        return networks.export(folder, form, board.everything(work))

    return files.send(uow, make, FORMS.get(form, ""))


@router.get("/template", summary="业务专网导入模板", openapi_extra=needs(Permission.NETWORK_READ))
def template(uow: Uow, form: Annotated[str, Query(description="xlsx 或 csv")] = "xlsx") -> Response:
    """表头与填写说明。"""
    return files.send(uow, lambda _, folder: networks.template(folder, form), FORMS.get(form, ""))


@router.post(
    "/imports",
    status_code=201,
    response_model=schemas.NetworkImport,
    summary="预检业务专网导入文件",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def begin(file: Annotated[UploadFile, File(description=".xlsx 或 CSV，不超过 2 MiB、5000 行")], uow: Uow) -> Response:
    """逐行给出结论，不写入台账。确认后以返回的 `digest` 导入。"""
    content = file.file.read()
    return uow.run(
        lambda work: bringing.begin(work, content, file.filename or "", words.COLUMNS), render=_import, status=201
    )


@router.get(
    "/imports/{import_id}",
    response_model=schemas.NetworkImport,
    summary="业务专网导入文件的结论",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def look_again(import_id: UUID, uow: Uow) -> Response:
    """按台账的现状重新预检。"""
    return uow.read(lambda work: bringing.again(work, import_id, words.COLUMNS), render=_import)


@router.post(
    "/imports/{import_id}/apply",
    response_model=schemas.NetworkImport,
    summary="导入业务专网",
    openapi_extra=needs(Permission.NETWORK_WRITE),
)
def apply(import_id: UUID, form: ApplyImport, uow: Uow) -> Response:
    """全部写入，或者全部不写入。"""
    workdays = uow.core.settings.network_plan_workdays
    return uow.run(
        lambda work: bringing.apply(work, import_id, form.digest, words.COLUMNS, plan_workdays=workdays),
        render=_import,
    )


def _import(found: tuple[NetworkImport, Looked]) -> schemas.NetworkImport:
    return brought.shown(
        schemas.NetworkImport, *found, lambda v: {"code": v.code, "name": v.name, "changes": v.changes}
    )
