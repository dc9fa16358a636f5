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
    """Zone, then the city or department, then the county or office, then an office of a county."""
    assert where("shared", "450100", own=False) == "3fff:101::/32"
    assert where("shared", "450102", own=False) == "3fff:101:200::/40"
    assert where("shared", "450102", own=True) == "3fff:101:200::/48"
    assert where("shared", "450203-zfb", own=True) == "3fff:102:301::/48"
    assert where("internet", "451481", own=True) == "3fff:314:8100::/48"
    assert where("private", "jyt", own=False) == "3fff:222::/32"
    assert where("private", "jyt", own=True) == "3fff:222::/40"
    assert where("private", "450000", own=True) == "3fff:200::/32"


def test_what_hands_out_is_a_leaf_and_leaves_are_apart() -> None:
    """A prefix lies in one pool only."""
    for zone in ("shared", "private", "internet"):
        leaves = sorted(pool.prefix for pool in POOLS if pool.own and pool.zone == zone and not pool.routing_domain)
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
    zones = [pool.prefix for pool in POOLS if pool.parent is None and not pool.routing_domain]
    assert len(zones) == 3
    assert not any(a.overlaps(b) for a, b in combinations(zones, 2))
    assert all(pool.prefix.subnet_of(IPv6Network("3fff::/20")) for pool in POOLS if not pool.routing_domain)


def test_departments_reuse_unique_local_space_each_in_a_routing_domain_of_its_own() -> None:
    """RFC 4193: two departments' private plans are the same prefix; all below them share their department's."""
    private = [pool for pool in POOLS if pool.routing_domain]
    assert {pool.unit for pool in private} == {"gat", "slt"}
    assert len({pool.prefix for pool in private}) == 1
    assert len({pool.routing_domain for pool in private}) == 2
    assert all(pool.own and pool.prefix.subnet_of(IPv6Network("fc00::/7")) for pool in private)
    assert where("private", "gat-kjxx", own=True) == ""
    assert where("shared", "gat-kjxx", own=True) != ""


def test_a_unit_below_the_last_level_uses_the_nearest_pool_above() -> None:
    """A unit that the plan has no level or block for."""
    root, city, county, office = (UUID(int=number) for number in range(1, 5))
    assert candidate_pools([root, city, county, office], "shared") == [
        own_pool_id(unit, "shared") for unit in (office, county, city, root)
    ]
