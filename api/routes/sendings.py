"""Notices whose sending nobody knows the outcome of, or that failed for good: the administrator's desk.

Called by: the administrator. Must not: send (the worker does), or show an address.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from api import texts
from api.console import show
from api.permissions import Permission, needs
from api.schemas.base import Boolean, Schema, View
from api.uow import Uow
from broker.notify import outbox
from broker.notify.models import Notice, NoticeSending

router = APIRouter(prefix="/api/v1/notice-sendings", tags=["通知"])


class Sending(View):
    """A notice on its way by one channel."""

    id: UUID
    notice_id: UUID
    channel: str
    account_id: UUID | None
    webhook: str
    state: str
    attempts: int
    code: str
    next_at: datetime


class OnDesk(Sending):
    """With what it says, when, to whom (``recipient``: a login, or a webhook's name), and why it was not sent."""

    recipient: str
    message: str
    created_at: datetime
    reason: str


class Again(Schema):
    """Whether it is sent once more, or let be."""

    again: Boolean


@router.get(
    "", response_model=list[OnDesk], summary="发送结果不明的通知", openapi_extra=needs(Permission.SENDING_DECIDE)
)
def desk(uow: Uow) -> Response:
    """结果不明或多次未能发出的，早的在前，至多 100 条；系统不会自行重发结果不明的。"""
    return uow.read(outbox.desk, render=lambda rows: [_on_desk(*row) for row in rows])


def _on_desk(sending: NoticeSending, notice: Notice, login: str | None) -> OnDesk:
    about = {
        "recipient": login or sending.webhook,
        "message": show.notice(notice.code, notice.params),
        "created_at": notice.created_at,
        "reason": texts.sending_trouble(sending.code),
    }
    return OnDesk.model_validate({name: getattr(sending, name) for name in Sending.model_fields} | about)


@router.post(
    "/{sending_id}", response_model=Sending, summary="重发或不再发送", openapi_extra=needs(Permission.SENDING_DECIDE)
)
def decide(sending_id: UUID, form: Again, uow: Uow) -> Response:
    """重发可能使收件人收到两次。"""
    return uow.run(lambda work: outbox.decide(work, sending_id, again=form.again), render=Sending.model_validate)
