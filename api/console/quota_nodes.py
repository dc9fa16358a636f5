"""The Bureau's page of where a node stands: what a move would put over its limits, moving it, nodes for systems.

Called by: browsers. Must not: count, or decide who may (``scarcity.shaping`` does).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import HTMLResponse, Response

from api.console import show
from api.console.page import Context, Form, act, console_router, go, page, text_of
from api.permissions import Permission, needs
from api.uow import UnitOfWork, Uow
from broker.errors import BrokerError
from broker.inventory.repository import node_names
from broker.scarcity import by_hand, setting, shaping
from broker.scarcity.shaping import Moved
from broker.tenancy.work import Work

router = console_router("配额")

Node = Annotated[str, Query(max_length=40)]


@router.get("/quota/nodes", openapi_extra=needs(Permission.QUOTA_SET))
def nodes(uow: Uow, node: Node = "") -> Response:
    """调整节点。"""
    return _show(uow, node)


@router.post("/quota/nodes", openapi_extra=needs(Permission.QUOTA_SET))
def shape(form: Form, uow: Uow, node: Node = "") -> Response:
    """预览移动、移动，或为信息系统单设节点。"""
    given = {name: text_of(form, name) for name in ("below", "over", "system", "reason", "give_reason")}

    def again(error: BrokerError) -> Response:
        return _show(uow, node, error, given=given)

    if text_of(form, "action") == "look":
        return act(
            uow,
            lambda work: shaping.look(work, node, given["below"]),
            then=lambda found: _show(uow, node, given=given, looked=found),
            instead=again,
        )
    if text_of(form, "action") == "give":
        return act(
            uow,
            lambda work: shaping.give(work, given["system"], reason=given["give_reason"]),
            then=lambda _: go(f"/quota/nodes?node={node}", done="node_given"),
            instead=again,
        )
    return act(
        uow,
        lambda work: shaping.move(work, node, given["below"], reason=given["reason"], over=bool(given["over"])),
        then=lambda _: go(f"/quota/nodes?node={node}", done="node_moved"),
        instead=again,
    )


def _show(
    uow: UnitOfWork,
    node: str,
    error: BrokerError | None = None,
    *,
    given: dict[str, str] | None = None,
    looked: Moved | None = None,
) -> HTMLResponse:
    def collect(work: Work) -> Context:
        at = by_hand.node_of(work.session, node, now=work.now)
        above = shaping.above(work, at)
        return {
            "node": node,
            "name": node_names(work.session, [at], work.now).get(at, node),
            "above": above,
            "systems": shaping.without_node(work.session, at),
            "given": {"below": "", "over": "", "system": "", "reason": "", "give_reason": ""} | (given or {}),
            "looked": looked,
            "may_set": setting.may_set(work),
            "problems": show.problems(error.problems) if error else [],
        }

    return page(uow, "quota/nodes.html", collect, status=error.status if error else 200)
