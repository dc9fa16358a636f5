"""What a region file says of amounts: the limit tree, the capacity of the clouds, the IPv6 plan. Written by ``quotas``.

Called by: ``region.loader``, after the units and clouds were written. Must not: count or hand out anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select

from broker.region.plan import Pool, block_pool_id, own_pool_id, pools_of
from broker.region.rows import Run
from broker.region.schema import SubCloudEntry
from broker.region.tree import parents_first
from quotas import models, service
from quotas.errors import BadPrefix, NodeElsewhere, PrefixOverlap
from quotas.ipv6 import service as ipv6
from quotas.ipv6.values import Level, Zone
from quotas.values import ResourceClass

_LEVELS = {
    "region": Level.PROVINCE,
    "city": Level.CITY,
    "county": Level.COUNTY,
    "department": Level.DEPARTMENT,
    "office": Level.UNIT,
    "own": Level.UNIT,
}


@dataclass(frozen=True, slots=True)
class Stocked:
    """What one cloud has of one class; ``total`` None: something else bounds it."""

    pool: UUID
    resource_class: ResourceClass
    total: int | None
    reserved: int = 0
    ratio: Decimal = Decimal(1)


def nodes(run: Run) -> None:
    """One node a unit, where the unit stood at the start; from a change's day on ``reorganisation.units`` moves it."""
    known = set(run.session.scalars(select(models.node.c.id)))
    for unit in parents_first(run.region):
        node = run.ids["unit"][unit.code]
        if node in known:
            continue
        try:
            parent = None if unit.parent is None else run.ids["unit"][unit.parent]
            service.add_node(run.session, id=node, parent_id=parent)
        except NodeElsewhere:
            run.refuse("region.fixed", f"units.{unit.code}.parent")
        run.counts["node.added"] += 1


def capacity(run: Run) -> None:
    """What the clouds have; only what differs is set (setting waits for everybody who is counting)."""
    known = {(row.pool_id, row.resource_class): row for row in run.session.execute(select(models.inventory))}
    for cloud in run.region.sub_clouds:
        for stock in _stock(cloud, run.ids["cloud"][cloud.code]):
            row = known.get((stock.pool, stock.resource_class.value))
            there = None if row is None else (row.total, row.reserved, row.allocation_ratio)
            if there == (stock.total, stock.reserved, stock.ratio):
                continue
            service.alone(run.session)
            service.set_inventory(
                run.session,
                stock.pool,
                stock.resource_class,
                total=stock.total,
                reserved=stock.reserved,
                allocation_ratio=stock.ratio,
            )
            run.counts["inventory.added" if row is None else "inventory.changed"] += 1


def _stock(cloud: SubCloudEntry, pool: UUID) -> Iterator[Stocked]:
    for arch, compute in cloud.capacity.compute.items():
        spare = compute.reserved_percent
        yield Stocked(
            pool, ResourceClass.vcpu_of(arch), compute.cores, compute.cores * spare // 100, compute.vcpu_ratio
        )
        yield Stocked(pool, ResourceClass.memory_of(arch), compute.memory_gib, compute.memory_gib * spare // 100)
    for block_class, block in cloud.capacity.block.items():
        yield Stocked(pool, ResourceClass.block_of(block_class), block.gib, block.gib * block.reserved_percent // 100)
    yield Stocked(pool, ResourceClass.IPV6_64, None)


def limits(run: Run) -> None:
    """What units may hold. A class that the file no longer names for a unit it names is unlimited again."""
    known = {
        (row.node_id, row.pool_id, row.resource_class): row.limit_amount
        for row in run.session.execute(select(models.node_limit))
    }
    for quota in run.region.quotas:
        node = run.ids["unit"][quota.unit]
        pool = None if quota.cloud is None else run.ids["cloud"][quota.cloud]
        wanted: dict[str, int] = dict(quota.limits.items())
        there = {kind: amount for (n, p, kind), amount in known.items() if (n, p) == (node, pool)}
        for kind in sorted(set(wanted) | set(there)):
            if wanted.get(kind) != there.get(kind):
                service.alone(run.session)
                service.set_limit(run.session, node, ResourceClass(kind), pool, wanted.get(kind))
                run.counts["node_limit.added" if kind not in there else "node_limit.changed"] += 1


def prefix_pools(run: Run) -> None:
    """The blocks of the IPv6 plan. A block that is there stays: a unit's addresses do not move."""
    domains: dict[str, str] = {zone.code: zone.routing_domain for zone in run.region.zones}
    known = {row.id: row.prefix for row in run.session.execute(select(models.prefix_pool))}
    for pool in pools_of(run.region):
        id_ = _id(run, pool)
        if known.get(id_) == pool.prefix:
            continue
        try:
            ipv6.ensure_pool(
                run.session,
                id=id_,
                zone=Zone(pool.zone),
                routing_domain=pool.routing_domain or domains[pool.zone],
                prefix=pool.prefix,
                parent_id=None if pool.parent is None else _id(run, pool.parent),
                level=_LEVELS[pool.level],
                hands_out=pool.own,
            )
            run.counts["prefix_pool.added"] += 1
        except (BadPrefix, PrefixOverlap):
            run.refuse("region.fixed", f"units.{pool.unit}.block")


def _id(run: Run, pool: Pool) -> UUID:
    make = own_pool_id if pool.own else block_pool_id
    return make(run.ids["unit"][pool.unit], pool.zone)
