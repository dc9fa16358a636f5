"""The map's view of the plan: children and cells, exact at every zoom."""

from __future__ import annotations

from ipaddress import IPv6Network
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from quotas import errors
from quotas.ipv6 import service as ipv6
from quotas.ipv6.overview import overview
from quotas.ipv6.values import PrefixState, Zone
from tests.quotas.world import SOON


@pytest.fixture
def zone(session: Session) -> tuple[UUID, UUID, UUID]:
    """A zone with two leaves: a /40 and, elsewhere, a /60."""
    root, large, small = uuid4(), uuid4(), uuid4()
    for made, prefix, parent, hands_out in (
        (root, "3fff:100::/24", None, False),
        (large, "3fff:101::/40", root, True),
        (small, "3fff:1ff::/60", root, True),
    ):
        ipv6.ensure_pool(
            session, id=made, zone=Zone.SHARED, routing_domain="shared", prefix=prefix, parent_id=parent,
            level="city", hands_out=hands_out,
        )  # fmt: skip
    return root, large, small


def take(session: Session, pool: UUID, length: int) -> IPv6Network:
    return ipv6.allocate(session, pool_id=pool, owner=uuid4(), length=length, expires_at=SOON).prefix


def test_cells_say_what_is_live_where_and_add_up(session: Session, zone: tuple[UUID, UUID, UUID]) -> None:
    """A zone in 256 cells is its cities; one pool in 16 cells shows where in it; sums are the same at each zoom."""
    root, large, small = zone
    prefixes = [take(session, large, length) for length in (64, 64, 60, 48)] + [take(session, small, 64)]
    seen = overview(session, root)
    assert (seen.pool.live, seen.pool.live_64, seen.cell_length) == (5, 65536 + 16 + 3, 32)
    assert [(str(c.prefix), c.live) for c in seen.cells] == [("3fff:101::/32", 4), ("3fff:1ff::/32", 1)]
    assert [(n.id, n.live) for n in seen.children] == [(large, 4), (small, 1)]
    near = overview(session, large, cells=16)
    assert near.cell_length == 44
    for cell in near.cells:
        inside = [p for p in prefixes if p.subnet_of(cell.prefix)]
        assert (cell.live, cell.live_64) == (len(inside), sum(1 << (64 - p.prefixlen) for p in inside))
    assert sum(c.live for c in near.cells) == 4


def test_a_prefix_larger_than_a_cell_fills_every_cell_it_covers(
    session: Session, zone: tuple[UUID, UUID, UUID]
) -> None:
    """Zoomed in beyond a prefix, each cell is full; there are never more cells than /64s."""
    _, large, small = zone
    block = take(session, large, 44)
    seen = overview(session, large, cells=256)
    assert (len(seen.cells), {c.live_64 for c in seen.cells}) == (16, {65536})
    assert all(c.prefix.subnet_of(block) for c in seen.cells)
    assert sum(c.live for c in seen.cells) == 1
    take(session, small, 62)
    tiny = overview(session, small, cells=256)
    assert (tiny.cell_length, [c.by_state for c in tiny.cells]) == (64, [{PrefixState.HELD: 1}] * 4)


def test_a_view_costs_two_statements_and_an_unknown_pool_is_named(
    session: Session, zone: tuple[UUID, UUID, UUID]
) -> None:
    """Whatever lies below."""
    statements: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    overview(session, zone[0])
    assert len(statements) == 2
    with pytest.raises(errors.UnknownPool):
        overview(session, uuid4())
