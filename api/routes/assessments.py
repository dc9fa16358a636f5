"""Stage 3 over HTTP: what the system proposes, and what the assessor makes of it.

Called by: the assessing authority's people and programs. Must not: place, size or cost anything.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from api.openapi import WRITES_NOTHING
from api.permissions import Permission, needs
from api.schemas.request import RequestState
from api.schemas.stages import Assessment, Changes, NewAssessment
from api.uow import Uow
from api.views import requests as request_views
from api.views import stages as views
from broker.assessment import service
from broker.request.models import ServiceRequest
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["评估"])


@router.get(
    "/requests/{request_id}/assessment",
    response_model=Assessment,
    summary="评估建议或结果",
    openapi_extra=needs(Permission.ASSESSMENT_READ),
)
def read(request_id: UUID, uow: Uow) -> Response:
    """待评估时为系统建议（`proposed`），之后为最近一次评估；逐个列出候选云平台选中或未选中的原因。"""
    return uow.read(lambda work: views.of_request(work, request_id), render=lambda found: found)


@router.post(
    "/requests/{request_id}/assessment/proposal",
    response_model=Assessment,
    summary="按调整试算",
    openapi_extra=needs(Permission.ASSESSMENT_DECIDE) | WRITES_NOTHING,
)
def propose(request_id: UUID, form: Changes, uow: Uow) -> Response:
    """按调整后的规格或平台重新测算，不保存任何内容。"""
    return uow.read(
        lambda work: service.propose(work, request_id, views.changes(form)),
        render=lambda found: views.proposal(found, form),
    )


@router.post(
    "/requests/{request_id}/assessment",
    response_model=RequestState,
    summary="确认评估或退回",
    openapi_extra=needs(Permission.ASSESSMENT_DECIDE),
)
def decide(request_id: UUID, form: NewAssessment, uow: Uow) -> Response:
    """确认时一并预留配额、容量与网段；`clouds`、`sizes` 为评估人的调整，键为申请项序号（从 0 起）。"""

    def write(work: Work) -> ServiceRequest:
        if form.decision == "return":
            return service.send_back(work, request_id, revision_id=form.revision, reason=form.reason)
        return service.confirm(
            work,
            request_id,
            revision_id=form.revision,
            hold_days=uow.core.settings.hold_days,
            changes=views.changes(form),
            reason=form.reason,
        )

    return uow.run(write, render=request_views.state)
