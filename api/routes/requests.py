"""Stage 1 over HTTP: forms, drafts, submission, lists, withdrawal, attachments, live progress.

Called by: browsers and programs. Must not: check a form or a state.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from api import events
from api.etag import Seen
from api.files import disposition
from api.openapi import WRITES_NOTHING
from api.paging import Paged
from api.permissions import Permission, needs
from api.schemas import request as schemas
from api.uow import UnitOfWork, Uow
from api.views import requests as views
from broker.assessment import letting_go
from broker.errors import NotFound
from broker.lifecycle import RequestState, Role
from broker.request import attachments, repository, service
from broker.request.models import ServiceRequest
from broker.scarcity import asked
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["申请"])

Submit = Annotated[bool, Query(description="提交（true）或只存草稿（false）")]


@router.post(
    "/requests",
    status_code=201,
    response_model=schemas.RequestState,
    summary="新建申请",
    openapi_extra=needs(Permission.REQUEST_WRITE),
)
def create(form: schemas.Form, uow: Uow, *, submit: Submit = True) -> Response:
    """提交时一次给出全部错误（422）；草稿只要求单位有效。"""
    return uow.run(_writing(form, submit=submit), render=views.state, status=201)


@router.put(
    "/requests/{request_id}",
    response_model=schemas.RequestState,
    summary="修改草稿，提交或补正后重新提交",
    openapi_extra=needs(Permission.REQUEST_WRITE),
)
def replace(request_id: UUID, form: schemas.Form, uow: Uow, seen: Seen, *, submit: Submit = True) -> Response:
    """`If-Match` 注明所见版本，他人已更新时为 412。"""
    return uow.run(_writing(form, submit=submit, request_id=request_id, version=seen), render=views.state)


def _writing(form: dict[str, Any], *, submit: bool, request_id: UUID | None = None, version: int | None = None) -> Any:
    use_case = service.submit if submit else service.save_draft

    def write(work: Work) -> ServiceRequest:
        return use_case(work, form, request_id=request_id, version=version)

    return write


@router.post(
    "/requests/check",
    response_model=schemas.Check,
    summary="试算",
    openapi_extra=needs(Permission.REQUEST_WRITE) | WRITES_NOTHING,
)
def check(form: schemas.Form, uow: Uow) -> Response:
    """检查表单、报价并与单位配额对照，不保存任何内容。"""
    return uow.read(
        lambda work: views.check(service.check(work, form), asked.of_form(work, form)), render=lambda found: found
    )


@router.get(
    "/requests", response_model=schemas.RequestPage, summary="申请列表", openapi_extra=needs(Permission.REQUEST_READ)
)
def listing(
    uow: Uow,
    page: Paged,
    *,
    state: Annotated[list[RequestState], Query(description="状态，可多选")] = [],  # noqa: B006 - FastAPI copies it
    duty: Annotated[Role | None, Query(description="只列出本人以此职责办理的申请")] = None,
    q: Annotated[str, Query(max_length=100, description="编号或用途")] = "",
) -> Response:
    """新的在前；一次查询。"""

    def read(work: Work) -> Any:
        rows = repository.listing(
            work.session,
            work.actor,
            states=[s.value for s in state],
            duty=duty if duty in {Role.APPROVER, Role.ASSESSOR, Role.OPERATOR} else None,
            search=q,
            after=page.after,
            limit=page.fetch,
        )
        return page.render(rows, views.head, lambda row: row[0].id)

    return uow.read(read, render=lambda found: found)


@router.get(
    "/requests/{request_id}",
    response_model=schemas.ServiceRequest,
    summary="申请详情",
    openapi_extra=needs(Permission.REQUEST_READ),
)
def detail(request_id: UUID, uow: Uow) -> Response:
    """`ETag` 为版本号；`revision` 供审批、评估时注明所见的内容；`actions` 为当前可办理的事项。"""
    return uow.read(lambda work: views.detail(work, request_id), render=lambda found: found)


@router.post(
    "/requests/{request_id}/withdrawal",
    response_model=schemas.RequestState,
    summary="撤回申请",
    openapi_extra=needs(Permission.REQUEST_WRITE),
)
def withdraw(request_id: UUID, form: schemas.Withdrawal, uow: Uow, seen: Seen) -> Response:
    """下达交付之前可以撤回；已预留的资源随即放回。"""
    return uow.run(
        lambda work: letting_go.withdraw(work, request_id, reason=form.reason, version=seen), render=views.state
    )


@router.get("/requests/{request_id}/events", summary="实时进度", openapi_extra=needs(Permission.REQUEST_READ))
async def follow(request: Request, request_id: UUID, uow: Uow) -> StreamingResponse:
    """`text/event-stream`：先发送当前状态（`state`），之后逐项发送变化（`change`）。"""
    # Who may not see it is told so with a status; the stream itself reads the state once it is subscribed.
    await run_in_threadpool(uow.look, lambda work: views.progress(work, request_id))

    async def state() -> Any:
        return await run_in_threadpool(UnitOfWork(request).look, lambda work: views.progress(work, request_id))

    request.scope["state"]["stream"] = True
    return events.respond(events.changes(request.app.state.hub, str(request_id), state))


@router.post(
    "/attachments",
    status_code=201,
    response_model=schemas.Attachment,
    summary="上传附件",
    openapi_extra=needs(Permission.REQUEST_WRITE),
)
def upload(
    file: Annotated[UploadFile, File(description="PDF、OFD、PNG 或 JPEG，不超过 20 MiB")],
    document_number: Annotated[str, Form(max_length=200, description="公文文号")],
    uow: Uow,
) -> Response:
    """返回的 `id` 填入申请表的 `attachments`。类型以文件内容为准。"""
    content = file.file.read()

    def store(work: Work) -> Any:
        if work.actor.unit_id is None:
            raise NotFound("unit.unknown")
        url = attachments.url_of(uow.core.settings, content)
        made = service.attach(
            work,
            unit_id=work.actor.unit_id,
            document_number=document_number,
            file_name=file.filename or "",
            media_type=attachments.media_type_of(content),
            content=content,
            url=url,
        )
        attachments.store(url, content)
        work.session.flush()
        return made

    return uow.run(store, render=schemas.Attachment.model_validate, status=201)


@router.get("/attachments/{attachment_id}", summary="下载附件", openapi_extra=needs(Permission.REQUEST_READ))
def download(attachment_id: UUID, uow: Uow) -> Response:
    """总是作为文件下载，不在页面中打开。"""
    found = uow.look(lambda work: attachments.find(work, attachment_id))
    headers = {"Content-Disposition": disposition(found.file_name)}
    return Response(attachments.load(found.url), media_type=found.media_type, headers=headers)
