"""The IPv6 plan as a picture: a block in 256 cells, coloured by state; a click goes one level deeper.

Called by: browsers. Must not: hand out an address, or decide whose blocks an actor may see (``scarcity.addresses``).

Rows and columns are the two hexadecimal digits by which a cell's prefix goes on, so that an address is found by eye.
The picture is SVG drawn here: links without a script; with one, the arrow keys move between them (``console.js``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import Query
from fastapi.responses import Response

from api.console import show
from api.console.page import Context, console_router, page
from api.permissions import Permission, needs
from api.texts import console as words
from api.uow import Uow
from broker.errors import NotFound
from broker.scarcity import addresses
from broker.scarcity.addresses import Block, Map
from broker.tenancy.work import Work
from quotas.ipv6.facts import facts
from quotas.ipv6.values import Cell

router = console_router("IPv6 规划")

CELL, GAP, EDGE = 36, 3, 22
"""Of the picture: a cell's side and the space between two, and the rulers' width. In the picture's own units."""

STEP = 8
"""A click goes so many bits deeper: two hexadecimal digits, 256 cells."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell as it is drawn. ``kind`` is its colour's class."""

    x: int
    y: int
    row: int
    column: int
    kind: str
    label: str
    title: str
    url: str
    chosen: bool


@router.get("/ipv6", openapi_extra=needs(Permission.PREFIX_READ))
def plan(uow: Uow, pool: UUID | None = None, at: Annotated[str, Query(max_length=60)] = "") -> Response:
    """IPv6 规划图。"""

    def collect(work: Work) -> Context:
        tops = addresses.blocks(work)
        if not tops and pool is None:
            return {"tops": [], "map": None}
        return {"tops": tops} | _context(work, pool or tops[0].node.id, addresses.network(at))

    return page(uow, "ipv6/map.html", collect)


def _context(work: Work, pool: UUID, at: IPv6Network | None) -> Context:
    chosen = at if at is not None and at.prefixlen == 64 else None
    within = at
    if chosen is not None:
        # A segment is shown where it lies: in the picture of the /56 around it, or of its block where that is smaller.
        block = next((b.node.prefix for b in addresses.every_block(work) if b.node.id == pool), None)
        if block is None:
            raise NotFound("prefix.block_unknown")
        around = chosen.supernet(new_prefix=64 - STEP)
        within = around if around.subnet_of(block) else block
    found = addresses.look(work, pool, within)
    bits = found.cell_length - found.within.prefixlen
    columns = 1 << ((bits + 1) // 2)
    rows = (1 << bits) // columns
    tiles = list(_tiles(found, columns, chosen))
    segment = next((s for s in found.segments if chosen is not None and chosen.subnet_of(s.taken.prefix)), None)
    return {
        "map": found,
        "tiles": tiles,
        "width": EDGE + columns * CELL,
        "height": EDGE + rows * CELL,
        "cell": CELL,
        "gap": GAP,
        "edge": EDGE,
        "columns": [(f"{n:x}", EDGE + n * CELL + (CELL - GAP) // 2) for n in range(columns)] if bits == STEP else [],
        "rows": [(f"{n:x}", EDGE + n * CELL + (CELL - GAP) // 2 + 4) for n in range(rows)] if bits == STEP else [],
        "way": list(_way(found)),
        "chosen": chosen,
        "segment": segment,
        "facts": facts(chosen) if chosen is not None else None,
        "reverse_zones": facts(found.within).reverse_zones,
    }


def _way(found: Map) -> Iterator[tuple[str, str]]:
    """From the block to the part that is shown: a name and an address for each step."""
    block = found.block.node
    for length in range(block.prefix.prefixlen + STEP, found.within.prefixlen + 1, STEP):
        part = found.within.supernet(new_prefix=length)
        yield str(part), url_of(block.id, part)


def url_of(pool: UUID, at: IPv6Network | None = None) -> str:
    """The picture of a block or of a part of it."""
    return f"/ipv6?pool={pool}" + (f"&at={quote(str(at), safe='')}" if at is not None else "")


def _tiles(found: Map, columns: int, chosen: IPv6Network | None) -> Iterator[Tile]:
    live = {cell.index: cell for cell in found.cells}
    children = _children(found)
    width = 128 - found.cell_length
    first = int(found.within.network_address)
    for index in range(1 << (found.cell_length - found.within.prefixlen)):
        row, column = divmod(index, columns)
        prefix = IPv6Network((first + (index << width), found.cell_length))
        inside = children.get(index, [])
        cell = live.get(index)
        yield Tile(
            x=EDGE + column * CELL,
            y=EDGE + row * CELL,
            row=row,
            column=column,
            kind=_kind(found, cell, inside),
            label=f"{index:02x}" if (inside or cell) and found.cell_length - found.within.prefixlen == STEP else "",
            title=_title(prefix, cell, inside),
            url=_url(found, prefix, cell, inside),
            chosen=chosen is not None and prefix == chosen,
        )


def _children(found: Map) -> dict[int, list[Block]]:
    """The blocks below by the cells they lie in; one that is larger than a cell lies in several."""
    inside: dict[int, list[Block]] = {}
    shift = 128 - found.cell_length
    start = int(found.within.network_address)
    for child in found.children:
        first = (int(child.node.prefix.network_address) - start) >> shift
        last = (int(child.node.prefix.broadcast_address) - start) >> shift
        for index in range(first, last + 1):
            inside.setdefault(index, []).append(child)
    return inside


def _kind(found: Map, cell: Cell | None, inside: list[Block]) -> str:
    if inside:
        own = all(child.own and child.unit_id == found.block.unit_id for child in inside)
        return f"{'own' if own else 'pool'}{'-live' if cell and cell.live_64 else ''}"
    if cell is None or not cell.live_64:
        return "free"
    state = max(cell.by_state, key=lambda s: (cell.by_state[s], s.value))
    full = found.cell_length == 64 or 2 * cell.live_64 >= cell.size_64
    return f"{state.value}{'-full' if full else ''}"


def _title(prefix: IPv6Network, cell: Cell | None, inside: list[Block]) -> str:
    names = "、".join(dict.fromkeys(child.unit_name or str(child.node.prefix) for child in inside))
    parts = [str(prefix), names]
    if cell is not None and cell.live_64:
        parts += [f"{show.word(s.value, 'prefix_state')} {n:,}" for s, n in sorted(cell.by_state.items()) if n]
    elif not inside:
        parts.append(words.FREE)
    return " · ".join(part for part in parts if part)


def _url(found: Map, prefix: IPv6Network, cell: Cell | None, inside: list[Block]) -> str:
    if len(inside) == 1:
        return url_of(inside[0].node.id)
    if inside or not found.block.node.hands_out or cell is None:
        return ""
    return url_of(found.block.node.id, prefix)
