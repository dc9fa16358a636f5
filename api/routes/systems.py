"""The register of information systems over HTTP (Art. 26, 28, 29).

Called by: units that register, the Bureau, programs. Must not: hold rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import Response

from api.documents import files
from api.documents import register as documents
from api.etag import Seen
from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas import systems as schemas
from api.schemas.base import View
from api.texts import register as words
from api.uow import Uow
from api.views import brought
from broker.db.base import AnyRow
from broker.inventory import moves, register, register_import, systems
from broker.inventory.models import SystemImport
from broker.inventory.register import Ending
from broker.inventory.register_import import Looked
from broker.inventory.system_entry import SystemEntry
from broker.reorganisation import systems as reorganised
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["信息系统"])


class SystemPage(View):
    """A page of information systems."""

    data: list[schemas.InformationSystem]
    next: str | None


@router.get("/systems", response_model=SystemPage, summary="信息系统", openapi_extra=needs(Permission.SYSTEM_READ))
def listing(
    uow: Uow,
    page: Paged,
    *,
    state: Annotated[Literal["", "in_use", "ended"], Query(description="in_use 在用、ended 已终止")] = "",
    unit: Annotated[str, Query(max_length=40, description="单位代码，含下级")] = "",
    q: Annotated[str, Query(max_length=100, description="名称或编号的一部分")] = "",
) -> Response:
    """可见的信息系统，新的在前。"""

    def read(work: Work) -> Any:
        rows = systems.listing(work, state=state, unit=unit, words=q, after=page.after, limit=page.fetch)
        return page.render(rows, shown, lambda row: row[0].id)

    return uow.read(read, render=lambda found: found)


def shown(row: AnyRow) -> schemas.InformationSystem:
    """A row of the register as it goes out."""
    more = {name: getattr(row, name) for name in ("unit_name", "merged_into", "replaceable_by", "owner", "resources")}
    return schemas.InformationSystem.model_validate(row[0]).model_copy(update={**more, "unit": row.unit_code})


@router.post(
    "/systems",
    status_code=201,
    response_model=schemas.InformationSystem,
    summary="登记信息系统",
    openapi_extra=needs(Permission.SYSTEM_WRITE),
)
def create(form: schemas.NewInformationSystem, uow: Uow) -> Response:
    """先登记，再申请资源。2019-09-11（含）以后批准的，写明 `merges`，或改用 `/systems/proposals`（第二十九条）。"""

    def write(work: Work) -> Any:
        made = reorganised.register(work, entry_of(form.model_dump()))
        return _again(work, made.id)

    return uow.run(write, render=shown, status=201)


def entry_of(values: Mapping[str, Any]) -> SystemEntry:
    """A form as an entry."""
    return SystemEntry(**{**values, "merges": tuple(values.get("merges", ()))})


def _again(work: Work, system_id: UUID) -> AnyRow:
    work.session.flush()
    return systems.one(work, str(system_id))


@router.get(
    "/systems/totals",
    response_model=list[schemas.SystemTotal],
    summary="信息系统总量走势",
    openapi_extra=needs(Permission.SYSTEM_READ),
)
def totals(
    uow: Uow,
    unit: Annotated[str, Query(max_length=40, description="单位代码，含下级")] = "",
    months: Annotated[int, Query(ge=1, le=120)] = 24,
) -> Response:
    """第二十九条“只减不增”：各月末的总量，最后一项为今天。"""

    def read(work: Work) -> Any:
        days = systems.month_ends(register.today(work.now), months)
        return systems.totals(work, days, unit)

    return uow.read(read, render=lambda rows: [schemas.SystemTotal.model_validate(row) for row in rows])


@router.get("/systems/export", summary="导出信息系统台账", openapi_extra=needs(Permission.SYSTEM_READ))
def export(uow: Uow, form: Annotated[str, Query(description="xlsx 或 csv")] = "xlsx") -> Response:
    """可见的全部信息系统；可直接修改后再导入。"""

    def make(work: Work, folder: Path) -> Path:
        return documents.export(folder, form, systems.everything(work))

    return files.send(uow, make, documents.FORMS.get(form, ""))


@router.get("/systems/template", summary="导入模板", openapi_extra=needs(Permission.SYSTEM_READ))
def template(uow: Uow, form: Annotated[str, Query(description="xlsx 或 csv")] = "xlsx") -> Response:
    """表头与填写说明。"""
    return files.send(uow, lambda _, folder: documents.template(folder, form), documents.FORMS.get(form, ""))


@router.post(
    "/systems/imports",
    status_code=201,
    response_model=schemas.ImportShown,
    summary="预检导入文件",
    openapi_extra=needs(Permission.SYSTEM_WRITE),
)
def begin_import(
    file: Annotated[UploadFile, File(description=".xlsx 或 CSV，不超过 2 MiB、5000 行")], uow: Uow
) -> Response:
    """逐行给出结论，不写入台账。确认后以返回的 `digest` 导入。"""
    content = file.file.read()

    def write(work: Work) -> Any:
        return register_import.begin(work, content, file.filename or "", words.COLUMNS)

    return uow.run(write, render=_import, status=201)


@router.get(
    "/systems/imports/{import_id}",
    response_model=schemas.ImportShown,
    summary="导入文件的结论",
    openapi_extra=needs(Permission.SYSTEM_WRITE),
)
def look_again(import_id: UUID, uow: Uow) -> Response:
    """按台账的现状重新预检。"""
    return uow.read(lambda work: register_import.again(work, import_id, words.COLUMNS), render=_import)


@router.post(
    "/systems/imports/{import_id}/apply",
    response_model=schemas.ImportShown,
    summary="导入",
    openapi_extra=needs(Permission.SYSTEM_WRITE),
)
def apply(import_id: UUID, form: schemas.ApplyImport, uow: Uow) -> Response:
    """全部写入，或者全部不写入。"""
    return uow.run(
        lambda work: reorganised.apply_import(work, import_id, form.digest, words.COLUMNS),
        render=_import,
    )


def _import(found: tuple[SystemImport, Looked]) -> schemas.ImportShown:
    return brought.shown(
        schemas.ImportShown,
        *found,
        lambda v: {"code": v.code, "name": v.name, "changes": v.changes, "merges": v.merges},
    )


@router.get(
    "/systems/proposals",
    response_model=list[schemas.Proposal],
    summary="新增申请",
    openapi_extra=needs(Permission.SYSTEM_READ),
)
def proposals(uow: Uow, *, waiting: Annotated[bool, Query(description="只列待批准的")] = True) -> Response:
    """待批准的早的在前；全部的新的在前，至多 100 份。"""
    return uow.read(
        lambda work: systems.proposals(work, waiting=waiting),
        render=lambda rows: [_proposal(row[0], row.unit_name) for row in rows],
    )


@router.post(
    "/systems/proposals",
    status_code=201,
    response_model=schemas.Proposal,
    summary="报批新增信息系统",
    openapi_extra=needs(Permission.SYSTEM_WRITE),
)
def propose(form: schemas.NewProposal, uow: Uow) -> Response:
    """第二十九条：没有合并其他系统的新系统，说明理由，由大数据发展局批准后登记。"""

    def write(work: Work) -> Any:
        made = register.propose(work, entry_of(form.model_dump()))
        work.session.flush()
        return made

    return uow.run(write, render=_proposal, status=201)


@router.post(
    "/systems/proposals/{proposal_id}/decision",
    response_model=schemas.Proposal,
    summary="决定新增申请",
    openapi_extra=needs(Permission.SYSTEM_APPROVE),
)
def decide(proposal_id: UUID, form: schemas.DecideProposal, uow: Uow) -> Response:
    """由大数据发展局办理；报批人不能自己批准。"""

    def write(work: Work) -> Any:
        made = reorganised.decide(work, proposal_id, approved=form.approved, answer=form.answer)
        work.session.flush()
        return made

    return uow.run(write, render=_proposal)


def _proposal(proposal: Any, unit_name: str | None = None) -> schemas.Proposal:
    return schemas.Proposal.model_validate(proposal).model_copy(update={"unit_name": unit_name})


@router.get(
    "/systems/moves",
    response_model=list[schemas.SystemMove],
    summary="划转与合并",
    openapi_extra=needs(Permission.SYSTEM_READ),
)
def moved(uow: Uow, *, unit: Annotated[str, Query(max_length=40, description="单位代码")] = "") -> Response:
    """转入、转出各单位（或某一单位）的信息系统，新的在前，至多 100 条。"""
    return uow.read(
        lambda work: moves.listing(work, unit=unit),
        render=lambda rows: [schemas.SystemMove.model_validate(row) for row in rows],
    )


@router.get(
    "/systems/{system}",
    response_model=schemas.SystemShown,
    summary="一个信息系统",
    openapi_extra=needs(Permission.SYSTEM_READ),
)
def one(system: str, uow: Uow) -> Response:
    """按标识或编号；含历次登记内容。"""

    def read(work: Work) -> schemas.SystemShown:
        row = systems.one(work, system)
        said = systems.revisions(work, row[0].id)
        return schemas.SystemShown(
            **shown(row).model_dump(),
            revisions=[schemas.SystemRevision.model_validate(r) for r in said],
            owners=[schemas.SystemOwner.model_validate(o) for o in systems.owners(work, said)],
            merged=[s.code for s in systems.merged_into(work, row[0].id)],
        )

    return uow.read(read, render=lambda found: found)


@router.put(
    "/systems/{system_id}",
    response_model=schemas.InformationSystem,
    summary="修改登记内容",
    openapi_extra=needs(Permission.SYSTEM_WRITE),
)
def revise(system_id: UUID, form: schemas.NewInformationSystem, version: Seen, uow: Uow) -> Response:
    """`If-Match` 注明所见版本。编号与所属单位不能改变；此前的内容留存。"""

    def write(work: Work) -> Any:
        reorganised.revise(work, system_id, entry_of(form.model_dump()), version=version)
        return _again(work, system_id)

    return uow.run(write, render=shown)


@router.post(
    "/systems/{system_id}/end",
    response_model=schemas.InformationSystem,
    summary="终止信息系统",
    openapi_extra=needs(Permission.SYSTEM_WRITE),
)
def end(system_id: UUID, form: schemas.EndSystem, version: Seen, uow: Uow) -> Response:
    """合并、关停或移交，写明原因。`If-Match` 注明所见版本。"""

    def write(work: Work) -> Any:
        reorganised.end(work, system_id, Ending(**form.model_dump()), version=version)
        return _again(work, system_id)

    return uow.run(write, render=shown)


@router.post(
    "/systems/{system_id}/move",
    response_model=schemas.InformationSystem,
    summary="信息系统划转",
    openapi_extra=needs(Permission.SYSTEM_APPROVE),
)
def move(system_id: UUID, form: schemas.MoveSystem, version: Seen, uow: Uow) -> Response:
    """改由另一单位主管（机构改革等），由大数据发展局办理，写明原因。

    其资源、配额和此后的费用归接收单位。`If-Match` 注明所见版本。
    """

    def write(work: Work) -> Any:
        reorganised.move(work, system_id, to=form.unit, reason=form.reason, version=version)
        return _again(work, system_id)

    return uow.run(write, render=shown)
