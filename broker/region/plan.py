"""The IPv6 plan of a region: which unit's block lies where in each zone. Pure.

Called by: ``region.checks`` and ``region.loader``; assessment, to know which pools a unit's segment may come from.
Must not: hand out a prefix (``quotas`` does).

A zone has a prefix. A unit's block lies in its parent's, at its two-digit ``block`` number; the lengths are the plan's
levels. A unit with others below it uses block 00 of its own space itself, so that every pool that hands out is a leaf.
A department may have a private plan of its own instead: one pool of unique local space for itself and all below it, in
a routing domain of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise
from uuid import UUID, uuid5

from broker.errors import Problem
from broker.region.schema import Ipv6Plan, Region, UnitEntry

OWN_BLOCK = "00"
BLOCK_BITS = 8
UNIQUE_LOCAL = IPv6Network("fc00::/7")
"""RFC 4193."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One block of the plan. ``own``: the unit's own segments come from it; else it holds the blocks below the unit."""

    zone: str
    unit: str
    own: bool
    parent: Pool | None
    prefix: IPv6Network
    level: str
    routing_domain: str = ""  # empty: the zone's


def block_pool_id(unit_id: UUID, zone: str) -> UUID:
    """The pool that holds the blocks of the units below this one."""
    return uuid5(unit_id, f"prefix-block:{zone}")


def own_pool_id(unit_id: UUID, zone: str) -> UUID:
    """The pool from which this unit's own segments are handed out, if it has one."""
    return uuid5(unit_id, f"prefix-own:{zone}")


def candidate_pools(ancestors: Sequence[UUID], zone: str) -> list[UUID]:
    """Where a unit's segment may come from, nearest first. ``ancestors`` run from the root to the unit itself.

    Units below the plan's last level have no pool of their own: take the first of these that exists.
    """
    return [own_pool_id(unit_id, zone) for unit_id in reversed(ancestors)]


def pools_of(region: Region) -> list[Pool]:
    """Every pool of the plan, parents before children."""
    children: dict[str, list[UnitEntry]] = {}
    for unit in region.units.more:
        if unit.parent is not None:
            children.setdefault(unit.parent, []).append(unit)
    roots = [unit for unit in region.units.more if unit.kind == "region"]
    pools: list[Pool] = []
    for zone in region.ipv6.zones:
        for root in roots:
            pools.extend(
                _below(Pool(zone.zone, root.code, False, None, zone.prefix, root.kind), 0, region.ipv6, children)
            )
    return pools


def _below(space: Pool, depth: int, plan: Ipv6Plan, children: Mapping[str, Sequence[UnitEntry]]) -> Iterator[Pool]:
    """The pool itself, its own leaf and the blocks of the units below it."""
    if depth == len(plan.levels):
        yield replace(space, own=True)
        return
    level = plan.levels[depth]
    yield space
    own = at_block(space.prefix, OWN_BLOCK, level.length)
    yield Pool(space.zone, space.unit, own=True, parent=space, prefix=own, level="own")
    private = {own.unit: own for own in plan.private} if space.zone == "private" else {}
    for unit in children.get(space.unit, ()):
        if unit.code in private:
            own_plan = private[unit.code]
            yield Pool(space.zone, unit.code, True, None, own_plan.prefix, unit.kind, own_plan.routing_domain)
        elif unit.kind in level.kinds and unit.block is not None:
            prefix = at_block(space.prefix, unit.block, level.length)
            block = Pool(space.zone, unit.code, own=False, parent=space, prefix=prefix, level=unit.kind)
            yield from _below(block, depth + 1, plan, children)


def at_block(space: IPv6Network, block: str, length: int) -> IPv6Network:
    """The network of ``length`` at a block number within ``space``; the number ends where ``length`` does."""
    address = int(space.network_address) + (int(block, 16) << (128 - length))
    return IPv6Network((IPv6Address(address), length))


def plan_problems(region: Region) -> Iterator[Problem]:
    """Prefixes inside the space and apart, lengths that grow, blocks that fit and are given once."""
    plan = region.ipv6
    lengths = [level.length for level in plan.levels]
    for index, zone in enumerate(plan.zones):
        here = f"ipv6.zones[{index}].prefix"
        if not zone.prefix.subnet_of(plan.space):
            yield Problem("region.outside", here, params={"code": str(zone.prefix)})
        if any(zone.prefix.overlaps(other.prefix) for other in plan.zones[:index]):
            yield Problem("region.overlap", here, params={"code": str(zone.prefix)})
        steps = [zone.prefix.prefixlen, *lengths]
        if any(after - before < BLOCK_BITS for before, after in pairwise(steps)):
            yield Problem("region.no_room", "ipv6.levels", params={"code": zone.zone})
    if lengths and plan.segment_length <= lengths[-1]:
        yield Problem("region.no_room", "ipv6.segment_length")
    missing = {zone.code for zone in region.zones} - {zone.zone for zone in plan.zones}
    for code in sorted(missing):
        yield Problem("region.missing", "ipv6.zones", params={"code": code})
    yield from _private_problems(plan)
    yield from _block_problems(region)


def _private_problems(plan: Ipv6Plan) -> Iterator[Problem]:
    """Unique local space; one plan a unit and a routing domain."""
    for index, private in enumerate(plan.private):
        if not private.prefix.subnet_of(UNIQUE_LOCAL):
            yield Problem("region.not_local", f"ipv6.private[{index}].prefix", params={"code": str(private.prefix)})
        for other in plan.private[:index]:
            if private.unit == other.unit or private.routing_domain == other.routing_domain:
                yield Problem("region.overlap", f"ipv6.private[{index}]", params={"code": str(private.prefix)})


def _block_problems(region: Region) -> Iterator[Problem]:
    taken: dict[tuple[str | None, str], str] = {}
    for unit in region.units.more:
        if unit.block is None:
            continue
        if unit.block == OWN_BLOCK:
            yield Problem("region.block_reserved", f"units.{unit.code}.block")
        elif (unit.parent, unit.block) in taken:
            other = taken[unit.parent, unit.block]
            yield Problem("region.block_taken", f"units.{unit.code}.block", params={"code": unit.block, "by": other})
        else:
            taken[unit.parent, unit.block] = unit.code
    planned = {kind for level in region.ipv6.levels for kind in level.kinds}
    for unit in region.units.more:
        if unit.kind in planned - {"office"} and unit.block is None:
            yield Problem("region.missing", f"units.{unit.code}.block", params={"code": "block"})
