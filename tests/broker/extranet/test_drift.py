"""Routers beside the plan: what is missing, changed, extra, foreign, rogue, down or silent. Pure."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

from broker.extranet.drift import Rows, compare
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
    "no ipv6 nd suppress-ra",
]
LOOPBACK = "3fff:1ff:ffff::4/128"


OPEN = {"elements": {"seg10001": ["open"]}, "whole": True}


def facts(
    *,
    segments: dict[str, Any] | None = None,
    networks: tuple[str, ...] = (),
    firewall: dict[str, Any] = OPEN,
    **session: Any,
) -> RouterFacts:
    """The data centre's router with the segment as it should be, unless said otherwise."""
    there = {"seg10001": {"lines": LINES, "link": True}} if segments is None else segments
    peer = {"name": "nanning", "state": "Established", "received": 1, "refused": [], "filter": []} | session
    if segments is not None:
        firewall = {"elements": {n: e for n, e in firewall["elements"].items() if n in segments}, "whole": True}
    announced = [LOOPBACK, *(networks or ("3fff:12f:0:1::/64",))]
    table = {"segments": there, "networks": announced, "sessions": {"p": peer}, "firewall": firewall}
    return RouterFacts("dc", {"vrfs": {"shared": table}})


def gaps(found: RouterFacts, rows: Rows = ROWS) -> list[tuple[str, str, str]]:
    return [(d.gap.value, d.subject, d.detail) for d in compare(LAB, rows, [found])]


def test_a_router_that_does_as_planned_differs_in_nothing() -> None:
    assert gaps(facts()) == []


def test_a_rebooted_router_lacks_its_segments() -> None:
    """No trace of it, or a configuration whose link is not there."""
    assert gaps(facts(segments={}, networks=(LOOPBACK,))) == [("missing", "3fff:12f:0:1::/64", "")]
    rebooted = {"seg10001": {"lines": LINES, "link": False}}
    assert gaps(facts(segments=rebooted)) == [("changed", "3fff:12f:0:1::/64", "link")]


def test_what_was_changed_by_hand_is_named() -> None:
    other = [line.replace("3fff:12f:0:1::1", "3fff:12f:0:1::9") for line in LINES[:-1]]
    by_hand = {"seg10001": {"lines": other, "link": True}}
    assert gaps(facts(segments=by_hand, networks=(LOOPBACK,))) == [
        ("changed", "3fff:12f:0:1::/64", "address advertisements route")
    ]


def test_what_is_ours_and_in_no_row_is_extra_and_what_is_not_ours_is_foreign() -> None:
    nobody = Rows({}, frozenset())
    assert gaps(facts(), nobody) == [("extra", "seg10001", "")]
    theirs = {"seg7": {"lines": ["ipv6 address 3fff:122::1/64"], "link": True}}
    found = gaps(facts(segments=theirs, networks=("3fff:122::/64",)), nobody)
    assert found == [("foreign", "seg7", ""), ("foreign", "3fff:122::/64", "")]


def test_a_segment_on_its_way_is_left_alone() -> None:
    """Its delivery or release may put it right itself."""
    assert gaps(facts(segments={"seg10001": {"lines": LINES, "link": False}}), Rows({}, frozenset({ID}))) == []


def test_a_segment_on_the_wrong_router_is_extra_there_and_missing_at_home() -> None:
    elsewhere = Rows({ID: replace(SPEC, router="yufeng")}, frozenset())
    assert gaps(facts(), elsewhere) == [("extra", "seg10001", "")]


def test_neighbours_are_looked_at_too() -> None:
    """A refused announcement, a session that is down, a router that says nothing."""
    assert gaps(facts(refused=["3fff:102::/64"])) == [("rogue", "3fff:102::/64", "nanning")]
    assert gaps(facts(state="Active")) == [("session", "nanning", "Active")]
    silent = RouterFacts("dc", error=Temporary("extranet.router_unreachable"))
    assert gaps(silent) == [("silent", "dc", "extranet.router_unreachable")]


def test_a_firewall_that_was_changed_by_hand_is_put_right_and_what_is_not_ours_is_named() -> None:
    """Opened or shut beside the declared services; a rule taken away; an element of an interface that nobody has."""
    served = Rows({ID: replace(SPEC, services=(Service("tcp", 443),))}, frozenset())
    declared = {"elements": {"seg10001": ["::/0 tcp 443"]}, "whole": True}
    changed = [("changed", "3fff:12f:0:1::/64", "firewall")]
    assert gaps(facts(firewall=declared), served) == []
    for elements in ({}, {"seg10001": ["open"]}, {"seg10001": ["::/0 tcp 22", "::/0 tcp 443"]}):
        assert gaps(facts(firewall={"elements": elements, "whole": True}), served) == changed
    assert gaps(facts(firewall={**declared, "whole": False}), served) == changed
    strange = {"elements": {"seg10001": ["open"], "seg77": ["open"]}, "whole": True}
    assert gaps(facts(firewall=strange)) == [("foreign", "seg77", "firewall")]


def test_a_segment_with_dhcpv6_is_compared_as_such() -> None:
    """The flag and a prefix that is not autonomous belong to it; either alone is a change."""
    managed = Rows({ID: replace(SPEC, addressing=Addressing.DHCPV6)}, frozenset())
    right = [*LINES[:2], "ipv6 nd prefix 3fff:12f:0:1::/64 no-autoconfig", LINES[3], "ipv6 nd managed-config-flag"]
    assert gaps(facts(segments={"seg10001": {"lines": right, "link": True}}), managed) == []
    assert gaps(facts(), managed) == [("changed", "3fff:12f:0:1::/64", "address advertisements")]


def test_a_neighbours_prefix_filter_that_differs_from_the_topology_is_named() -> None:
    """Wider, narrower, longer than a segment, or none at all; who is above is not looked at."""
    planned = ["3fff:122::/32", "3fff:126::/32", "3fff:12f::/32", "3fff:114::/32"]
    entries = [f"permit {p} le 64" for p in planned] + ["permit 3fff:1ff:ffff::/64 ge 128"]

    def told(entries: list[str] | None) -> list[tuple[str, str, str]]:
        peer = {"name": "dc", "state": "Established", "received": 1, "refused": [], "filter": entries}
        table = {"segments": {}, "networks": [], "sessions": {"p": peer}, "firewall": {"elements": {}, "whole": True}}
        return gaps(RouterFacts("nanning", {"vrfs": {"shared": table}}), Rows({}, frozenset()))

    assert told(entries) == []
    assert told([*entries, "permit 3fff:102::/32 le 64"]) == [("filter", "dc", "3fff:102::/32")]
    assert told(entries[1:]) == [("filter", "dc", "3fff:122::/32")]
    assert told([entries[0].replace("le 64", "le 128"), *entries[1:]]) == [
        ("filter", "dc", "3fff:122::/32 3fff:122::/32 le 128")
    ]
    assert told(None) == [("filter", "dc", " ".join(sorted([*planned, "any"])))]
    assert gaps(facts(filter=["permit ::/0 le 128"])) == []
