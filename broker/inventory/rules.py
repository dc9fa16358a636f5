"""What a resource takes of what is scarce, how an item's pieces become resources, how a refusal is told. Pure.

Called by: assessment (what to hold), delivery (what to post), reclamation (what to give back), scarcity (what would be
refused). Must not: import SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from broker.errors import Problem
from broker.lifecycle import RESOURCE, ResourceState
from quotas.values import Cause, Line, Refusal, ResourceClass

Amounts = dict[ResourceClass, int]


def amounts(kind: str, spec: Mapping[str, Any]) -> Amounts:
    """What one resource of ``kind`` takes, by resource class (a server with its system disk; memory in GiB)."""
    if kind == "segment":
        return {ResourceClass.IPV6_64: 1}
    if kind == "volume":
        return {ResourceClass(f"block_gib_{spec['block_class']}"): spec["size_gib"]}
    arch = spec["cpu_arch"]
    return {
        ResourceClass(f"vcpu_{arch}"): spec["vcpu"],
        ResourceClass(f"memory_gib_{arch}"): spec["memory_gib"],
        ResourceClass(f"block_gib_{spec['system_disk_class']}"): spec["system_disk_gib"],
    }


def total(parts: Iterable[Amounts]) -> Amounts:
    """The sum, class by class."""
    out: Amounts = {}
    for part in parts:
        for resource_class, amount in part.items():
            out[resource_class] = out.get(resource_class, 0) + amount
    return out


def lines(parts: Amounts, pool: Any) -> list[Line]:
    """The amounts as lines against one sub-cloud's pool, in a fixed order."""
    return [Line(resource_class, amount, pool) for resource_class, amount in sorted(parts.items())]


def refused(refusal: Refusal, names: Mapping[UUID, str]) -> Problem:
    """A counter that refuses, as a problem that says whose it is. ``names``: of the units and clouds that are meant."""
    in_cloud = "_in_cloud" if refusal.cause is Cause.LIMIT and refusal.pool is not None else ""
    return Problem(
        f"quota.{refusal.cause.value}{in_cloud}",
        refusal.resource_class.value,
        params={
            "class": refusal.resource_class.value,
            "asked": refusal.asked,
            "limit": refusal.limit,
            "used": refusal.used,
            "short": refusal.asked - refusal.fits,
            "node": str(refusal.node or ""),
            "pool": str(refusal.pool or ""),
            "owner": names.get(refusal.node, "") if refusal.node else "",
            "cloud": names.get(refusal.pool, "") if refusal.pool else "",
        },
    )


def sources(to: ResourceState) -> list[str]:
    """The states from which a resource may come to ``to``."""
    return [state.value for state, nexts in RESOURCE.items() if to in nexts]
