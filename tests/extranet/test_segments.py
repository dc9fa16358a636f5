"""Segments on real routers: made once, reached in their zone and nowhere else, gone without a trace."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv6Network
from itertools import count
from typing import Any

import pytest

from broker.extranet.differences import Gap, Rows, compare
from providers.contract import Addressing
from providers.errors import Permanent, Temporary
from providers.extranet.provider import Extranet, segment_variables
from providers.networking import SegmentSpec, Service, Sighting
from tests.extranet import lab as laboratory
from tests.extranet.conftest import Site, matrix_text, within
from tests.extranet.wire import said
from tests.playbooks.test_vendor_roles import frr_module, shared

pytestmark = pytest.mark.extranet


def test_a_second_run_changes_nothing(site: Site) -> None:
    """--check shows the difference and makes nothing; the first run makes it; the second has changed=0."""
    spec = site.spec()
    runs = []
    play = site.provider.play

    def listening(*args: object, **kwargs: object) -> object:
        runs.append(play(*args, **kwargs))  # type: ignore[arg-type]
        return runs[-1]

    site.provider.play = listening  # type: ignore[assignment]
    assert site.provider.preview([spec])[spec.id] is None
    assert site.provider.observe(spec) is None
    site.bring_up(spec)
    site.bring_up(spec)
    seen = site.provider.observe(spec)
    assert seen is not None
    assert seen.whole, seen.detail
    assert (seen.prefix, seen.vni, seen.vrf) == (spec.prefix, spec.vni, "shared")
    made = [r.changed for r in runs if any("segments" in a for answers in r.answers.values() for a in answers)]
    assert made == [1, 1, 0]
    site.there = []
    assert site.provider.delete([spec])[spec.id] is None
    assert site.provider.delete([spec])[spec.id] is None
    assert (runs[-2].changed, runs[-1].changed) == (1, 0)


def test_every_zone_is_apart_from_every_other(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Art. 2(3): a segment in each routing table answers there and in no other, nor on the management network.

    Seen from four routers, and from a host of each segment to a host of each other. The matrix is printed.
    """
    specs = [
        site.spec(),
        site.spec(vrf="shared", unit="450200", router="yufeng", prefix=IPv6Network("3fff:102:0:1::/64"), vni=20001),
        site.spec(vrf="internet", prefix=IPv6Network("3fff:32f:0:1::/64")),
        site.spec(vrf="prv-jyt", unit="jyt", prefix=IPv6Network("3fff:222:0:1::/64")),
        site.spec(vrf="prv-lz", unit="450200", router="yufeng", prefix=IPv6Network("3fff:202:0:1::/64"), vni=20002),
        site.spec(vrf="prv-gat", unit="gat", prefix=IPv6Network("fd3f:ff00:1:1::/64")),
        site.spec(vrf="prv-slt", unit="slt", prefix=IPv6Network("fd3f:ff00:1:2::/64")),
    ]
    site.bring_up(*specs)
    sight = site.provider.verify(specs)
    assert not any(sight.verdicts.values()), sight.verdicts
    hosts = {spec.id: site.host(spec) for spec in specs}
    addresses = {spec.id: site.lab.wait_address(hosts[spec.id]) for spec in specs}
    for spec in specs:
        assert addresses[spec.id] in spec.prefix
    pairs = [(a, b) for a in specs for b in specs if a is not b]
    alike = [(a, b) for a, b in pairs if a.vrf == b.vrf]
    assert all(within(10, lambda p=p: site.lab.ping(hosts[p[0].id], addresses[p[1].id])) for p in alike)
    routers = [r.address for r in site.lab.topology.routers]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda p: p in alike or site.lab.ping(hosts[p[0].id], addresses[p[1].id]), pairs))
        from_management = list(pool.map(lambda s: site.lab.ping("mgmt", addresses[s.id]), specs))
        to_management = list(pool.map(lambda s: any(site.lab.ping(hosts[s.id], r) for r in routers), specs))
    met = {(a.vrf, b.vrf) for (a, b), answered in zip(pairs, answers, strict=True) if answered}
    one_way = [Sighting(b.id, b.vrf, a.vrf, "host", ok) for (a, b), ok in zip(pairs, answers, strict=True)]
    one_way += [Sighting(s.id, s.vrf, "", "host", ok) for s, ok in zip(specs, from_management, strict=True)]
    with capsys.disabled():
        sys.stdout.write(
            f"\nisolation: who (row) answers to whom (column), seen from four routers\n{matrix_text(sight.matrix)}\n"
        )
        sys.stdout.write(
            f"\nfrom a host of each table (column) to a host of each other (row)\n{matrix_text(one_way)}\n"
        )
        reached = sorted(s.vrf for s, ok in zip(specs, to_management, strict=True) if ok)
        sys.stdout.write(f"hosts that reach the management network: {', '.join(reached) or 'none'}\n")
    assert not any(to_management)
    assert met == {("shared", "shared")}
    assert not any(from_management)
    assert {c.probe for c in sight.matrix} == {"core", "liuzhou", "dc", "yufeng"}
    assert {(c.of, c.seen_from) for c in sight.matrix if c.answered} == {(s.vrf, s.vrf) for s in specs}


def test_two_departments_use_the_same_prefix(site: Site) -> None:
    """Unique local space (RFC 4193): the same /64 in two departments' tables, each reaching its own host only."""
    prefix = IPv6Network("fd3f:ff00:1:5::/64")
    gat = site.spec(vrf="prv-gat", unit="gat", prefix=prefix, elsewhere=("prv-slt",))
    slt = site.spec(vrf="prv-slt", unit="slt", prefix=prefix, elsewhere=("prv-gat",))
    site.bring_up(gat, slt)
    sight = site.provider.verify([gat, slt])
    assert not any(sight.verdicts.values()), sight.verdicts
    one, other = site.host(gat), site.host(slt)
    address = site.lab.wait_address(one)
    assert site.lab.wait_address(other) != address
    assert not site.lab.ping(other, address)


def test_a_withdrawn_segment_leaves_no_way(site: Site) -> None:
    """The last advertisement ends the default route and the address, on the host too; the router keeps nothing."""
    spec = site.spec()
    before = site.lab.vtysh("dc", "show running-config")
    site.bring_up(spec)
    host = site.host(spec)
    site.lab.wait_address(host)
    assert "default" in site.lab.run(host, "ip", "-6", "route").stdout
    assert site.provider.delete([spec])[spec.id] is None
    assert within(3, lambda: site.lab.address(host) is None)
    assert within(3, lambda: "default" not in site.lab.run(host, "ip", "-6", "route").stdout)
    assert site.provider.verify([spec], answering=False).verdicts[spec.id] is None
    assert site.lab.vtysh("dc", "show running-config") == before
    listed = site.lab.run("dc", "nft", "list", "table", "inet", "guiyun", vrf="shared").stdout
    assert f"seg{spec.vni}" not in listed


def test_hosts_are_told_to_ask_for_their_addresses(site: Site) -> None:
    """DHCPv6: managed and other flag, no autonomous prefix. The router is the way out, the host forms no address."""
    spec = site.spec(addressing=Addressing.DHCPV6)
    site.bring_up(spec)
    assert site.provider.verify([spec]).verdicts == {spec.id: None}
    host = site.host(spec)
    assert within(15, lambda: "default" in site.lab.run(host, "ip", "-6", "route").stdout)
    assert site.lab.address(host) is None
    written = site.lab.vtysh("dc", "show running-config").split(f"interface seg{spec.vni} ")[1].split("exit")[0]
    for line in ("managed-config-flag", "other-config-flag", f"prefix {spec.prefix} no-autoconfig"):
        assert f" ipv6 nd {line}\n" in written
    plain = replace(spec, addressing=Addressing.SLAAC)
    site.bring_up(plain)
    assert site.lab.wait_address(host) in spec.prefix


def test_what_was_changed_by_hand_is_found_and_put_right(site: Site) -> None:
    """Firewall, advertisements, links, addresses of ours, word for word: found, named, repaired; hosts are answered."""
    spec = site.spec(services=(Service("tcp", 8443),))
    other, third = site.spec(), site.spec()
    site.bring_up(spec, other, third)
    host = site.host(other)
    address = site.lab.wait_address(host)
    before = site.lab.vtysh("dc", "show running-config")
    assert differences(site, spec, other, third) == []
    for command in (
        ("nft", f'add element inet guiyun open {{ "seg{spec.vni}" }}'),
        ("nft", "insert rule inet guiyun through accept"),
        ("nft", "add chain inet guiyun more { type filter hook forward priority -1; policy drop; }"),
        ("ip", "link", "set", f"seg{other.vni}", "address", "02:00:00:00:00:01"),
        ("ip", "addr", "add", "3fff:12f:0:9::9/64", "dev", f"seg{other.vni}"),
        ("ip", "addr", "del", f"{third.gateway}/64", "dev", f"seg{third.vni}"),
    ):
        assert site.lab.run("dc", *command, vrf="shared").returncode == 0, command
    site.lab.vtysh("dc", "configure terminal", f"interface seg{other.vni} vrf shared", "ipv6 nd ra-interval 30",
                   "ipv6 nd ra-lifetime 0", "ipv6 nd rdnss 3fff::53")  # fmt: skip
    ruled = "+chain more: type filter hook forward priority filter - 1; policy drop;", "+chain through: accept"
    found = dict(differences(site, spec, other, third))
    assert set(found) == {("changed", str(s.prefix)) for s in (spec, other, third)}
    told = {s.id: found["changed", str(s.prefix)] for s in (spec, other, third)}
    assert all(rule in detail for rule in ruled for detail in told.values())
    assert "+open" in told[spec.id]
    for word in ("+02:00:00:00:00:01", "+3fff:12f:0:9::9/64", "+ipv6 nd ra-lifetime 0", "+ipv6 nd ra-interval 30"):
        assert word in told[other.id]
    assert f"address (-{third.gateway}/64)" in told[third.id]
    assert not any(site.provider.update([spec, other, third]).values())
    assert differences(site, spec, other, third) == []
    assert site.lab.vtysh("dc", "show running-config") == before
    seen_from_core = ("ping", "-6", "-q", "-c1", "-W1", "-I", "3fff:1ff:ffff::1", str(address))
    assert within(15, lambda: site.lab.run("core", *seen_from_core, vrf="shared").returncode == 0)


def test_what_is_left_of_ours_goes_whatever_it_has_become(site: Site) -> None:
    """Given a second address that is announced, with its alias alone left, or only made: gone in one repair, silent."""
    before = site.lab.vtysh("dc", "show running-config")
    second, alone, spare = site.spec(), site.spec(), site.spec()
    site.bring_up(second, alone)
    bgp, more = ("router bgp 64701 vrf shared", "address-family ipv6 unicast"), "3fff:12f:0:f9::"
    site.lab.vtysh("dc", "configure terminal", f"interface seg{second.vni} vrf shared", f"ipv6 address {more}1/64",
                   *bgp, f"network {more}/64")  # fmt: skip
    lines = (f"no ipv6 address {alone.gateway}/64", f"no ipv6 nd prefix {alone.prefix}", "no ipv6 nd ra-interval",
             "ipv6 nd suppress-ra", "no description")  # fmt: skip
    site.lab.vtysh("dc", "configure terminal", f"interface seg{alone.vni} vrf shared", *lines)
    frr_module()  # the link that a run makes before it can say whose it is
    made = shared("frr_segment").Segment(segment_variables(site.provider.fabric, spare))
    underlay = site.provider.fabric.routers["dc"].variables["extranet_underlay"]
    assert site.lab.run("dc", "ip", *made.link(underlay).split()).returncode == 0
    found = list(compare(site.lab.topology, Rows({}, frozenset()), site.audit("dc")))
    extra = [d.spec for d in found if d.gap is Gap.EXTRA and d.spec is not None]
    assert {s.vni for s in extra} == {second.vni, alone.vni, spare.vni}
    # What lost its address the rows know the prefix of.
    extra = [replace(s, prefix=alone.prefix) if s.id == alone.id else s for s in extra]
    assert not any(site.provider.delete(extra).values())
    site.there = []
    assert differences(site) == []
    assert site.lab.vtysh("dc", "show running-config") == before


def test_what_is_not_ours_is_named_and_left_alone(site: Site) -> None:
    """Routes, rules, tables, neighbours, filters, leaks that the topology does not contain: each by its place."""
    spec = site.spec()
    site.bring_up(spec)
    bgp = ("configure terminal", "router bgp 64701 vrf shared")
    family = (*bgp, "address-family ipv6 unicast")
    by_hand = {
        "ip -6 route add blackhole 3fff:12f:c0::/64": "ip -6 route del blackhole 3fff:12f:c0::/64",
        "ip -6 rule add from 3fff:9::/64 lookup 100": "ip -6 rule del from 3fff:9::/64 lookup 100",
        "nft add table inet theirs": "nft delete table inet theirs",
        "ip addr add 3fff:102:0:9::1/64 dev lo": "ip addr del 3fff:102:0:9::1/64 dev lo",
    }
    written = [
        ((*bgp, "neighbor 3fff:f02:1::9 remote-as 65009"), (*bgp, "no neighbor 3fff:f02:1::9 remote-as 65009")),
        ((*family, "redistribute static"), (*family, "no redistribute static")),
    ]  # fmt: skip
    permit = "ipv6 prefix-list shared-dc-in seq 99 permit 3fff:102::/32 le 64"
    site.lab.vtysh("nanning", "configure terminal", permit)
    for command in by_hand:
        assert site.lab.run("dc", *command.split(), vrf="shared").returncode == 0, command
    for lines, _ in written:
        site.lab.vtysh("dc", *lines)
    try:
        found = dict(differences(site, spec, beside="nanning"))
        assert not any(site.provider.update([spec]).values())
        repaired = dict(differences(site, spec, beside="nanning"))
    finally:
        for command in by_hand.values():
            site.lab.run("dc", *command.split(), vrf="shared")
        for _, lines in written:
            site.lab.vtysh("dc", *lines)
        site.lab.vtysh("nanning", "configure terminal", f"no {permit}")
    assert found == repaired
    assert {key: words.split()[0] for key, words in found.items()} == {
        ("foreign", "3fff:12f:c0::/64"): "route",
        ("foreign", "32765 100"): "rule",
        ("foreign", "inet theirs"): "table",
        ("foreign", "3fff:102:0:9::1/64"): "on",
        ("foreign", "redistribute static"): "bgp",
        ("neighbour", "3fff:f02:1::9"): "peer",
        ("filter", "dc"): "filter_in",
    }
    assert within(5, lambda: differences(site, spec, beside="nanning") == [])


def differences(site: Site, *specs: SegmentSpec, beside: str = "dc") -> list[tuple[tuple[str, str], str]]:
    """What an audit finds on the data centre's router and theirs, when these segments are all there should be."""
    rows = Rows({s.id: s for s in specs}, frozenset())
    found = compare(site.lab.topology, rows, site.audit(*{"dc", beside, *(s.router for s in specs)}))
    return [((d.gap.value, d.subject), said(d.facts)) for d in found]


def test_a_host_speaks_for_its_own_addresses_only(site: Site) -> None:
    """A source that is not the segment's is dropped at the router (BCP 38)."""
    spec, other = (
        site.spec(),
        site.spec(unit="450200", router="yufeng", prefix=IPv6Network("3fff:102:0:4::/64"), vni=20004),
    )
    site.bring_up(spec, other)
    liar, target = site.host(spec), site.host(other)
    site.lab.wait_address(liar)
    address = site.lab.wait_address(target)
    assert within(10, lambda: site.lab.ping(liar, address))
    stolen = "3fff:122:0:66::66"
    site.lab.run(liar, "ip", "-6", "addr", "add", f"{stolen}/128", "dev", "eth0", "nodad")
    counted = "ip6 saddr 3fff:122::/32 counter drop"
    site.lab.run(
        target,
        "nft",
        f"add table inet t; add chain inet t i {{ type filter hook input priority 0; }}; add rule inet t i {counted}",
    )
    site.lab.run(liar, "ping", "-6", "-n", "-q", "-c2", "-i0.2", "-W1", "-I", stolen, str(address))
    assert "packets 0" in site.lab.run(target, "nft", "list", "table", "inet", "t").stdout


def test_one_session_that_is_down_holds_up_no_other_segment(site: Site) -> None:
    """The county's link to the city in the internet zone: its probe is blind there, the others see; looked at it is."""
    spec, cut = site.spec(), site.spec(vrf="internet", router="yufeng", unit="450200", vni=20051,
                                       prefix=IPv6Network("3fff:302:0:51::/64"))  # fmt: skip
    site.bring_up(spec, cut)
    deaf = "table ip6 cut { chain i { type filter hook prerouting priority -400; iifname liuzhou-1 drop; }; }"
    site.lab.run("yufeng", "nft", deaf, vrf="internet")
    try:
        verdicts = site.provider.verify([spec, cut]).verdicts
    finally:
        site.lab.run("yufeng", "nft", "delete", "table", "ip6", "cut", vrf="internet")
    assert verdicts[spec.id] is None
    assert verdicts[cut.id] is None  # its own router's probe sees it, nobody else can
    assert within(30, site.lab.converged)


def test_a_leak_that_lets_no_echo_through_is_seen(site: Site) -> None:
    """Somebody has joined two zones on a router and dropped echoes in between: a TCP connection is answered."""
    spec = site.spec()
    site.bring_up(spec)
    ends = {
        "shared": ("x1", "fd00::1", "3fff:300::/24", "fd00::2"),
        "internet": ("x2", "fd00::2", "3fff:100::/24", "fd00::1"),
    }
    site.lab.run("dc", "ip", "link", "add", "x1", "type", "veth", "peer", "name", "x2")
    for vrf, (device, address, prefix, over) in ends.items():
        site.lab.run("dc", "ip", "link", "set", device, "netns", vrf)
        for command in (f"addr add {address}/64 dev {device} nodad", f"link set {device} up",
                        f"-6 route add {prefix} via {over}"):  # fmt: skip
            assert site.lab.run("dc", "ip", "-n", vrf, *command.split()).returncode == 0
    rule = "iifname x1 icmpv6 type echo-request drop"
    mute = f"table ip6 mute {{ chain i {{ type filter hook prerouting priority -400; {rule}; }}; }}"
    site.lab.run("dc", "nft", mute, vrf="shared")
    try:
        refused = site.provider.verify([spec]).verdicts[spec.id]
    finally:
        site.lab.run("dc", "nft", "delete", "table", "ip6", "mute", vrf="shared")
        site.lab.run("dc", "ip", "-n", "shared", "link", "del", "x1")
    assert isinstance(refused, Permanent)
    assert refused.code == "extranet.leak"
    assert site.provider.verify([spec]).verdicts[spec.id] is None


def test_what_nobody_can_look_at_is_not_verified(site: Site) -> None:
    """A segment that is not there, and only a probe that has no way into its zone."""
    fabric = site.provider.fabric
    seen = [v for v in fabric.routers["liuzhou"].variables["extranet_vantages"] if v["vrf"] in ("internet", "")]
    liuzhou = fabric.routers["liuzhou"]
    liuzhou = replace(liuzhou, variables={**liuzhou.variables, "extranet_vantages": seen})
    blind = Extranet(replace(fabric, routers={"dc": replace(fabric.routers["dc"], groups=("access",)),
                                              "liuzhou": liuzhou}), site.provider.play)  # fmt: skip
    ghost = site.spec()
    refused = blind.verify([ghost]).verdicts[ghost.id]
    assert isinstance(refused, Temporary)
    assert refused.code == "extranet.probe_blind"


def test_twenty_at_once(site: Site) -> None:
    """Twenty callers, each with one segment: all of them answer in their zone, in a few runs."""
    specs, runs, play = [site.spec() for _ in range(20)], count(), site.provider.play

    def counted(*args: Any, **named: Any) -> Any:
        next(runs)
        return play(*args, **named)

    site.provider.play = counted
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda s: site.create(s)[s.id], specs))
        assert outcomes == [None] * 20
        sights = list(pool.map(lambda s: site.provider.verify([s]), specs))
    assert not any(v for sight in sights for v in sight.verdicts.values())
    assert next(runs) <= 20, "far fewer than one for each caller and act: how long they take is the benchmark's"


def test_a_router_that_is_down_is_for_later_and_comes_back_whole(site: Site) -> None:
    """While it is down the answer is Temporary; once it is back, its segments are brought back by the same act."""
    spec = site.spec(router="yufeng", unit="450200", prefix=IPv6Network("3fff:102:0:6::/64"), vni=20006)
    site.bring_up(spec)
    host = site.host(spec)
    site.lab.wait_address(host)
    site.lab.stop_router("yufeng")
    later = site.spec(router="yufeng", unit="450200", prefix=IPv6Network("3fff:102:0:7::/64"), vni=20007)
    down = site.create(later)[later.id]
    assert isinstance(down, Temporary)
    assert down.code == "extranet.router_unreachable"
    site.lab.start_router("yufeng")
    assert within(30, site.lab.converged)
    rebooted = site.provider.observe(spec)
    assert rebooted is not None
    assert not rebooted.whole
    site.bring_up(spec, later)
    assert site.provider.verify([spec, later]).verdicts == {spec.id: None, later.id: None}
    address = site.lab.wait_address(host)
    seen_from_core = ("ping", "-6", "-q", "-c1", "-W1", "-I", "3fff:1ff:ffff::1", str(address))
    assert within(15, lambda: site.lab.run("core", *seen_from_core, vrf="shared").returncode == 0)


def test_the_laboratory_is_in_its_own_home(site: Site) -> None:
    """Nothing of it is mounted or named outside: `up` again finds it, and only it."""
    assert laboratory.up().pids == site.lab.pids
