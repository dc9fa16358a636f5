"""Routers beside the plan: what is missing, changed, extra, foreign, rogue, down or silent. Pure."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

from broker.extranet.drift import Rows, compare
from broker.extranet.reading import read_topology
from providers.errors import Temporary
from providers.networking import RouterFacts, SegmentSpec
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


def facts(*, segments: dict[str, Any] | None = None, networks: tuple[str, ...] = (), **session: Any) -> RouterFacts:
    """The data centre's router with the segment as it should be, unless said otherwise."""
    there = {"seg10001": {"lines": LINES, "link": True}} if segments is None else segments
    peer = {"name": "nanning", "state": "Established", "received": 1, "refused": []} | session
    announced = [LOOPBACK, *(networks or ("3fff:12f:0:1::/64",))]
    return RouterFacts("dc", {"vrfs": {"shared": {"segments": there, "networks": announced, "sessions": {"p": peer}}}})


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
