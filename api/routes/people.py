"""Personal data over HTTP: it can be erased.

Called by: the administrator. Must not: hold rules.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from api.permissions import Permission, needs
from api.schemas.base import View
from api.uow import Uow
from broker.tenancy import service

router = APIRouter(prefix="/api/v1", tags=["人员"])


class Blanked(View):
    """A person whose data was erased."""

    id: UUID
    blanked_at: datetime


@router.post(
    "/people/{person_id}/blanking",
    response_model=Blanked,
    summary="清除个人信息",
    openapi_extra=needs(Permission.PERSON_BLANK),
)
def blank(person_id: UUID, uow: Uow) -> Response:
    """姓名、电话、邮箱、职务一并清除，账号停用；所作的决定保留。"""
    return uow.run(lambda work: service.blank_person(work, person_id), render=Blanked.model_validate)
