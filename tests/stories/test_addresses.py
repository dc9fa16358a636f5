"""The map of the IPv6 plan: each level in cells, a segment's facts, and only the blocks of one's own tree."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Network
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from broker.errors import Invalid, NotFound
from broker.region import addresses as region
from broker.scarcity import addresses
from broker.scarcity.addresses import Block
from quotas.ipv6.values import PrefixState, Wish, Zone
from tests.stories import road
from tests.stories.world import World

THREE = [{"kind": "segment", "name": "net", "zone": "shared", "count": 3}]


def named(blocks: Iterable[Block], prefix: str) -> UUID:
    return next(b.node.id for b in blocks if str(b.node.prefix) == prefix)


def test_a_segment_is_found_by_zooming_from_the_zone_to_its_cell(world: World) -> None:
    """Zone, department, office, /48, /56, /64: at every level exactly the cells that lead to a segment are live."""
    request_id = road.submit(world, items=THREE)
    road.approve(world, request_id)
    road.assess(world, request_id)
    taken = sorted(IPv6Network(row.prefix) for row in world.rows("SELECT prefix FROM broker.resource"))
    with world.acting("approve.1") as work:
        shared = next(b for b in addresses.blocks(work) if b.node.zone is Zone.SHARED)
        found = addresses.look(work, shared.node.id)
        assert (str(found.within), found.cell_length, len(found.children) > 60) == ("3fff:100::/24", 32, True)
        assert [str(cell.prefix) for cell in found.cells] == ["3fff:122::/32"]
        levels = {level.level: level for level in found.levels}
        assert (levels["city"].pools, levels["department"].live, levels["unit"].live) == (14, 3, 3)
        own = named(addresses.every_block(work), "3fff:122::/40")
        for length in (40, 48, 56):
            within = taken[1].supernet(new_prefix=length)
            near = addresses.look(work, own, within)
            here = [p for p in taken if p.subnet_of(within)]
            assert near.cell_length == length + 8
            assert {cell.prefix for cell in near.cells} == {p.supernet(new_prefix=length + 8) for p in here}
            assert [s.taken.prefix for s in near.segments] == here
        segment = near.segments[0]
        assert (segment.taken.state, segment.unit_name) == (PrefixState.HELD, "自治区教育厅")
        assert near.block.own


def test_what_is_handed_out_or_grown_by_hand_is_shown_beside_the_quota(world: World) -> None:
    """A request's segments are in its unit's quota; what an operator allocates or grows is not: it is said how much."""
    request_id = road.submit(world, items=THREE)
    road.approve(world, request_id)
    road.assess(world, request_id)
    with world.acting("admin") as work:
        assert region.beside_quota(work.session) == region.BesideQuota(0, 0, 0)
        (own,) = {row.pool_id for row in work.session.execute(text("SELECT pool_id FROM quotas.prefix_allocation"))}
        region.allocate(work, [Wish(own, uuid4(), 60, active=True), Wish(own, uuid4(), active=True)])
        mine = work.session.scalar(text("SELECT id FROM broker.resource WHERE kind = 'segment' LIMIT 1"))
        region.grow(work, mine, 62)
        assert region.beside_quota(work.session) == region.BesideQuota(2, 17, 3)


def test_a_unit_sees_the_blocks_of_its_tree_and_nothing_else(town: World) -> None:
    """Its own block in each zone with what is below; the zone above and a neighbour's block do not exist for it."""
    with town.acting("admin") as work:
        everything = addresses.every_block(work)
    with town.acting("apply.jyt") as work:
        mine = addresses.every_block(work)
        tops = {b.node.zone: b.node.prefix for b in addresses.blocks(work)}
        assert set(tops) == set(Zone)
        assert 0 < len(mine) < len(everything)
        assert all(b.node.prefix.subnet_of(tops[b.node.zone]) for b in mine)
        for other in ("3fff:100::/24", "3fff:123::/32"):
            with pytest.raises(NotFound):
                addresses.look(work, named(everything, other))


@pytest.mark.parametrize("within", ["3fff:123::/48", "3fff:122::/65", "3fff::/20"])
def test_a_part_that_is_not_inside_is_refused(town: World, within: str) -> None:
    """Outside the block, longer than a segment, wider than the block."""
    with town.acting("apply.jyt") as work:
        own = named(addresses.every_block(work), "3fff:122::/40")
        with pytest.raises(Invalid):
            addresses.look(work, own, IPv6Network(within))
