"""Routers beside the plan: what is missing, changed, extra, foreign, rogue, down or silent. Pure."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

import pytest

from broker.extranet.differences import Rows, compare
from broker.extranet.reading import read_topology
from providers.contract import Addressing
from providers.errors import Temporary
from providers.networking import RouterFacts, SegmentSpec, Service
from tests.extranet import TOPOLOGY

LAB = read_topology(TOPOLOGY)
ID = UUID("0197aaaa-0000-7000-8000-000000000001")
SPEC = SegmentSpec(ID, "slt", "shared", IPv6Network("3fff:12f:0:1::/64"), "dc", 10001)
ROWS = Rows({ID: SPEC}, frozenset())
LINES = [
    f"description guiyun {ID} 0123456789ab",
    "ipv6 address 3fff:12f:0:1::1/64",
    "ipv6 nd prefix 3fff:12f:0:1::/64",
    "ipv6 nd ra-interval 10",
    "no ipv6 nd suppress-ra",
]
LINK = {
    "kind": "vxlan", "tag": 10001, "local": "3fff:f02:1::1", "remote": "3fff:f02:1::2", "mac": "02:67:79:00:27:11",
    "up": True,
}  # fmt: skip
SEGMENT: dict[str, Any] = {"lines": LINES, "link": LINK, "addresses": ["3fff:12f:0:1::1/64"]}
LOOPBACK = "3fff:1ff:ffff::4/128"
PEER = "3fff:f01:0:3::"
FIREWALL: dict[str, Any] = {"there": True, "elements": {"seg10001": ["open"]}, "differs": [], "tables": []}


def vrf(**changes: Any) -> dict[str, Any]:
    """A routing table in which nothing is beside the plan, unless said otherwise."""
    empty: dict[str, Any] = {"segments": {}, "networks": [], "sessions": {}, "firewall": FIREWALL | {"elements": {}}}
    return empty | {"routes": [], "policies": [], "mixed": [], "addresses": {"lo": [LOOPBACK]}} | changes


def neighbour(name: str, asn: int, **changes: Any) -> dict[str, Any]:
    session = {"name": name, "asn": asn, "state": "Established", "received": 1, "refused": [], "filter": [], "also": []}
    return session | changes


def facts(
    *,
    segments: dict[str, Any] | None = None,
    networks: tuple[str, ...] = (),
    firewall: dict[str, Any] | None = None,
    peers: dict[str, Any] | None = None,
    beside: dict[str, Any] | None = None,
    **session: Any,
) -> RouterFacts:
    """The data centre's router with the segment as it should be, unless said otherwise."""
    there = {"seg10001": SEGMENT} if segments is None else segments
    elements = {n: e for n, e in FIREWALL["elements"].items() if n in there}
    table = vrf(
        segments=there,
        networks=[LOOPBACK, *(networks or ("3fff:12f:0:1::/64",))],
        sessions={PEER: neighbour("nanning", 64601, **session)} if peers is None else peers,
        firewall=FIREWALL | {"elements": elements} | (firewall or {}),
        **(beside or {}),
    )
    return RouterFacts("dc", {"vrfs": {"shared": table}})


def gaps(found: RouterFacts, rows: Rows = ROWS) -> list[tuple[str, str, str]]:
    return [(d.gap.value, d.subject, d.detail) for d in compare(LAB, rows, [found])]


def test_a_router_that_does_as_planned_differs_in_nothing() -> None:
    assert gaps(facts()) == []


def test_a_rebooted_router_lacks_its_segments() -> None:
    """No trace of it, or a configuration whose link is not there."""
    assert gaps(facts(segments={}, networks=(LOOPBACK,))) == [("missing", "3fff:12f:0:1::/64", "")]
    rebooted = {"seg10001": SEGMENT | {"link": None, "addresses": []}}
    assert gaps(facts(segments=rebooted)) == [("changed", "3fff:12f:0:1::/64", "link")]


def test_what_was_changed_by_hand_is_named() -> None:
    """What is missing (-) and what nobody wants (+), of the configuration as of the kernel."""
    other = [line.replace("3fff:12f:0:1::1", "3fff:12f:0:1::9") for line in LINES[:-1]]
    by_hand = {"seg10001": SEGMENT | {"lines": other, "addresses": ["3fff:12f:0:1::9/64"]}}
    assert gaps(facts(segments=by_hand, networks=(LOOPBACK,))) == [
        (
            "changed",
            "3fff:12f:0:1::/64",
            "address (-3fff:12f:0:1::1/64, +3fff:12f:0:1::9/64) advertisements (-no ipv6 nd suppress-ra) route",
        )
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lines": [*LINES, "ipv6 nd ra-lifetime 0"]}, "advertisements (+ipv6 nd ra-lifetime 0)"),
        ({"lines": [*LINES, "ipv6 nd rdnss 3fff::53"]}, "advertisements (+ipv6 nd rdnss 3fff::53)"),
        ({"lines": [*LINES, "shutdown"]}, "advertisements (+shutdown)"),
        ({"addresses": []}, "address (-3fff:12f:0:1::1/64)"),
        ({"addresses": ["3fff:12f:0:1::1/64", "3fff:9::1/64"]}, "address (+3fff:9::1/64)"),
        ({"link": LINK | {"tag": 10002}}, "link (-vxlan 10001, +vxlan 10002)"),
        ({"link": LINK | {"mac": "02:67:79:00:27:12"}}, "link (-02:67:79:00:27:11, +02:67:79:00:27:12)"),
        ({"link": LINK | {"remote": "3fff::9"}}, "link (-remote 3fff:f02:1::2, +remote 3fff::9)"),
        ({"link": LINK | {"up": False}}, "link (-up, +down)"),
    ],
)
def test_a_segment_is_compared_word_for_word(changes: dict[str, Any], said: str) -> None:
    """Advertisements, VNI, ends, MAC and live addresses: nothing beside what was made stays unseen."""
    assert gaps(facts(segments={"seg10001": SEGMENT | changes})) == [("changed", "3fff:12f:0:1::/64", said)]


def test_what_leads_packets_elsewhere_is_named() -> None:
    """Routes by hand and written, rules to other tables, leaks between tables, strange addresses, another firewall."""
    assert gaps(facts(beside={"routes": [{"prefix": "3fff:9::/64", "how": "unicast lan0 boot"}]})) == [
        ("foreign", "3fff:9::/64", "route unicast lan0 boot")
    ]
    assert gaps(facts(beside={"policies": ["100 main"]})) == [("foreign", "100 main", "rule")]
    assert gaps(facts(beside={"mixed": ["import vrf internet"]})) == [("foreign", "import vrf internet", "bgp")]
    strange = {"lo": [LOOPBACK], "nanning-0": ["3fff:f01:0:3::1/127"], "x0": ["3fff:102:0:9::1/64"]}
    assert gaps(facts(beside={"addresses": strange})) == [("foreign", "3fff:102:0:9::1/64", "address x0")]
    assert gaps(facts(firewall={"tables": ["inet theirs"]})) == [("foreign", "inet theirs", "firewall")]


def test_neighbours_that_the_topology_does_not_name_are_named() -> None:
    """One more, one with another AS, one from another link; and one that is not configured at all."""
    right = {PEER: neighbour("nanning", 64601)}
    assert gaps(facts(peers=right | {"3fff:9::1": neighbour("other", 65001)})) == [
        ("neighbour", "3fff:9::1", "AS65001 other")
    ]
    assert gaps(facts(peers={PEER: neighbour("nanning", 65001)})) == [("neighbour", PEER, "AS65001 nanning")]
    assert gaps(facts(peers=right | {"3fff:9::1": neighbour("nanning", 64601)})) == [
        ("neighbour", "3fff:9::1", "AS64601 nanning")
    ]
    assert gaps(facts(peers={})) == [("session", "nanning", "not configured")]


def test_what_is_ours_and_in_no_row_is_extra_and_what_is_not_ours_is_foreign() -> None:
    nobody = Rows({}, frozenset())
    assert gaps(facts(), nobody) == [("extra", "seg10001", "")]
    theirs = {"seg7": SEGMENT | {"lines": ["ipv6 address 3fff:122::1/64"]}}
    found = gaps(facts(segments=theirs, networks=("3fff:122::/64",)), nobody)
    assert found == [("foreign", "seg7", "interface"), ("foreign", "3fff:122::/64", "announced")]


def test_a_segment_on_its_way_is_left_alone() -> None:
    """Its delivery or release may put it right itself."""
    assert gaps(facts(segments={"seg10001": SEGMENT | {"link": None}}), Rows({}, frozenset({ID}))) == []


def test_a_segment_on_the_wrong_router_is_extra_there_and_missing_at_home() -> None:
    elsewhere = Rows({ID: replace(SPEC, router="yufeng")}, frozenset())
    assert gaps(facts(), elsewhere) == [("extra", "seg10001", "")]


def test_a_segment_in_the_wrong_table_of_its_router_is_extra_there_and_missing_in_its_own() -> None:
    """Whoever moved it by hand: it is not met because it is somewhere on the router."""
    moved = Rows({ID: replace(SPEC, vrf="internet")}, frozenset())
    assert gaps(facts(), moved) == [("extra", "seg10001", ""), ("missing", "3fff:12f:0:1::/64", "")]


def test_neighbours_are_looked_at_too() -> None:
    """A refused announcement, a session that is down, a router that says nothing."""
    assert gaps(facts(refused=["3fff:102::/64"])) == [("rogue", "3fff:102::/64", "nanning")]
    assert gaps(facts(state="Active")) == [("session", "nanning", "Active")]
    silent = RouterFacts("dc", error=Temporary("extranet.router_unreachable"))
    assert gaps(silent) == [("silent", "dc", "extranet.router_unreachable")]


def test_a_firewall_that_was_changed_by_hand_is_put_right_and_what_is_not_ours_is_named() -> None:
    """Opened or shut beside the declared services; a rule beside the role's; an element of an interface nobody has."""
    served = Rows({ID: replace(SPEC, services=(Service("tcp", 443),))}, frozenset())
    declared = {"elements": {"seg10001": ["::/0 tcp 443"]}}

    def told(firewall: dict[str, Any]) -> str:
        ((gap, subject, detail),) = gaps(facts(firewall=firewall), served)
        assert (gap, subject) == ("changed", "3fff:12f:0:1::/64")
        return detail

    assert gaps(facts(firewall=declared), served) == []
    assert told({"elements": {}}) == "firewall (-::/0 tcp 443)"
    assert told({"elements": {"seg10001": ["open"]}}) == "firewall (-::/0 tcp 443, +open)"
    assert told({"elements": {"seg10001": ["::/0 tcp 22", "::/0 tcp 443"]}}) == "firewall (+::/0 tcp 22)"
    ruled = ["-chain through: drop", "+chain through: accept"]
    assert told(declared | {"differs": ruled}) == f"firewall ({ruled[0]}, {ruled[1]})"
    strange = {"elements": {"seg10001": ["open"], "seg77": ["open"]}}
    assert gaps(facts(firewall=strange)) == [("foreign", "seg77", "firewall open")]
    nobody = facts(segments={}, networks=(LOOPBACK,), firewall={"elements": {}, "differs": ruled})
    assert gaps(nobody, Rows({}, frozenset())) == [("foreign", "firewall", " ".join(ruled))]


def test_a_segment_with_dhcpv6_is_compared_as_such() -> None:
    """The flags and a prefix that is not autonomous belong to it; either alone is a change."""
    managed = Rows({ID: replace(SPEC, addressing=Addressing.DHCPV6)}, frozenset())
    flags = ["ipv6 nd managed-config-flag", "ipv6 nd other-config-flag"]
    right = [line + (" no-autoconfig" if "nd prefix" in line else "") for line in LINES] + flags
    assert gaps(facts(segments={"seg10001": SEGMENT | {"lines": right}}), managed) == []
    for missing in flags:
        partly = [line for line in right if line != missing]
        assert gaps(facts(segments={"seg10001": SEGMENT | {"lines": partly}}), managed) == [
            ("changed", "3fff:12f:0:1::/64", f"advertisements (-{missing})")
        ]


def test_a_neighbours_prefix_filter_that_differs_from_the_topology_is_named() -> None:
    """Wider, narrower, longer than a segment, or none at all; who is above is not looked at."""
    planned = ["3fff:122::/32", "3fff:126::/32", "3fff:12f::/32", "3fff:114::/32"]
    entries = [f"permit {p} le 64" for p in planned] + ["permit 3fff:1ff:ffff::/64 ge 128"]

    def told(entries: list[str] | None, *also: str) -> list[tuple[str, str, str]]:
        below = neighbour("dc", 64701, filter=entries, also=list(also))
        peers = {"3fff:f01:0:3::1": below, "3fff:f01:0:1::": neighbour("core", 64600)}
        table = vrf(sessions=peers, addresses={})
        return gaps(RouterFacts("nanning", {"vrfs": {"shared": table}}), Rows({}, frozenset()))

    assert told(entries) == []
    assert told([*entries, "permit 3fff:102::/32 le 64"]) == [("filter", "dc", "3fff:102::/32")]
    assert told(entries[1:]) == [("filter", "dc", "3fff:122::/32")]
    assert told([entries[0].replace("le 64", "le 128"), *entries[1:]]) == [
        ("filter", "dc", "3fff:122::/32 3fff:122::/32 le 128")
    ]
    assert told(None) == [("filter", "dc", " ".join(sorted([*planned, "any"])))]
    assert told(entries, "route-map all in") == [("filter", "dc", "route-map all in")]
    assert gaps(facts(filter=["permit ::/0 le 128"])) == []
