"""The IPv6 plan: which unit's block lies where (``region.plan``)."""

from __future__ import annotations

from ipaddress import IPv6Network
from itertools import combinations, pairwise
from uuid import UUID

from broker.region.plan import Pool, candidate_pools, own_pool_id, pools_of
from broker.region.reading import read_region

POOLS = pools_of(read_region())


def where(zone: str, unit: str, *, own: bool) -> str:
    found = [pool.prefix for pool in POOLS if (pool.zone, pool.unit, pool.own) == (zone, unit, own)]
    return str(found[0]) if found else ""


def test_a_block_can_be_read_from_the_address() -> None:
    """Zone, then the city or department, then the county or office."""
    assert where("shared", "450100", own=False) == "3fff:101::/32"
    assert where("shared", "450102", own=True) == "3fff:101:200::/40"
    assert where("internet", "451481", own=True) == "3fff:314:8100::/40"
    assert where("private", "jyt", own=False) == "3fff:222::/32"
    assert where("private", "jyt", own=True) == "3fff:222::/40"
    assert where("private", "450000", own=True) == "3fff:200::/32"


def test_what_hands_out_is_a_leaf_and_leaves_are_apart() -> None:
    """A prefix lies in one pool only."""
    for zone in ("shared", "private", "internet"):
        leaves = sorted(pool.prefix for pool in POOLS if pool.own and pool.zone == zone)
        assert len(leaves) == len(set(leaves)) > 200
        assert not any(before.overlaps(after) for before, after in pairwise(leaves))


def test_every_block_lies_in_its_parents() -> None:
    """Parents come before children, and contain them."""
    seen: list[Pool] = []
    for pool in POOLS:
        if pool.parent is not None:
            assert pool.parent in seen
            assert pool.prefix.subnet_of(pool.parent.prefix)
            assert not pool.parent.own
        seen.append(pool)


def test_zones_do_not_overlap_and_stay_in_documentation_space() -> None:
    """RFC 9637: an address that gets out by mistake hurts nobody."""
    zones = [pool.prefix for pool in POOLS if pool.parent is None]
    assert len(zones) == 3
    assert not any(a.overlaps(b) for a, b in combinations(zones, 2))
    assert all(pool.prefix.subnet_of(IPv6Network("3fff::/20")) for pool in POOLS)


def test_a_unit_below_the_last_level_uses_the_nearest_pool_above() -> None:
    """An office of a county has no block of its own."""
    root, city, county, office = (UUID(int=number) for number in range(1, 5))
    assert where("shared", "450203-zfb", own=True) == ""
    assert candidate_pools([root, city, county, office], "shared") == [
        own_pool_id(unit, "shared") for unit in (office, county, city, root)
    ]
