"""The topology file: the laboratory's is whole, and everything that is wrong with one is said at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from ipaddress import IPv6Network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.extranet.checks import loopback, top_router, way_up
from broker.extranet.fabric import fabric_of, vrfs_of
from broker.extranet.reading import TopologyError, read_topology, topology_of
from broker.yaml_file import read_yaml
from tests.extranet import TOPOLOGY

RAW = read_yaml(TOPOLOGY)


def problems(change: Callable[[dict[str, Any]], object]) -> list[tuple[str, str]]:
    """What is wrong with the laboratory's topology after a change: codes and places."""
    raw = copy.deepcopy(RAW)
    change(raw)
    with pytest.raises(TopologyError) as refused:
        topology_of(raw)
    return [(p.code, p.field) for p in refused.value.problems]


def test_the_laboratorys_topology_is_whole() -> None:
    """One top, five routers, six routing tables; every block's way leads to the top."""
    topology = read_topology(TOPOLOGY)
    assert top_router(topology) == "core"
    assert [s.upper for s in way_up(topology, "dc")] == ["nanning", "core"]
    assert vrfs_of(topology, "yufeng") == [v.name for v in topology.vrfs]
    fabric = fabric_of(topology)
    assert fabric.plan["routers"]["dc"]["own"]["prv-jyt"] == "3fff:222:ffff::4"
    assert {n: {k: v for k, v in about.items() if k != "own"} for n, about in fabric.plan["routers"].items()} == {
        "dc": {"vnis": [10000, 19999], "remote": "3fff:f02:1::2", "encapsulation": "vxlan", "vendor": "frr"},
        "yufeng": {"vnis": [20000, 29999], "remote": "3fff:f02:2::2", "encapsulation": "vxlan", "vendor": "frr"},
    }
    assert fabric.routers["nanning"].groups == ("routers",)
    assert "beacon" not in repr(fabric)


def test_a_sub_cloud_may_be_attached_by_vlans() -> None:
    """A trunk without tunnel ends; two routers may use the same VLANs, VNIs beside them are others."""
    raw = copy.deepcopy(read_yaml(TOPOLOGY))
    for access, last in zip(raw["access"], (200, 300), strict=True):
        for name in ("local", "remote", "vnis"):
            del access[name]
        access["vlans"] = {"first": 100, "last": last}
    plan = fabric_of(topology_of(raw)).plan["routers"]
    assert (plan["yufeng"]["vnis"], plan["yufeng"]["remote"], plan["yufeng"]["encapsulation"]) == (
        [100, 300],
        "",
        "vlan",
    )
    raw["access"][1]["router"] = "dc"
    with pytest.raises(TopologyError) as refused:
        topology_of(raw)
    assert {("extranet.vnis_overlap", "access[1].vlans"), ("extranet.one_cloud_a_router", "access[1].router")} <= {
        (p.code, p.field) for p in refused.value.problems
    }


def test_every_mistake_is_said_at_once() -> None:
    """Art. 2(3): three mistakes in three sections give three problems, each with its place."""

    def change(raw: dict[str, Any]) -> None:
        raw["blocks"][0]["prefix"] = "3fff:500::/32"
        raw["access"][1]["vnis"]["first"] = 19000
        raw["vrfs"][2].pop("unit")

    assert set(problems(change)) >= {
        ("extranet.outside", "blocks[0].prefix"),
        ("extranet.vnis_overlap", "access[1].vnis"),
        ("extranet.private_needs_unit", "vrfs[2]"),
    }


def above(**changes: Any) -> dict[str, Any]:
    """A filter of the county's towards the city above it."""
    return {"router": "liuzhou", "neighbour": "core", "vrf": "shared", "permit": ["3fff:100::/24"]} | changes


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda r: r.update(format="guiyun-extranet/2"), "extranet.unknown_value", "format"),
        (lambda r: r.update(colour="red"), "extranet.unknown_field", "colour"),
        (lambda r: r.pop("routers"), "extranet.missing", "routers"),
        (lambda r: r["blocks"][0].update(prefix="10.0.0.0/8"), "extranet.malformed", "blocks[0].prefix"),
        (lambda r: r["blocks"][0].update(prefix="3fff:122::1/32"), "extranet.malformed", "blocks[0].prefix"),
        (lambda r: r["blocks"][0].update(routers=["nowhere"]), "extranet.router_unknown", "blocks[0].routers"),
        (lambda r: r["blocks"][0].update(vrf="nowhere"), "extranet.vrf_unknown", "blocks[0].vrf"),
        (lambda r: r["blocks"][1].update(prefix="3fff:122:8000::/33"), "extranet.overlap", "blocks[1].prefix"),
        (lambda r: r["blocks"][0].update(routers=["nanning"]), "extranet.no_access", "blocks[0].routers"),
        (lambda r: r["filters"][8].update(permit=["3fff:126::/32"]), "extranet.held_back", "blocks[0]"),
        (lambda r: r["filters"][0].update(neighbour="yufeng"), "extranet.no_session", "filters[0]"),
        (lambda r: r["filters"].append(above(permit=["3fff:122::/32"])), "extranet.held_back", "blocks[1]"),
        (lambda r: r["filters"].append(above(direction="out", permit=[])), "extranet.held_back", "blocks[4]"),
        (lambda r: r["filters"].append(above(permit=["3fff:300::/32"])), "extranet.outside", "filters[22].permit"),
        (lambda r: r["filters"].append(above(direction="up")), "extranet.unknown_value", "filters[22].direction"),
        (lambda r: r["filters"].extend([above(), above()]), "extranet.twice", "filters[23]"),
        (lambda r: r["sessions"].pop(0), "extranet.one_top", "sessions"),
        (lambda r: r["sessions"][0].update(prefix="3fff:f01::/127"), "extranet.link_too_small", "sessions[0].prefix"),
        (lambda r: r["routers"][1].update(asn=64600), "extranet.twice", "routers"),
        (lambda r: r["vrfs"][0].update(loopbacks="3fff:9::/64"), "extranet.outside", "vrfs[0].loopbacks"),
        (lambda r: r["access"][0].pop("remote"), "extranet.one_attachment", "access[0]"),
        (lambda r: r["access"][0].update(vlans={"first": 1, "last": 9}), "extranet.one_attachment", "access[0]"),
        (
            lambda r: r["access"][0].update(vlans={"first": 1, "last": 4095}),
            "extranet.malformed",
            "access[0].vlans.last",
        ),
        (lambda r: r["blocks"][0].update(addressing="dhcp"), "extranet.unknown_value", "blocks[0].addressing"),
        (lambda r: r["access"][0].update(device="lan0; reboot"), "extranet.malformed", "access[0].device"),
        (lambda r: r["vrfs"][4].update(prefix="3fff:222::/32"), "extranet.overlap", "vrfs[4].prefix"),
        (lambda r: r["sessions"][1].update(prefix="3fff:122:1::/64"), "extranet.overlap", "sessions[1].prefix"),
        (lambda r: r["access"][0].update(remote="3fff:f02:1::1"), "extranet.tunnel_to_itself", "access[0].remote"),
        (lambda r: r["access"][1].update(local="3fff:f02:1::1"), "extranet.twice", "access[1].local"),
        (lambda r: r["routers"][0].update(number=2), "extranet.twice", "routers"),
        (lambda r: r["routers"][0].update(router_id="10.0.0.300"), "extranet.malformed", "routers[0].router_id"),
        (lambda r: r["routers"][0].update(router_id="0.0.0.0"), "extranet.malformed", "routers[0].router_id"),
        (lambda r: [x.pop("probes", None) for x in r["routers"]], "extranet.zone_without_probe", "vrfs[0]"),
        (lambda r: r.update(segment_length=56), "extranet.unknown_value", "segment_length"),
        (lambda r: r["routers"][0].update(host_key="-o ProxyCommand=x"), "extranet.malformed", "routers[0].host_key"),
    ],
)
def test_a_mistake_has_a_code_and_a_place(change: Callable[[dict[str, Any]], object], code: str, field: str) -> None:
    assert (code, field) in problems(change)


def test_a_ring_of_sessions_is_no_tree() -> None:
    """Routers that are below each other have no way to the top."""

    def change(raw: dict[str, Any]) -> None:
        raw["sessions"][2]["upper"], raw["sessions"][0]["upper"] = "nanning", "dc"

    assert ("extranet.not_connected", "sessions") in problems(change)


def test_a_routers_own_addresses_are_by_its_number() -> None:
    """A router that is put in the middle moves nobody's when the others say theirs."""
    raw = copy.deepcopy(RAW)
    before = topology_of(RAW)
    for place, router in enumerate(raw["routers"], 1):
        router["number"] = place
    raw["routers"].insert(1, {**raw["routers"][-1], "name": "beihai", "asn": 64703, "number": 6, "title": "北海市"})
    raw["routers"][1] |= {"router_id": "10.0.0.6", "address": "3fff:f00::15"}
    raw["sessions"].append({"upper": "core", "lower": "beihai", "prefix": "3fff:f01:0:9::/64"})
    after = topology_of(raw)
    for vrf in before.vrfs:
        assert [loopback(after, vrf, r.name) for r in before.routers] == [
            loopback(before, vrf, r.name) for r in before.routers
        ]
    assert str(loopback(after, after.vrfs[0], "beihai")) == "3fff:1ff:ffff::6"


@given(st.lists(st.tuples(st.integers(33, 40), st.integers(0, 255)), max_size=12))
def test_blocks_overlap_where_two_by_two_they_do(places: list[tuple[int, int]]) -> None:
    """The sweep finds an overlap where a look at all pairs does, and blames only blocks that are in one."""
    raw = copy.deepcopy(RAW)
    space = int(IPv6Network("3fff:122::/32").network_address)
    prefixes = [IPv6Network((space + (at % (1 << (length - 32)) << (128 - length)), length)) for length, at in places]
    raw["blocks"] = [{"unit": "jyt", "vrf": "shared", "prefix": str(p), "routers": ["dc"]} for p in prefixes]
    pairs = [(a, b) for a, b in combinations(range(len(prefixes)), 2) if prefixes[a].overlaps(prefixes[b])]
    try:
        topology_of(raw)
        named: set[str] = set()
    except TopologyError as refused:
        named = {p.field for p in refused.problems}
    assert named <= {f"blocks[{b}].prefix" for _, b in pairs}
    assert bool(named) == bool(pairs)
