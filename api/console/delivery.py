"""The operator's actions: order delivery, work the desk; the applicant's: take the key, once.

Called by: browsers. Must not: call a cloud, or keep a key.
"""

from __future__ import annotations

from uuid import UUID

from fastapi.responses import Response

from api.console.page import Form, act, console_router, go, id_of, text_of
from api.console.request import on_request, request_page
from api.permissions import Permission, needs
from api.uow import Uow
from broker.delivery import service as delivery
from broker.delivery.models import Delivery
from broker.delivery.service import Action
from broker.errors import BrokerError, Invalid, NotFound, Problem
from broker.reclamation import service as reclamation
from broker.tenancy.work import Work

router = console_router("交付")


@router.post("/requests/{request_id}/delivery", openapi_extra=needs(Permission.DELIVERY_ORDER))
def order(request_id: UUID, uow: Uow) -> Response:
    """下达交付。"""
    return on_request(uow, request_id, lambda work: delivery.order(work, request_id), done="ordered")


@router.post("/cases/{case_id}", openapi_extra=needs(Permission.DESK_DECIDE))
def decide_case(case_id: UUID, form: Form, uow: Uow) -> Response:
    """处理待办：重试、认领或放弃。"""
    action, request_id = text_of(form, "action"), id_of(form, "request_id")
    if request_id is None:
        raise NotFound("case.not_found")

    def use_case(work: Work) -> object:
        if action not in set(Action):
            raise Invalid([Problem("field.missing", "action")])
        return reclamation.decide_case(work, case_id, Action(action), reason=text_of(form, "reason"))

    return on_request(uow, request_id, use_case, done=action)


@router.post("/deliveries/{delivery_id}/secret", openapi_extra=needs(Permission.HANDOVER_SECRET))
def show_secret(delivery_id: UUID, uow: Uow) -> Response:
    """显示登录密钥，仅一次。"""
    shown: list[UUID] = []

    def use_case(work: Work) -> str:
        row = work.session.get(Delivery, delivery_id)
        if row is None:
            raise NotFound("delivery.not_found")
        shown.append(row.request_id)
        return delivery.show_secret(work, delivery_id, uow.core.settings)

    def refused(error: BrokerError) -> Response:
        return request_page(uow, shown[0], error=error) if shown else go("/")

    return act(uow, use_case, then=lambda secret: request_page(uow, shown[0], secret=secret), instead=refused)
