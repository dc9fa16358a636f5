"""Segments on real routers: made once, reached in their zone and nowhere else, gone without a trace."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from broker.extranet.drift import Rows, compare
from providers.contract import Addressing
from providers.errors import Temporary
from providers.networking import Service
from tests.extranet import lab as laboratory
from tests.extranet.conftest import Site, matrix_text, within

pytestmark = pytest.mark.extranet

LISTEN = """
import socket, threading, time
for port in (8443, 9000, 22):
    server = socket.create_server(("::", port), family=socket.AF_INET6)
    threading.Thread(target=lambda s=server: [s.accept() for _ in range(9)], daemon=True).start()
time.sleep(20)
"""
CALL = """
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), timeout=1)
        print(port, "open")
    except OSError:
        print(port, "shut")
"""


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
    assert within(10, lambda: site.lab.ping(hosts[specs[1].id], addresses[specs[0].id]))
    pairs = [(a, b) for a in specs for b in specs if a is not b]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda p: site.lab.ping(hosts[p[0].id], addresses[p[1].id]), pairs))
        from_management = list(pool.map(lambda s: site.lab.ping("mgmt", addresses[s.id]), specs))
    met = {(a.vrf, b.vrf) for (a, b), answered in zip(pairs, answers, strict=True) if answered}
    with capsys.disabled():
        sys.stdout.write(f"\nisolation: who answers to whom, seen from four routers\n{matrix_text(sight.matrix)}\n")
        sys.stdout.write(
            f"hosts of two routing tables that answered each other: {sorted(p for p in met if p[0] != p[1]) or 'none'}"
        )
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
    assert "default" not in site.lab.run(host, "ip", "-6", "route").stdout
    assert site.provider.verify([spec], answering=False).verdicts[spec.id] is None
    assert site.lab.vtysh("dc", "show running-config") == before
    listed = site.lab.run("dc", "nft", "list", "table", "inet", "guiyun", vrf="shared").stdout
    assert f"seg{spec.vni}" not in listed


def test_only_declared_services_are_reached(site: Site) -> None:
    """Denied by default: echo and what is declared get through, from where it is declared, and nothing else."""
    services = (Service("tcp", 8443), Service("tcp", 9000, IPv6Network("3fff:122::/32")))
    spec = site.spec(services=services)
    client = site.spec(vrf="shared", unit="450200", router="yufeng", prefix=IPv6Network("3fff:102:0:3::/64"), vni=20003)
    site.bring_up(spec, client)
    server, caller = site.host(spec), site.host(client)
    address = site.lab.wait_address(server)
    site.lab.wait_address(caller)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(site.lab.run, server, "timeout", "8", "python3", "-c", LISTEN)
        assert within(10, lambda: site.lab.ping(caller, address))
        time.sleep(0.5)
        said = site.lab.run(caller, "python3", "-c", CALL, str(address), "8443", "9000", "22").stdout.split("\n")
    assert said[:3] == ["8443 open", "9000 shut", "22 shut"]
    gateway = site.lab.run(server, "python3", "-c", CALL, str(spec.gateway), "179")
    assert gateway.stdout.strip() == "179 shut"


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


def test_what_was_opened_or_shut_by_hand_is_found_and_put_right(site: Site) -> None:
    """The firewall's elements and rules, a neighbour's prefix filter: ours are repaired, the filter is only named."""
    spec = site.spec(services=(Service("tcp", 8443),))
    other = site.spec()
    site.bring_up(spec, other)
    rows = Rows({s.id: s for s in (spec, other)}, frozenset())

    def differences() -> list[tuple[str, str, str]]:
        found = compare(site.lab.topology, rows, site.provider.audit())
        return [(d.gap.value, d.subject, d.detail) for d in found]

    assert differences() == []
    table = ("nft", "delete", "rule", "inet", "guiyun", "through", "handle")
    listed = site.lab.run("dc", "nft", "-a", "list", "chain", "inet", "guiyun", "through", vrf="shared").stdout
    last = listed.strip().splitlines()[-3].split("handle ")[1]
    by_hand = (
        f'add element inet guiyun open {{ "seg{spec.vni}" }}; delete element inet guiyun open {{ "seg{other.vni}" }}'
    )
    site.lab.run("dc", "nft", by_hand, vrf="shared")
    site.lab.run("dc", *table, last, vrf="shared")
    site.lab.vtysh("nanning", "configure terminal", "ipv6 prefix-list shared-dc-in seq 99 permit 3fff:102::/32 le 64")
    try:
        assert sorted(differences()) == sorted(
            [("changed", str(s.prefix), "firewall") for s in (spec, other)] + [("filter", "dc", "3fff:102::/32")]
        )
        assert not any(site.provider.update([spec, other]).values())
        assert differences() == [("filter", "dc", "3fff:102::/32")]
    finally:
        site.lab.vtysh("nanning", "configure terminal", "no ipv6 prefix-list shared-dc-in seq 99")
    assert differences() == []


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


def test_twenty_at_once(site: Site) -> None:
    """Twenty callers, each with one segment: all of them answer in their zone, in a few runs."""
    specs = [site.spec() for _ in range(20)]
    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda s: site.create(s)[s.id], specs))
        assert outcomes == [None] * 20
        sights = list(pool.map(lambda s: site.provider.verify([s]), specs))
    assert not any(v for sight in sights for v in sight.verdicts.values())
    assert time.monotonic() - began < 60


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
