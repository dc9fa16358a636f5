"""Stage 2 over HTTP: decisions on requests, and exceptions to Art. 10.

Called by: the deciding authority's people and programs. Must not: decide who may decide.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy.dialects.postgresql import Range

from api.permissions import Permission, needs
from api.schemas.registers import NetworkException, NewNetworkException
from api.schemas.request import RequestState
from api.schemas.stages import Approval, NewApproval
from api.uow import Uow
from api.views import requests as views
from broker.approval import service
from broker.request import repository
from broker.request import service as requests
from broker.tenancy.repository import unit_id_of
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["审批"])


@router.post(
    "/requests/{request_id}/approval",
    response_model=RequestState,
    summary="受理审批",
    openapi_extra=needs(Permission.REQUEST_APPROVE),
)
def decide(request_id: UUID, form: NewApproval, uow: Uow) -> Response:
    """`revision` 注明所见的申请内容，已有新版本时为 409；退回或不予批准须写明理由。"""
    return uow.run(
        lambda work: service.decide(
            work, request_id, form.decision, revision_id=form.revision, reason=form.reason, article=form.article
        ),
        render=views.state,
    )


@router.get(
    "/requests/{request_id}/approvals",
    response_model=list[Approval],
    summary="审批记录",
    openapi_extra=needs(Permission.REQUEST_READ),
)
def history(request_id: UUID, uow: Uow) -> Response:
    """早的在前。"""

    def read(work: Work) -> list[Approval]:
        repository.load(work.session, work.actor, request_id)
        return [Approval.model_validate(row) for row in service.history(work, request_id)]

    return uow.read(read, render=lambda found: found)


@router.post(
    "/network-exceptions",
    status_code=201,
    response_model=NetworkException,
    summary="登记业务专网例外",
    openapi_extra=needs(Permission.NETWORK_EXCEPTION_GRANT),
)
def grant(form: NewNetworkException, uow: Uow) -> Response:
    """第十条原则上不再新建业务专网；例外由具名人员批准并说明理由。"""

    def write(work: Work) -> Any:
        made = requests.grant_network_exception(
            work,
            unit_id=unit_id_of(work.session, form.unit, now=work.now),
            document_number=form.document_number,
            reason=form.reason,
            during=Range(form.valid_from, form.valid_to),
        )
        work.session.flush()
        return made

    return uow.run(write, render=NetworkException.model_validate, status=201)
