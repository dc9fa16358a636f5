"""Routers beside the plan: what is missing, changed, extra, foreign, rogue, down or silent. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api import texts
from api.texts.extranet import FACTS
from broker.extranet import differences
from broker.extranet.differences import Gap, RouterDrift, Rows, compare
from broker.extranet.reading import read_topology
from broker.extranet.schema import PrefixFilter, Topology
from broker.extranet.telling import lost_with_their_router
from providers.contract import Addressing, Encapsulation
from providers.errors import Temporary
from providers.networking import RouterFacts, SegmentSpec, Service
from tests.extranet import TOPOLOGY
from tests.extranet.wire import said

LAB = read_topology(TOPOLOGY)
DIFFERENCES = Path(differences.__file__)
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
LINK: dict[str, Any] = {
    "kind": "vxlan", "tag": 10001, "local": "3fff:f02:1::1", "remote": "3fff:f02:1::2", "mac": "02:67:79:00:27:11",
    "up": True, "master": "", "learns": False, "to": ["3fff:f02:1::2"], "forwards": True,
}  # fmt: skip
SEGMENT: dict[str, Any] = {"lines": LINES, "link": LINK, "addresses": ["3fff:12f:0:1::1/64"]}
LOOPBACK = "3fff:1ff:ffff::4/128"
PEER = "3fff:f01:0:3::"
OTHERS = "3fff:100::/24"
UNITS = ["3fff:122::/32", "3fff:126::/32", "3fff:12f::/32", "3fff:114::/32"]
OWN = "permit 3fff:1ff:ffff::/64 ge 128"
SENT = [f"permit {p} le 64" for p in UNITS] + [OWN]
FIREWALL: dict[str, Any] = {
    "there": True, "segments": ["seg10001"], "elements": {"seg10001": ["open"]}, "differs": [], "tables": [],
}  # fmt: skip
ENDS = ["3fff:f02:1::2 lan0", "segments"]
TUNNELS: dict[str, Any] = {"there": True, "elements": {"seg10001": ENDS}, "differs": []}


def vrf(**changes: Any) -> dict[str, Any]:
    """A routing table in which nothing is beside the plan, unless said otherwise."""
    nothing: dict[str, Any] = {"segments": [], "elements": {}}
    empty: dict[str, Any] = {"segments": {}, "networks": [], "sessions": {}, "firewall": FIREWALL | nothing}
    empty |= {"forwarding": True, "routes": [], "policies": [], "mixed": [], "addresses": {"lo": [LOOPBACK]}}
    return empty | changes


def neighbour(name: str, asn: int, **changes: Any) -> dict[str, Any]:
    session = {"name": name, "asn": asn, "state": "Established", "received": 1, "refused": [], "also": []}
    filters = {"in": [f"permit {OTHERS}"], "out": [f"permit {OTHERS} le 64", OWN]}
    return session | {"filters": filters} | changes


def facts(
    *,
    segments: dict[str, Any] | None = None,
    networks: tuple[str, ...] = (),
    firewall: dict[str, Any] | None = None,
    peers: dict[str, Any] | None = None,
    beside: dict[str, Any] | None = None,
    tunnels: dict[str, Any] | None = None,
    **session: Any,
) -> RouterFacts:
    """The data centre's router with the segment as it should be, unless said otherwise."""
    there = {"seg10001": SEGMENT} if segments is None else segments
    mine = {"seg10001"} & there.keys()
    elements = {n: e for n, e in FIREWALL["elements"].items() if n in mine}
    table = vrf(
        segments=there,
        networks=[LOOPBACK, *(networks or ("3fff:12f:0:1::/64",))],
        sessions={PEER: neighbour("nanning", 64601, **session)} if peers is None else peers,
        firewall=FIREWALL | {"elements": elements, "segments": sorted(mine)} | (firewall or {}),
        **(beside or {}),
    )
    before = TUNNELS | {"elements": {n: e for n, e in TUNNELS["elements"].items() if n in mine}} | (tunnels or {})
    return RouterFacts("dc", {"vrfs": {"shared": table}, "tunnels": before})


def gaps(found: RouterFacts, rows: Rows = ROWS, topology: Topology = LAB) -> list[tuple[str, str, str]]:
    return [(d.gap.value, d.subject, said(d.facts)) for d in compare(topology, rows, [found])]


def test_a_router_that_does_as_planned_differs_in_nothing() -> None:
    assert gaps(facts()) == []


def test_a_rebooted_router_lacks_its_segments() -> None:
    """No trace of it, or a configuration whose link is not there."""
    assert gaps(facts(segments={}, networks=(LOOPBACK,))) == [("missing", "3fff:12f:0:1::/64", "")]
    rebooted = {"seg10001": SEGMENT | {"link": None, "addresses": []}}
    assert gaps(facts(segments=rebooted)) == [("changed", "3fff:12f:0:1::/64", "link_gone")]


def test_what_was_changed_by_hand_is_named() -> None:
    """What is missing (-) and what nobody wants (+), of the configuration as of the kernel."""
    other = [line.replace("3fff:12f:0:1::1", "3fff:12f:0:1::9") for line in LINES[:-1]]
    by_hand = {"seg10001": SEGMENT | {"lines": other, "addresses": ["3fff:12f:0:1::9/64"]}}
    assert gaps(facts(segments=by_hand, networks=(LOOPBACK,))) == [
        (
            "changed",
            "3fff:12f:0:1::/64",
            "address (-3fff:12f:0:1::1/64, +3fff:12f:0:1::9/64) advertisements (-no ipv6 nd suppress-ra) unannounced",
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
        ({"link": LINK | {"to": [*LINK["to"], "3fff:f00::2"]}}, "link (+to 3fff:f00::2)"),
        ({"link": LINK | {"to": []}}, "link (-to 3fff:f02:1::2)"),
        ({"link": LINK | {"learns": True}}, "link (+learning)"),
        ({"link": LINK | {"master": "br0"}}, "link (+master br0)"),
        ({"link": LINK | {"forwards": False}}, "not_forwarding"),
        ({"link": LINK | {"up": False}}, "link (-up, +down)"),
    ],
)
def test_a_segment_is_compared_word_for_word(changes: dict[str, Any], said: str) -> None:
    """Advertisements, VNI, ends, MAC and live addresses: nothing beside what was made stays unseen."""
    assert gaps(facts(segments={"seg10001": SEGMENT | changes})) == [("changed", "3fff:12f:0:1::/64", said)]


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ({"elements": {"seg10001": ["segments"]}}, "ends (-3fff:f02:1::2 lan0)"),
        ({"elements": {"seg10001": [*ENDS, "3fff:f00::2 mgmt0"]}}, "ends (+3fff:f00::2 mgmt0)"),
        ({"elements": {"seg10001": [ENDS[0]]}}, "ends (-segments)"),
        ({"differs": ["-chain vxlan: drop"]}, "rules (-chain vxlan: drop)"),
    ],
)
def test_whose_packets_a_tunnel_takes_is_compared_word_for_word(ends: dict[str, Any], told: str) -> None:
    """From the far end over the underlay alone; what is left over for a tunnel that is not there is nobody's."""
    assert gaps(facts(tunnels=ends)) == [("changed", "3fff:12f:0:1::/64", told)]
    by_vlan = replace(SPEC, encapsulation=Encapsulation.VLAN)
    trunk = {"seg10001": SEGMENT | {"link": LINK | {"kind": "vlan", "local": "", "remote": "", "to": []}}}
    nothing = {"there": False, "elements": {}, "differs": ["-chain vxlan: drop"]}
    assert gaps(facts(segments=trunk, tunnels=nothing), Rows({ID: by_vlan}, frozenset())) == []
    left: dict[str, Any] = {"segments": {}, "networks": (LOOPBACK,), "tunnels": TUNNELS}
    assert gaps(facts(**left), Rows({}, frozenset())) == [("foreign", "seg10001", f"opened (+{', +'.join(ENDS)})")]


def test_a_table_that_does_not_forward_and_interfaces_that_the_firewall_is_not_for_are_named() -> None:
    """Changed where a segment of ours is, which a repair puts right; else somebody has to see to it."""
    assert gaps(facts(beside={"forwarding": False})) == [("changed", "3fff:12f:0:1::/64", "not_forwarding")]
    assert gaps(facts(firewall={"segments": []})) == [("changed", "3fff:12f:0:1::/64", "unguarded")]
    strange = {"segments": ["seg10001", "segw"]}
    assert gaps(facts(firewall=strange)) == [("foreign", "segw", "guarded")]
    transit = facts(segments={}, networks=(LOOPBACK,), beside={"forwarding": False})
    assert gaps(transit, Rows({}, frozenset())) == [("foreign", "forwarding", "not_forwarding")]


def test_what_leads_packets_elsewhere_is_named() -> None:
    """Routes by hand and written, rules to other tables, leaks between tables, strange addresses, another firewall."""
    assert gaps(facts(beside={"routes": [{"prefix": "3fff:9::/64", "how": "unicast lan0 boot"}]})) == [
        ("foreign", "3fff:9::/64", "route unicast lan0 boot")
    ]
    assert gaps(facts(beside={"policies": ["100 main"]})) == [("foreign", "100 main", "rule")]
    assert gaps(facts(beside={"mixed": ["import vrf internet"]})) == [("foreign", "import vrf internet", "bgp")]
    strange = {"lo": [LOOPBACK], "nanning-0": ["3fff:f01:0:3::1/127"], "x0": ["3fff:102:0:9::1/64"]}
    assert gaps(facts(beside={"addresses": strange})) == [("foreign", "3fff:102:0:9::1/64", "on x0")]
    assert gaps(facts(firewall={"tables": ["inet theirs"]})) == [("foreign", "inet theirs", "table")]


def test_neighbours_that_the_topology_does_not_name_are_named() -> None:
    """One more, one with another AS, one from another link; and one that is not configured at all."""
    right = {PEER: neighbour("nanning", 64601)}
    assert gaps(facts(peers=right | {"3fff:9::1": neighbour("other", 65001)})) == [
        ("neighbour", "3fff:9::1", "peer 65001 other")
    ]
    assert gaps(facts(peers={PEER: neighbour("nanning", 65001)})) == [("neighbour", PEER, "peer 65001 nanning")]
    assert gaps(facts(peers=right | {"3fff:9::1": neighbour("nanning", 64601)})) == [
        ("neighbour", "3fff:9::1", "peer 64601 nanning")
    ]
    assert gaps(facts(peers={})) == [("session", "nanning", "session not configured")]


def test_what_is_ours_and_in_no_row_is_extra_and_what_is_not_ours_is_foreign() -> None:
    nobody = Rows({}, frozenset())
    assert gaps(facts(), nobody) == [("extra", "seg10001", "")]
    theirs = {"seg7": SEGMENT | {"lines": ["ipv6 address 3fff:122::1/64"]}}
    found = gaps(facts(segments=theirs, networks=("3fff:122::/64",)), nobody)
    assert found == [("foreign", "seg7", "interface"), ("foreign", "3fff:122::/64", "announced")]


@pytest.mark.parametrize(
    ("changes", "prefix"),
    [
        ({}, "3fff:12f:0:1::/64"),
        ({"lines": [*LINES, "ipv6 address 3fff:12f:0:9::1/64"]}, "3fff:12f:0:1::/64"),
        ({"lines": [], "link": LINK | {"alias": f"guiyun {ID}"}}, "::/128"),
        ({"lines": [LINES[0]], "link": None}, "::/128"),
        ({"lines": [], "link": LINK | {"alias": ""}}, "::/128"),
    ],
)
def test_what_has_to_go_can_be_taken_away_whatever_is_left_of_it(changes: dict[str, Any], prefix: str) -> None:
    """By its interface, and its id if it has one: with a second address, with its alias alone, half made."""
    found = facts(segments={"seg10001": SEGMENT | changes}, networks=(LOOPBACK,))
    (extra,) = [d for d in compare(LAB, Rows({}, frozenset()), [found]) if d.gap is Gap.EXTRA]
    assert extra.spec is not None
    assert (extra.spec.router, extra.spec.vrf, extra.spec.vni) == ("dc", "shared", 10001)
    assert str(extra.spec.prefix) == prefix
    assert (extra.spec.id == ID) is (not extra.facts)


def test_an_interface_of_ours_that_was_renamed_is_reported_alone() -> None:
    """No segment's interface has such a name: nothing there is taken away under a guessed one."""
    renamed = {"segw": SEGMENT | {"lines": [], "link": LINK | {"alias": f"guiyun {ID}"}}}
    found = compare(LAB, Rows({}, frozenset()), [facts(segments=renamed, networks=(LOOPBACK,))])
    assert [(d.gap, d.subject, d.spec) for d in found] == [(Gap.EXTRA, "segw", None)]


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
    assert gaps(facts(refused=["3fff:102::/64"])) == [("rogue", "3fff:102::/64", "from nanning")]
    assert gaps(facts(state="Active")) == [("session", "nanning", "session Active")]
    silent = RouterFacts("dc", error=Temporary("extranet.router_unreachable"))
    assert gaps(silent) == [("silent", "dc", "silent extranet.router_unreachable")]


def test_a_router_that_does_not_answer_is_one_thing_to_tell() -> None:
    """Its neighbour has lost it in every table; a session that is down alone beside it is a fault of its own."""
    silent = RouterDrift(Gap.SILENT, "yufeng", "", "yufeng")
    lost = [RouterDrift(Gap.SESSION, "liuzhou", v.name, "yufeng") for v in LAB.vrfs]
    beside = RouterDrift(Gap.SESSION, "liuzhou", "shared", "core")
    assert lost_with_their_router(LAB, [silent, *lost, beside]) == {d.place for d in lost}
    assert lost_with_their_router(LAB, [silent, *lost[1:], beside]) == set()
    assert lost_with_their_router(LAB, [*lost, beside]) == set()


def test_a_firewall_that_was_changed_by_hand_is_put_right_and_what_is_not_ours_is_named() -> None:
    """Opened or shut beside the declared services; a rule beside the role's; an element of an interface nobody has."""
    served = Rows({ID: replace(SPEC, services=(Service("tcp", 443),))}, frozenset())
    declared = {"elements": {"seg10001": ["::/0 tcp 443"]}}

    def told(firewall: dict[str, Any]) -> str:
        ((gap, subject, detail),) = gaps(facts(firewall=firewall), served)
        assert (gap, subject) == ("changed", "3fff:12f:0:1::/64")
        return detail

    assert gaps(facts(firewall=declared), served) == []
    assert told({"elements": {}}) == "services (-::/0 tcp 443)"
    assert told({"elements": {"seg10001": ["open"]}}) == "services (-::/0 tcp 443, +open)"
    assert told({"elements": {"seg10001": ["::/0 tcp 22", "::/0 tcp 443"]}}) == "services (+::/0 tcp 22)"
    ruled = ["-chain through: drop", "+chain through: accept"]
    assert told(declared | {"differs": ruled}) == f"rules ({ruled[0]}, {ruled[1]})"
    strange = {"elements": {"seg10001": ["open"], "seg77": ["open"]}}
    assert gaps(facts(firewall=strange)) == [("foreign", "seg77", "opened (+open)")]
    nobody = facts(segments={}, networks=(LOOPBACK,), firewall={"elements": {}, "differs": ruled})
    assert gaps(nobody, Rows({}, frozenset())) == [("foreign", "firewall", f"rules ({ruled[0]}, {ruled[1]})")]


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


def filtered(entries: Any, *also: str, way: str = "in") -> list[tuple[str, str, str]]:
    """What is said of the city's router whose filter towards the edge below it is this."""
    filters = {"in": SENT, "out": [f"permit {OTHERS} ge 64 le 64", OWN]} | {way: entries}
    peers = {
        "3fff:f01:0:3::1": neighbour("dc", 64701, filters=filters, also=list(also)),
        "3fff:f01:0:1::": neighbour("core", 64600, filters={"in": [f"permit {OTHERS} le 64", OWN], "out": None}),
    }
    table = vrf(sessions=peers, addresses={})
    city = RouterFacts("nanning", {"vrfs": {"shared": table}, "tunnels": TUNNELS | {"elements": {}}})
    return gaps(city, Rows({}, frozenset()))


def test_a_neighbours_prefix_filter_that_differs_from_the_topology_is_named() -> None:
    """Wider, narrower, longer than a segment, or none at all; what is sent too, where it is filtered or has to be."""
    assert filtered(SENT) == []
    assert filtered([*SENT, "permit 3fff:102::/32 le 64"]) == [("filter", "dc", "filter_in (+3fff:102::/32)")]
    assert filtered(SENT[1:]) == [("filter", "dc", "filter_in (-3fff:122::/32)")]
    assert filtered([SENT[0].replace("le 64", "le 128"), *SENT[1:]]) == [
        ("filter", "dc", "filter_in (-3fff:122::/32, +3fff:122::/32 le 128)")
    ]
    assert filtered(None) == [("filter", "dc", f"filter_in ({', '.join(f'-{p}' for p in sorted(UNITS))}, +any)")]
    assert filtered(SENT, "route-map all in") == [("filter", "dc", "filter_in (+route-map all in)")]
    assert filtered(SENT, "route-map all out") == [("filter", "dc", "filter_out (+route-map all out)")]
    assert filtered(None, way="out") == []
    assert filtered([OWN], way="out") == [("filter", "dc", f"filter_out (-{OTHERS})")]


def test_who_is_above_is_looked_at_too() -> None:
    """Anything let in from the router above, and a whole zone sent to it where the topology names the units' space."""

    def told(filters: dict[str, Any]) -> list[tuple[str, str, str]]:
        right = {"in": [f"permit {OTHERS} ge 64 le 64", OWN], "out": SENT}
        return gaps(facts(filters=right | filters), topology=narrow)

    units = {"router": "dc", "neighbour": "nanning", "vrf": "shared", "direction": "out", "permit": UNITS}
    narrow = LAB.model_copy(update={"filters": (*LAB.filters, PrefixFilter.model_validate(units))})
    assert told({}) == []
    assert told({"in": ["permit ::/0 le 128"]}) == [("filter", "nanning", f"filter_in (-{OTHERS}, +::/0 le 128)")]
    assert told({"in": None}) == [("filter", "nanning", f"filter_in (-{OTHERS}, +any)")]
    missing = ", ".join(f"-{p}" for p in sorted(UNITS))
    assert told({"out": None}) == [("filter", "nanning", f"filter_out ({missing}, +any)")]
    assert told({"out": [f"permit {OTHERS} le 64"]}) == [("filter", "nanning", f"filter_out ({missing}, +{OTHERS})")]


def test_a_link_that_was_being_made_is_nobody_elses() -> None:
    """It has the address that its VNI is given and nothing else yet: on its way where a row says so, else left over."""
    bare = {"seg10001": {"lines": [], "link": LINK | {"alias": "", "up": False}, "addresses": []}}
    beside: dict[str, Any] = {"segments": bare, "networks": (LOOPBACK,)}
    expected = Rows({}, frozenset({ID}), frozenset({("dc", "seg10001")}))
    assert gaps(facts(**beside), expected) == []
    assert gaps(facts(**beside), Rows({}, frozenset())) == [("extra", "seg10001", "unfinished")]
    theirs = {"seg10001": bare["seg10001"] | {"link": LINK | {"mac": "02:00:00:00:00:01"}}}
    assert gaps(facts(segments=theirs, networks=(LOOPBACK,)), expected) == [("foreign", "seg10001", "interface")]


def test_what_is_wrong_has_words_for_people() -> None:
    """Each fact has a sentence in Chinese; a router's own lines stay as it writes them, long lists are cut."""
    many = [f"no ipv6 nd line {n}" for n in range(20)]
    by_hand = {"seg10001": SEGMENT | {"lines": [*LINES[:-1], *many], "link": LINK | {"up": False}}}
    (found,) = compare(LAB, ROWS, [facts(segments=by_hand)])
    told = texts.facts([each.plain() for each in found.facts])
    assert told.startswith("接口与建立时不同（缺少 up，多出 down）；路由通告的配置与建立时不同（缺少 no ipv6")
    assert told.endswith("另有 12 处）")
    notice = texts.notice("extranet.session", {
        "router": "dc", "vrf": "shared", "subject": "nanning",
        "facts": [{"code": "session", "params": {"state": "not configured"}}],
    })  # fmt: skip
    assert notice == "路由器 dc（shared）与邻居 nanning 的会话未建立（状态：没有配置），请核实。"
    codes = set(re.findall(r'(?:fact|differing)\(\s*f?"([a-z_{}]+)"', DIFFERENCES.read_text()))
    assert len(codes) > 15
    assert {c for code in codes for c in (code.format(way="in"), code.format(way="out"))} <= set(FACTS)
