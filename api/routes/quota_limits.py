"""A node's limits over HTTP: read, looked at before they are set, set.

Called by: the Bureau, and its programs. Must not: count, or decide who may.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from api.openapi import WRITES_NOTHING
from api.permissions import Permission, needs
from api.schemas import quota_limits as schemas
from api.uow import Uow
from api.views import quota_limits as views
from broker.scarcity import setting
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["配额与地址"])

NodeCode = Annotated[str, Path(max_length=40, description="单位代码，或单设节点的信息系统代码")]


@router.get(
    "/quota-nodes/{code}/limits",
    response_model=schemas.OwnLimits,
    summary="节点自身的限额",
    openapi_extra=needs(Permission.QUOTA_SET),
)
def own(code: NodeCode, uow: Uow) -> Response:
    """份额、可借入、可借出；`seen` 在设置时带回，期间有变化则为 412。"""

    def read(work: Work) -> schemas.OwnLimits:
        found, mark = setting.limits(work, code)
        return views.own(work, found, mark)

    return uow.read(read, render=lambda found: found)


@router.post(
    "/quota-nodes/{code}/limits/check",
    response_model=schemas.LimitChanges,
    summary="预览限额",
    openapi_extra=needs(Permission.QUOTA_SET) | WRITES_NOTHING,
)
def check(code: NodeCode, form: schemas.CheckedLimits, uow: Uow) -> Response:
    """不作改动，也不占用任何锁；列出谁将超额、谁的可用余量减少。"""
    return uow.read(lambda work: setting.look(work, code, views.wanted(form.lines)), render=views.changes)


@router.post(
    "/quota-nodes/{code}/limits",
    response_model=schemas.LimitChanges,
    summary="设置限额",
    openapi_extra=needs(Permission.QUOTA_SET),
)
def apply(code: NodeCode, form: schemas.NewLimits, uow: Uow) -> Response:
    """自治区大数据发展局设置；全部成立才生效，逐项记入审计。限额可低于已用，此后只能减少。"""
    return uow.run(
        lambda work: setting.apply(work, code, views.wanted(form.lines), reason=form.reason, seen=form.seen),
        render=views.changes,
    )
