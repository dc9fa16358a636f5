"""What a snapshot of the counters allows, and why not. Pure.

Called by: ``quotas.service`` (what is left), assessment (a proposal before it holds), tests (the SQL must agree).
Must not: decide. The SQL decides when it counts; this explains and proposes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from quotas.values import Cause, Left, Limit, Line, Refusal, ResourceClass, Snapshot, Stock


def meets(limit: Limit, resource_class: ResourceClass, pool: UUID | None) -> bool:
    """Whether a line of that class and pool counts against the limit. ``pool`` None: only limits over all pools do."""
    return limit.resource_class in resource_class.counted_as and limit.pool in {None, pool}


def tightest(snapshot: Snapshot, resource_class: ResourceClass, pool: UUID | None) -> Limit | None:
    """The limit on the way to the root that leaves least; of equals the one nearest to the node. None: unlimited."""
    met = [limit for limit in snapshot.limits if meets(limit, resource_class, pool)]
    return min(met, key=lambda limit: limit.limit - limit.used, default=None)


def _by_limits(limit: Limit | None) -> int | None:
    return None if limit is None else max(limit.limit - limit.used, 0)


def _stock(snapshot: Snapshot, resource_class: ResourceClass, pool: UUID) -> Stock | None:
    return next((s for s in snapshot.stock if (s.pool, s.resource_class) == (pool, resource_class)), None)


def available(snapshot: Snapshot, resource_class: ResourceClass, pool: UUID | None) -> int | None:
    """The most of one class that would pass now. None: unlimited. A pool that does not offer the class has 0.

    With ``pool`` None only the limits are asked, no stock.
    """
    by_limits = _by_limits(tightest(snapshot, resource_class, pool))
    if pool is None:
        return by_limits
    stock = _stock(snapshot, resource_class, pool)
    if stock is None:
        return 0
    if by_limits is None:
        return stock.left
    in_steps = by_limits // stock.step * stock.step
    return in_steps if stock.left is None else min(in_steps, stock.left)


def explain(snapshot: Snapshot, lines: Sequence[Line]) -> tuple[Refusal, ...]:
    """Every counter that would refuse the lines together, in the order of the SQL; empty: it passes."""
    by_class: defaultdict[tuple[UUID, ResourceClass], int] = defaultdict(int)
    for line in lines:
        by_class[line.pool, line.resource_class] += int(line.amount)
    refused = []
    for limit in snapshot.limits:
        asked = sum(amount for (pool, kind), amount in by_class.items() if meets(limit, kind, pool))
        if asked and limit.used + asked > limit.limit:
            refused.append(
                Refusal(Cause.LIMIT, limit.node, limit.resource_class, limit.pool, limit.limit, limit.used, asked)
            )
    stock = {(s.pool, s.resource_class): s for s in snapshot.stock}
    for (pool, kind), asked in sorted(by_class.items()):
        there = stock.get((pool, kind))
        if there is None:
            refused.append(Refusal(Cause.NOT_OFFERED, None, kind, pool, 0, 0, asked))
        elif asked % there.step:
            refused.append(Refusal(Cause.STEP, None, kind, pool, there.step, 0, asked))
        elif there.capacity is not None and there.used + asked > there.capacity:
            refused.append(Refusal(Cause.CAPACITY, None, kind, pool, there.capacity, there.used, asked))
    return tuple(refused)


def left_of(snapshot: Snapshot, node: UUID, resource_class: ResourceClass, pool: UUID | None, *, used: int) -> Left:
    """One line of what is left for a node; ``used`` is what the node and everything below it use in that pool."""
    own = next((m for m in snapshot.limits if (m.node, m.resource_class, m.pool) == (node, resource_class, pool)), None)
    limit = tightest(snapshot, resource_class, pool)
    by_limits = _by_limits(limit)
    left = available(snapshot, resource_class, pool)
    stock = None if pool is None else _stock(snapshot, resource_class, pool)
    by_stock = None if pool is None else 0 if stock is None else stock.left
    bound = by_limits is not None and (by_stock is None or by_limits <= by_stock)
    return Left(
        resource_class=resource_class,
        pool=pool,
        used=used,
        limit=None if own is None else own.limit,
        left=left,
        bound_by=limit.node if limit is not None and bound else None,
    )
