"""A part of one pool from near: the cells of a prefix inside it, and what lies there one by one.

Called by: the broker's ``scarcity`` (the map of the address space, zoomed in). Must not: change anything. Where a whole
pool is looked at, ``overview`` does it with what lies below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, cast, func, literal, select
from sqlalchemy.orm import Session

from quotas import models
from quotas.errors import BadPrefix, UnknownPool
from quotas.ipv6.values import LIVE, Cell, PrefixState, slash64s


@dataclass(frozen=True, slots=True)
class Taken:
    """One prefix that is live: whose, in which state, until when."""

    prefix: IPv6Network
    owner: UUID
    state: PrefixState
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Window:
    """Cells of ``within`` (/``cell_length`` each, the empty ones left out), and the first prefixes that lie in it."""

    within: IPv6Network
    cell_length: int
    cells: tuple[Cell, ...]
    taken: tuple[Taken, ...]
    more: bool


def window(session: Session, pool_id: UUID, within: IPv6Network, *, cells: int = 256, most: int = 256) -> Window:
    """Look at a prefix of a pool that hands out: three statements over an index, whatever the pool holds.

    ``most``: how many prefixes are named one by one; ``more`` says that there are others. UnknownPool; BadPrefix
    ``outside``: not inside the pool.
    """
    p = models.prefix_pool
    pool = session.execute(select(p).where(p.c.id == pool_id)).first()
    if pool is None:
        raise UnknownPool(str(pool_id))
    if not within.subnet_of(pool.prefix) or within.prefixlen > 64:
        raise BadPrefix("outside", str(within))
    bits = min(max(cells, 1).bit_length() - 1, 64 - within.prefixlen)
    here = _live_in(session, pool, within)
    taken = _taken(session, here, most + 1)
    return Window(
        within=within,
        cell_length=within.prefixlen + bits,
        cells=tuple(_cells(session, here, pool, within, bits)),
        taken=tuple(taken[:most]),
        more=len(taken) > most,
    )


def _live_in(session: Session, pool: Any, within: IPv6Network) -> Any:
    """The condition as a range of the index over places: what begins inside, and the one that reaches in."""
    a = models.prefix_allocation.c
    live = (a.pool_id == pool.id) & a.state.in_(LIVE)
    start = _first_64(pool, within)
    end = start + slash64s(within.prefixlen)
    before = session.scalar(select(a.first_64).where(live, a.first_64 <= start).order_by(a.first_64.desc()).limit(1))
    first = start if before is None else before
    return live & (a.first_64 >= first) & (a.first_64 < end) & (a.first_64 + a.count_64 > start)


def _first_64(pool: Any, within: IPv6Network) -> int:
    return (int(within.network_address) - int(pool.prefix.network_address)) >> 64


def _taken(session: Session, here: Any, most: int) -> list[Taken]:
    a = models.prefix_allocation.c
    rows = session.execute(select(a.prefix, a.owner, a.state, a.until).where(here).order_by(a.first_64).limit(most))
    return [Taken(row.prefix, row.owner, PrefixState(row.state), row.until) for row in rows]


def _cells(session: Session, live_here: Any, pool: Any, within: IPv6Network, bits: int) -> list[Cell]:
    """Sums by cell and state; what is larger than a cell stays alone and fills each cell that it covers."""
    a = models.prefix_allocation.c
    start, width = _first_64(pool, within), slash64s(within.prefixlen + bits)
    bucket = func.greatest(a.first_64 - start, 0).op("/")(literal(width)).label("bucket")
    large = cast(a.count_64 > width, Integer)
    rows = session.execute(
        select(a.state, bucket, func.count().label("live"), func.sum(a.count_64).label("live_64"))
        .where(live_here)
        .group_by(a.state, bucket, large)
    )
    live: defaultdict[int, int] = defaultdict(int)
    by_state: defaultdict[int, dict[PrefixState, int]] = defaultdict(dict)
    for state, at, count, live_64 in rows:
        covered = range(int(at), min(int(at) + max(int(live_64) // width, 1), 1 << bits)) if count == 1 else [int(at)]
        for cell in covered:
            here: Mapping[PrefixState, int] = by_state[cell]
            by_state[cell][PrefixState(state)] = here.get(PrefixState(state), 0) + min(int(live_64), width)
        live[int(at)] += count
    length = within.prefixlen + bits
    first = int(within.network_address)
    return [
        Cell(cell, IPv6Network((IPv6Address(first + (cell << (128 - length))), length)), live[cell], by_state[cell])
        for cell in sorted(by_state)
    ]
