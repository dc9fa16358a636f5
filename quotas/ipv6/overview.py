"""One pool of the plan from above: its children and what is live below it, in at most so many cells.

Called by: the console's map of the address space. Must not: change anything, or read one row for each prefix.

Two statements, whatever is below: the pools, and one sum over an index of the live prefixes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, cast, func, literal, select
from sqlalchemy.orm import Session

from quotas import models
from quotas.errors import UnknownPool
from quotas.ipv6.values import LIVE, Cell, Overview, PlanNode, PrefixState, Zone


@dataclass(slots=True)
class _Tally:
    """What lies in one cell or pool: prefixes, and whole /64s by state."""

    live: int = 0
    by_state: dict[PrefixState, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, state: PrefixState, live: int, live_64: int) -> None:
        self.live += live
        self.by_state[state] += live_64


def overview(session: Session, pool_id: UUID, cells: int = 256) -> Overview:
    """The pool, its children, and its space cut into at most ``cells`` equal cells (a power of two, 1 to 65,536).

    Cells in which nothing is live are left out. A prefix larger than a cell appears in every cell it covers, counted
    as one prefix in the first. UnknownPool.
    """
    pools = _pools(session, pool_id)
    root = pools[pool_id].prefix
    bits = min(max(cells, 1).bit_length() - 1, 16, 64 - root.prefixlen)
    width = 1 << (64 - root.prefixlen - bits)
    by_cell: dict[int, _Tally] = defaultdict(_Tally)
    by_pool: dict[UUID, _Tally] = defaultdict(_Tally)
    for row in session.execute(_sums(pool_id, pools[pool_id], width)):
        state, row_64 = PrefixState(row.state), int(row.live_64)
        by_pool[row.pool_id].add(state, row.live, row_64)
        at = _first_64(root, pools[row.pool_id].prefix) + row.bucket * width
        if row.live == 1 and row_64 > width:
            for number, cell in enumerate(range(at // width, (at + row_64) // width)):
                by_cell[cell].add(state, int(number == 0), width)
        else:
            by_cell[at // width].add(state, row.live, row_64)
    nodes = dict(_nodes(pools, by_pool))
    return Overview(
        pool=nodes[pool_id],
        children=tuple(node for node in nodes.values() if node.parent_id == pool_id),
        cell_length=root.prefixlen + bits,
        cells=tuple(
            Cell(cell, _cell_prefix(root, cell, bits), tally.live, dict(tally.by_state))
            for cell, tally in sorted(by_cell.items())
        ),
    )


def _pools(session: Session, pool_id: UUID) -> Mapping[UUID, Any]:
    """The pool and all below it, in order of address."""
    p, d = models.prefix_pool, models.routing_domain
    root = p.alias("root")
    rows = session.execute(
        select(p, d.c.zone, d.c.code)
        .join(d, d.c.id == p.c.domain_id)
        .join(root, (root.c.domain_id == p.c.domain_id) & p.c.prefix.bool_op("<<=")(root.c.prefix))
        .where(root.c.id == pool_id, p.c.depth >= root.c.depth)
        .order_by(p.c.prefix, p.c.depth)
    ).all()
    if not rows:
        raise UnknownPool(str(pool_id))
    return {row.id: row for row in rows}


def _sums(pool_id: UUID, pool: Any, width: int) -> Any:
    """Live prefixes summed by pool, state and the cell they begin in; what is larger than a cell stays alone."""
    a, p = models.prefix_allocation, models.prefix_pool
    below = select(p.c.id).where(
        p.c.domain_id == pool.domain_id, p.c.depth >= pool.depth, p.c.prefix.bool_op("<<=")(str(pool.prefix))
    )
    bucket = a.c.first_64.op("/")(literal(width)).label("bucket")
    large = cast(a.c.count_64 > width, Integer)
    return (
        select(a.c.pool_id, a.c.state, bucket, func.count().label("live"), func.sum(a.c.count_64).label("live_64"))
        .where(a.c.pool_id.in_(below) if not pool.hands_out else a.c.pool_id == pool_id, a.c.state.in_(LIVE))
        .group_by(a.c.pool_id, a.c.state, bucket, large)
    )


def _first_64(root: IPv6Network, prefix: IPv6Network) -> int:
    return (int(prefix.network_address) - int(root.network_address)) >> 64


def _cell_prefix(root: IPv6Network, cell: int, bits: int) -> IPv6Network:
    length = root.prefixlen + bits
    return IPv6Network((IPv6Address(int(root.network_address) + (cell << (128 - length))), length))


def _nodes(pools: Mapping[UUID, Any], own: Mapping[UUID, _Tally]) -> Iterator[tuple[UUID, PlanNode]]:
    """Every pool with what is live in it and below."""
    live: dict[UUID, int] = defaultdict(int)
    live_64: dict[UUID, int] = defaultdict(int)
    for pool_id, tally in own.items():
        at: UUID | None = pool_id
        while at is not None and at in pools:
            live[at] += tally.live
            live_64[at] += sum(tally.by_state.values())
            at = pools[at].parent_id
    for pool_id, row in pools.items():
        yield pool_id, PlanNode(
            row.id, row.parent_id, row.depth, row.level, Zone(row.zone), row.code, row.prefix, row.hands_out,
            live[pool_id], live_64[pool_id],
        )  # fmt: skip
