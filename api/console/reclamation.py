"""Giving resources back: the unit asks, the delivering authority confirms.

Called by: browsers. Must not: call a cloud.
"""

from __future__ import annotations

from uuid import UUID

from fastapi.responses import Response

from api.console.page import Form, console_router, id_of, text_of
from api.console.request import on_request
from api.permissions import Permission, needs
from api.uow import Uow
from broker.errors import NotFound
from broker.reclamation import service as reclamation

router = console_router("回收")


@router.post("/requests/{request_id}/release", openapi_extra=needs(Permission.RELEASE_ASK))
def ask(request_id: UUID, form: Form, uow: Uow) -> Response:
    """申请释放资源。"""
    reason = text_of(form, "reason")
    return on_request(
        uow, request_id, lambda work: reclamation.ask(work, request_id, reason=reason), done="release_asked"
    )


@router.post("/releases/{release_id}/confirm", openapi_extra=needs(Permission.RELEASE_CONFIRM))
def confirm(release_id: UUID, form: Form, uow: Uow) -> Response:
    """确认释放。"""
    request_id = id_of(form, "request_id")
    if request_id is None:
        raise NotFound("release.not_found")
    return on_request(uow, request_id, lambda work: reclamation.confirm(work, release_id), done="release_confirmed")
