"""The Bureau shapes the quota tree over HTTP: a node for a system, a node below another; a move is looked at first.

Called by: the Bureau, and its programs. Must not: count, or decide who may.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api.openapi import WRITES_NOTHING
from api.permissions import Permission, needs
from api.routes.quota_limits import NodeCode
from api.schemas import quota_nodes as schemas
from api.uow import Uow
from api.views import quota_nodes as views
from broker.scarcity import shaping

router = APIRouter(prefix="/api/v1", tags=["配额与地址"])


@router.post(
    "/quota-nodes",
    response_model=schemas.QuotaNode,
    status_code=201,
    summary="为信息系统单设节点",
    openapi_extra=needs(Permission.QUOTA_SET),
)
def give(form: schemas.NewQuotaNode, uow: Uow) -> Response:
    """系统已有的预留与用量随之移入，今后在此计数，可另设限额；已有节点的不变。"""
    return uow.run(lambda work: shaping.give(work, form.system, reason=form.reason), render=views.given, status=201)


@router.post(
    "/quota-nodes/{code}/move/check",
    response_model=schemas.QuotaMoved,
    summary="预览节点移动",
    openapi_extra=needs(Permission.QUOTA_SET) | WRITES_NOTHING,
)
def check(code: NodeCode, form: schemas.CheckedMove, uow: Uow) -> Response:
    """不作改动，也不占用任何锁；列出新的上级中将超过的限额。"""
    return uow.read(lambda work: shaping.look(work, code, form.below), render=views.moved)


@router.post(
    "/quota-nodes/{code}/move",
    response_model=schemas.QuotaMoved,
    summary="移动节点",
    openapi_extra=needs(Permission.QUOTA_SET),
)
def move(code: NodeCode, form: schemas.QuotaMove, uow: Uow) -> Response:
    """连同下级移到另一节点之下，预留与用量随之改在新的上级计数。超过限额的不移动并逐项列出；over 为真的照移。"""
    return uow.run(
        lambda work: shaping.move(work, code, form.below, reason=form.reason, over=form.over), render=views.moved
    )
