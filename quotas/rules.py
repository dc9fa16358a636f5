"""What a snapshot of the counters allows, and why not. Pure.

Called by: ``quotas.availability`` (what is left), assessment (a proposal before it holds), tests (the SQL must agree).
Must not: decide. The SQL decides when it counts; this explains and proposes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from quotas.errors import NoLender, NotCovered
from quotas.values import ENDLESS, Cause, Left, Limit, Line, Refusal, ResourceClass, Snapshot, Stock


def meets(limit: Limit, resource_class: ResourceClass, pool: UUID | None) -> bool:
    """Whether a line of that class and pool counts against the limit. ``pool`` None: only limits over all pools do."""
    return limit.resource_class in resource_class.counted_as and limit.pool in {None, pool}


def chains(snapshot: Snapshot, resource_class: ResourceClass, pool: UUID | None) -> list[list[Limit]]:
    """The limits a line meets, one chain for each class and pool that limits are kept for; the nearest first."""
    found: defaultdict[tuple[ResourceClass, UUID | None], list[Limit]] = defaultdict(list)
    for limit in snapshot.limits:
        if meets(limit, resource_class, pool):
            found[limit.resource_class, limit.pool].append(limit)
    return list(found.values())


def room(chain: Sequence[Limit]) -> tuple[int, Limit]:
    """What would pass the lowest limit of a chain (not empty), and the limit that binds; below zero: an overage.

    Kueue's ``available = local + min(parent's available, stored + borrowing limit)`` (``resource_node.go``): local is
    what is guaranteed and not used; stored, what of the nominal share is lent and not used.
    """
    limit, *above = chain
    local = max(0, limit.guaranteed - limit.load)
    stored = limit.limit - limit.guaranteed - max(0, limit.load - limit.guaranteed)
    own = limit.ceiling - limit.guaranteed - max(0, limit.load - limit.guaranteed)
    assert limit.borrowing is None or own == stored + limit.borrowing
    if not above:
        return local + own, limit
    parent, binds = room(above)
    return (local + parent, binds) if parent < own else (local + own, limit)


def tightest(snapshot: Snapshot, resource_class: ResourceClass, pool: UUID | None) -> tuple[int, Limit] | None:
    """What the limits on the way to the root leave, and which of them binds; of equals the nearest. None: unlimited."""
    rooms = [room(chain) for chain in chains(snapshot, resource_class, pool)]
    tight = min(rooms, key=lambda found: found[0], default=None)
    return None if tight is None or tight[1].ceiling == ENDLESS else tight


def _by_limits(tight: tuple[int, Limit] | None) -> int | None:
    return None if tight is None else max(tight[0], 0)


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
    kept: defaultdict[tuple[ResourceClass, UUID | None], int] = defaultdict(int)
    for limit in snapshot.limits:
        asked = sum(amount for (pool, kind), amount in by_class.items() if meets(limit, kind, pool))
        # What fills a guarantee below was booked here before.
        asked -= kept[limit.resource_class, limit.pool]
        kept[limit.resource_class, limit.pool] += min(max(limit.guaranteed - limit.load, 0), max(asked, 0))
        if asked > 0 and limit.load + asked > limit.ceiling:
            refused.append(
                Refusal(Cause.LIMIT, limit.node, limit.resource_class, limit.pool, limit.ceiling, limit.load, asked)
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


def changed(
    limits: Mapping[UUID, tuple[Limit, Sequence[UUID]]], node: UUID, way: Sequence[UUID], now: Limit | None
) -> dict[UUID, Limit]:
    """The limits of one class and pool in a tree (each with its way, itself first) once ``now`` stands at ``node``.

    None: unlimited. What is booked for guarantees is worked out anew. Raises NoLender, NotCovered, as setting it does.
    """
    was = limits[node][0] if node in limits else None
    if now is not None and now.borrowing != 0 and len(way) == 1:
        raise NoLender(str(node))
    standing = {at: kept for at, kept in limits.items() if at != node}
    if now is not None:
        standing[node] = now, way
    booked: defaultdict[UUID, int] = defaultdict(int)
    found: dict[UUID, Limit] = {}
    for at, (limit, path) in sorted(standing.items(), key=lambda item: -len(item[1][1])):
        found[at] = replace(limit, booked=booked[at])
        above = next((place for place in path[1:] if place in standing), None)
        if above is not None:
            booked[above] += found[at].counted_above - limit.used
    mine = found.get(node)
    kept = was and now and was.lending is None and now.lending is None and now.ceiling >= was.ceiling
    if mine is not None and mine.load > mine.ceiling and not kept and _guarantees_below(standing, node):
        raise NotCovered(node, mine.ceiling, mine.load)
    if mine is not None and mine.guaranteed > (was.guaranteed if was else 0):
        for higher in (found[place] for place in way[1:] if place in found):
            if higher.load > higher.ceiling:
                raise NotCovered(higher.node, higher.ceiling, higher.load)
    return found


def moved(
    limits: Sequence[tuple[Limit, Sequence[UUID]]],
    use: Mapping[tuple[ResourceClass, UUID], int],
    old: Sequence[UUID],
    new: Sequence[UUID],
) -> tuple[Refusal, ...]:
    """What would be over once ``old[0]``, with all below it, stood below ``new[0]``; ``asked``: what came there.

    ``old`` and ``new``: the ways from both to the root, themselves first. ``limits``, each with its way: all that stand
    on the two, and what is guaranteed below them. ``use``: what is used below the node. Raises NotCovered as moving
    does: something is guaranteed below what would be over.
    """
    node, leaves, comes = old[0], set(old[1:]) - set(new), set(new) - set(old[1:])
    ways = {place: list(way) for place, (_, way) in enumerate(limits)}
    for way in ways.values():
        if node in way:
            way[way.index(node) + 1 :] = new
    found = {place: limit for place, (limit, _) in enumerate(limits)}
    over = []
    on_ways = [place for place, limit in found.items() if limit.node in {*old[1:], *new}]
    for place in sorted(on_ways, key=lambda place: -len(ways[place])):  # what one books depends on those below it
        was = found[place]
        same = [
            at for at, other in found.items() if (other.resource_class, other.pool) == (was.resource_class, was.pool)
        ]
        below = [found[at] for at in same if found[at].guaranteed and was.node in ways[at][1:]]
        goes = sum(n for (kind, pool), n in use.items() if kind is was.resource_class and was.pool in {None, pool})
        now = found[place] = replace(
            was,
            used=was.used + goes * ((was.node in comes) - (was.node in leaves)),
            booked=sum(max(other.guaranteed - other.load, 0) for other in below),
        )
        if now.load > was.load and now.load > now.ceiling:
            if below:
                raise NotCovered(now.node, now.ceiling, now.load)
            came = now.load - was.load
            over.append(Refusal(Cause.LIMIT, now.node, now.resource_class, now.pool, now.ceiling, was.load, came))
    return tuple(over)


def _guarantees_below(limits: Mapping[UUID, tuple[Limit, Sequence[UUID]]], node: UUID) -> bool:
    return any(limit.guaranteed and node in path[1:] for limit, path in limits.values())


def left_of(snapshot: Snapshot, node: UUID, resource_class: ResourceClass, pool: UUID | None, *, used: int) -> Left:
    """One line of what is left for a node; ``used`` is what the node and everything below it use in that pool."""
    own = next((m for m in snapshot.limits if (m.node, m.resource_class, m.pool) == (node, resource_class, pool)), None)
    tight = tightest(snapshot, resource_class, pool)
    by_limits = _by_limits(tight)
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
        bound_by=tight[1].node if tight is not None and bound else None,
    )
