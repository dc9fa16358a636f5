"""Usage that no resource's size tells, by file: looked at, applied, written out again.

Called by: operators, and their programs. Must not: read a file itself (``metering.usage_import`` does).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, File, Path, Query, UploadFile
from fastapi.responses import FileResponse, Response

from api.documents import files, usage
from api.permissions import Permission, needs
from api.schemas.systems import ApplyImport
from api.schemas.usage import UsageImportShown
from api.texts.usage import COLUMNS
from api.uow import Uow
from api.views import brought
from broker.metering import usage_import
from broker.metering.models import UsageImport
from broker.metering.usage_import import Looked
from broker.metering.usage_lines import Fact, show_time
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["账单、通知与审计"])

Kind = Annotated[str, Path(description="records 用量记录、items 一次性计费项、terms 承诺期限")]


@router.post(
    "/usage/{kind}/imports",
    status_code=201,
    response_model=UsageImportShown,
    summary="预检用量文件",
    openapi_extra=needs(Permission.USAGE_WRITE),
)
def begin(
    kind: Kind, file: Annotated[UploadFile, File(description="CSV、.xlsx 或 Parquet，不超过 8 MiB、50000 行")], uow: Uow
) -> Response:
    """逐行给出结论，不写入。确认后以返回的 `digest` 导入。"""
    content = file.file.read()

    def write(work: Work) -> Any:
        return usage_import.begin(work, kind, content, file.filename or "", COLUMNS)

    return uow.run(write, render=_shown, status=201)


@router.get(
    "/usage/imports/{import_id}",
    response_model=UsageImportShown,
    summary="用量文件的结论",
    openapi_extra=needs(Permission.USAGE_WRITE),
)
def look_again(import_id: UUID, uow: Uow) -> Response:
    """按现状重新预检。"""
    return uow.read(lambda work: usage_import.again(work, import_id, COLUMNS), render=_shown)


@router.post(
    "/usage/imports/{import_id}/apply",
    response_model=UsageImportShown,
    summary="导入用量",
    openapi_extra=needs(Permission.USAGE_WRITE),
)
def apply(import_id: UUID, form: ApplyImport, uow: Uow) -> Response:
    """全部写入，或者全部不写入。已关账月份的变动在下一次关账时列为调整。"""
    return uow.run(lambda work: usage_import.apply(work, import_id, form.digest, COLUMNS), render=_shown)


@router.get(
    "/usage/{kind}/file",
    response_class=FileResponse,
    summary="已记录的用量",
    openapi_extra=needs(Permission.USAGE_READ),
)
def recorded(
    kind: Kind, uow: Uow, *, resource: Annotated[str, Query(max_length=40, description="资源编号；缺省为全部")] = ""
) -> Response:
    """CSV，各列与导入文件相同；可修改后再导入。"""
    return files.send(
        uow,
        lambda work, folder: usage.write(
            folder.joinpath(f"usage-{kind}.csv"), kind, usage_import.rows(work, kind, resource)
        ),
        "text/csv; charset=utf-8",
    )


def _shown(found: tuple[UsageImport, Looked]) -> UsageImportShown:
    kept, looked = found
    return brought.shown(
        UsageImportShown,
        kept,
        looked,
        lambda v: {"cells": v.cells, "resource_name": v.resource_name, "was": was(v.was)},
        kind=kept.kind,
    )


def was(fact: Fact | None) -> dict[str, str] | None:
    """The row that a line changes, as text."""
    if fact is None:
        return None
    return {name: show_time(value) if name in {"start", "end"} else str(value) for name, value in asdict(fact).items()}
