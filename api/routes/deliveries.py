"""Stages 4 and 7 over HTTP: delivery, the operator's desk, handover secrets, releases.

Called by: the delivering authority and the units. Must not: call a cloud: orders are rows, the worker acts on them.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from api.permissions import Permission, needs
from api.schemas.request import RequestState
from api.schemas.stages import CaseDecision, Delivery, DeskCase, NewRelease, Release, Secret
from api.uow import Uow
from api.views import requests as request_views
from api.views import stages as views
from broker.delivery import service as delivery
from broker.reclamation import service as reclamation
from broker.request import repository
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["交付与回收"])


@router.post(
    "/requests/{request_id}/delivery",
    response_model=RequestState,
    summary="下达交付",
    openapi_extra=needs(Permission.DELIVERY_ORDER),
)
def order(request_id: UUID, uow: Uow) -> Response:
    """审批过该申请的人员不能交付。进度见 `/events`。"""
    return uow.run(lambda work: delivery.order(work, request_id), render=request_views.state)


@router.get(
    "/requests/{request_id}/deliveries",
    response_model=list[Delivery],
    summary="交付、步骤与移交记录",
    openapi_extra=needs(Permission.DELIVERY_READ),
)
def listing(request_id: UUID, uow: Uow) -> Response:
    """每个云平台一次交付，早的在前。"""
    return uow.read(lambda work: views.deliveries(work, request_id), render=lambda found: found)


@router.post(
    "/deliveries/{delivery_id}/secret",
    response_model=Secret,
    summary="领取登录密钥",
    openapi_extra=needs(Permission.HANDOVER_SECRET),
)
def show_secret(delivery_id: UUID, uow: Uow) -> Response:
    """只显示一次，随后删除；重复提交不会再次显示。"""
    return uow.run(
        lambda work: delivery.show_secret(work, delivery_id, uow.core.settings),
        render=lambda key: Secret(private_key=key),
        shown_once=("private_key",),
    )


@router.get(
    "/desk-cases",
    response_model=list[DeskCase],
    summary="人工处理事项",
    openapi_extra=needs(Permission.DESK_READ),
)
def desk(uow: Uow) -> Response:
    """本单位负责交付、尚未处理的事项，早的在前，至多 100 项。"""
    return uow.read(delivery.desk, render=lambda rows: [views.case(row[0], row.number) for row in rows])


@router.post(
    "/desk-cases/{case_id}",
    response_model=DeskCase,
    summary="处理事项：重试、认领或放弃",
    openapi_extra=needs(Permission.DESK_DECIDE),
)
def decide_case(case_id: UUID, form: CaseDecision, uow: Uow) -> Response:
    """放弃须写明理由。"""
    return uow.run(
        lambda work: reclamation.decide_case(work, case_id, form.action, reason=form.reason), render=views.case
    )


@router.post(
    "/requests/{request_id}/release",
    status_code=201,
    response_model=list[Release],
    summary="申请释放资源",
    openapi_extra=needs(Permission.RELEASE_ASK),
)
def ask(request_id: UUID, form: NewRelease, uow: Uow) -> Response:
    """释放该申请交付的全部资源，由交付单位确认后执行。"""
    return uow.run(
        lambda work: reclamation.ask(work, request_id, reason=form.reason),
        render=lambda rows: [views.release(row) for row in rows],
        status=201,
    )


@router.get(
    "/requests/{request_id}/releases",
    response_model=list[Release],
    summary="申请的释放记录",
    openapi_extra=needs(Permission.DELIVERY_READ),
)
def releases(request_id: UUID, uow: Uow) -> Response:
    """早的在前。"""

    def read(work: Work) -> list[Release]:
        request = repository.load(work.session, work.actor, request_id)
        return [views.release(row, request.number) for row in reclamation.of_request(work, request_id)]

    return uow.read(read, render=lambda found: found)


@router.get(
    "/releases", response_model=list[Release], summary="待确认的释放", openapi_extra=needs(Permission.DESK_READ)
)
def waiting(uow: Uow) -> Response:
    """本单位负责确认的释放申请，早的在前，至多 100 项。"""
    return uow.read(reclamation.waiting, render=lambda rows: [views.release(row[0], row.number) for row in rows])


@router.post(
    "/releases/{release_id}/confirmation",
    response_model=Release,
    summary="确认释放",
    openapi_extra=needs(Permission.RELEASE_CONFIRM),
)
def confirm(release_id: UUID, uow: Uow) -> Response:
    """确认后由系统删除资源，归还配额与网段。"""
    return uow.run(lambda work: reclamation.confirm(work, release_id), render=views.release)
