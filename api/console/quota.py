"""A unit's quota before anything is asked for: limits, use, holds and what is left, and the units below it.

Called by: browsers. Must not: decide whose quota an actor may see (``scarcity.tree`` does), or set a limit
(``api.console.quota_limits``).
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from fastapi.responses import Response

from api.console.page import Context, console_router, page
from api.permissions import Permission, allowed, needs
from api.uow import Uow
from broker.scarcity import claims, setting, tree
from broker.scarcity.tree import Bar, Branch
from broker.tenancy.work import Work
from quotas.values import ResourceClass

router = console_router("配额")

COLUMNS = (
    ResourceClass.VCPU,
    ResourceClass.MEMORY_GIB,
    ResourceClass.BLOCK_GIB_SSD,
    ResourceClass.BLOCK_GIB_HDD,
    ResourceClass.IPV6_64,
)
"""The classes that the table of units below shows; all of a unit's own stand on its own page."""


@router.get("/quota", openapi_extra=needs(Permission.QUOTA_READ))
def quota(uow: Uow, unit: Annotated[str, Query(max_length=40)] = "") -> Response:
    """单位配额。"""

    def collect(work: Work) -> Context:
        found = tree.of_unit(work, unit or tree.first(work))
        by_pool: dict[UUID, list[Bar]] = {}
        for bar in found.bars:
            if bar.pool is not None:
                by_pool.setdefault(bar.pool, []).append(bar)
        return {
            "tree": found,
            "everywhere": [bar for bar in found.bars if bar.pool is None],
            "by_pool": by_pool,
            "columns": COLUMNS,
            "percent": uow.core.settings.quota_notice_percent,
            "below": [_line(branch) for branch in found.below if branch.bars],
            "systems": [_line(branch) for branch in found.systems],
            "claims": claims.open_claims(work, [found.unit.id, *(branch.unit.id for branch in found.systems)]),
            "may_set": allowed(work.actor, Permission.QUOTA_SET) and setting.may_set(work),
            "plain": [branch.unit for branch in found.below if not branch.bars],
        }

    return page(uow, "quota/quota.html", collect)


def _line(branch: Branch) -> dict[str, Any]:
    """A unit below: its bars over all clouds by class, and whether it has limits in single clouds too."""
    cells = {bar.resource_class: bar for bar in branch.bars if bar.pool is None}
    return {"unit": branch.unit, "cells": cells, "in_clouds": any(bar.pool is not None for bar in branch.bars)}
