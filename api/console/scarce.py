"""What a unit asks for beside what it has and what is left: one table for the form, the decision and the assessment.

Called by: pages of request, approval and assessment. Must not: decide; the hold does when it counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from broker.assessment.rules import item_amounts
from broker.inventory import rules as scarce
from broker.request.values import Item
from broker.tenancy.work import Work
from quotas import service as quotas
from quotas.values import ResourceClass

SHOWN = (
    ResourceClass.VCPU,
    ResourceClass.MEMORY_GIB,
    ResourceClass.BLOCK_GIB_SSD,
    ResourceClass.BLOCK_GIB_HDD,
    ResourceClass.IPV6_64,
)


def left_for(work: Work, unit_id: UUID, items: Iterable[Item]) -> list[dict[str, Any]]:
    """For each class: what the unit's tree holds, what is asked, what is left (None: no limit) and whether it fits."""
    asked: dict[ResourceClass, int] = {}
    for kind, amount in scarce.total(item_amounts(item) for item in items).items():
        for counted in kind.counted_as:
            asked[counted] = asked.get(counted, 0) + amount
    return [
        {
            "class": left.resource_class.value,
            "used": left.used,
            "limit": left.limit,
            "left": left.left,
            "asked": asked.get(left.resource_class, 0),
            "fits": left.left is None or asked.get(left.resource_class, 0) <= left.left,
        }
        for left in quotas.left(work.session, unit_id)
        if left.resource_class in SHOWN
    ]
