"""Neighbours on real routers: what is let in from them and sent to them, what transit passes; kept connections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv6Network

import pytest

from broker.extranet.differences import Rows, compare
from tests.extranet.conftest import Site, within
from tests.extranet.wire import said

pytestmark = pytest.mark.extranet

UP = "3fff:f01:0:3::"
STRANGE = "fd00:bad::/64"
BGP = ("configure terminal", "router bgp 64701 vrf shared", "address-family ipv6 unicast")
ABOVE = ("configure terminal", "router bgp 64601 vrf shared", "address-family ipv6 unicast")


@pytest.fixture
def opened(site: Site) -> Iterator[Site]:
    """The edge takes and sends everything, and the router above it announces what is nobody's."""
    before = site.lab.vtysh("dc", "show running-config")
    site.lab.vtysh("dc", *BGP, *(f"no neighbor {UP} prefix-list shared-any-{way} {way}" for way in ("in", "out")))
    site.lab.run("nanning", "ip", "-6", "route", "add", "blackhole", STRANGE, vrf="shared")
    site.lab.vtysh("nanning", *ABOVE, f"network {STRANGE}", f"no neighbor {UP}1 prefix-list shared-any-out out")
    yield site
    site.lab.vtysh("nanning", *ABOVE, f"no network {STRANGE}", f"neighbor {UP}1 prefix-list shared-any-out out")
    site.lab.run("nanning", "ip", "-6", "route", "del", "blackhole", STRANGE, vrf="shared")
    site.lab.vtysh("dc", *BGP, *(f"neighbor {UP} prefix-list shared-any-{way} {way}" for way in ("in", "out")))
    for router in ("dc", "nanning"):
        ours = set(re.findall(r"prefix-list (guiyun-\S+) seq", site.lab.vtysh(router, "show running-config")))
        site.lab.vtysh(router, "configure terminal", *(f"no ipv6 prefix-list {name}" for name in sorted(ours)))
        site.lab.vtysh(router, "write memory")
    assert site.lab.vtysh("dc", "show running-config") == before


def filters(site: Site) -> dict[tuple[str, str], str]:
    """What drift says of filters, by router and neighbour."""
    found = compare(site.lab.topology, Rows({}, frozenset()), site.audit("dc", "nanning"))
    return {(d.router, d.subject): said(d.facts) for d in found if d.gap.value == "filter"}


def written(site: Site, *, check: bool = False) -> dict[tuple[str, str, str], int]:
    """How many lines the playbook writes (or would), by router, table and neighbour."""
    heard = site.provider.filter_neighbours(check=check)
    assert not any(each.error for each in heard), heard
    answers = [(each.router, a) for each in heard for a in each.facts["filters"]]
    assert {a["code"] for _, a in answers} == {""}
    return {(router, a["vrf"], a["neighbour"]): len(a["lines"]) for router, a in answers if a["lines"]}


def test_filters_towards_the_router_above_are_compared_and_written(opened: Site) -> None:
    """Opened by hand: named by drift, said by --check, closed by the playbook; a second run changes nothing."""
    heard = "show bgp vrf shared ipv6 unicast"
    assert within(10, lambda: STRANGE in opened.lab.vtysh("dc", heard))
    assert filters(opened) == {("dc", "nanning"): "filter_in (-3fff:100::/24, +any)"}
    expected = {("dc", "shared", "nanning"), ("nanning", "shared", "dc")}  # what sends all has a filter that says so
    assert set(written(opened, check=True)) == expected
    assert STRANGE in opened.lab.vtysh("dc", heard)
    assert set(written(opened)) == expected
    assert within(10, lambda: STRANGE not in opened.lab.vtysh("dc", heard))
    assert written(opened) == {}
    assert filters(opened) == {}
    opened.lab.vtysh("dc", "configure terminal", "ipv6 prefix-list guiyun-shared-nanning-in permit ::/0 le 128")
    assert filters(opened) == {("dc", "nanning"): "filter_in (+::/0 le 128)"}
    assert written(opened) == {("dc", "shared", "nanning"): 1}
    assert filters(opened) == {}


def test_transit_passes_only_what_is_announced(site: Site) -> None:
    """No router has a way to what nobody announced: there is no default route, a planned block alone is nowhere."""
    spec = site.spec()
    site.bring_up(spec)
    host = site.host(spec)
    site.lab.wait_address(host)
    for target in ("3fff:122:0:77::1", "3fff:102:0:77::1", "2001:db8::1"):
        said_no = site.lab.run(host, "ping", "-6", "-n", "-c1", "-W2", target).stdout
        assert "unreachable" in said_no.lower(), said_no
        for router in site.lab.topology.routers:
            route = site.lab.run(router.name, "ip", "-6", "route", "get", target, vrf="shared")
            assert route.returncode != 0, (router.name, target, route.stdout)


def test_a_connection_is_kept_and_a_router_that_was_rebooted_is_asked_anew(site: Site) -> None:
    """Three runs, at most one log-in; a dead connection says nothing about the router."""

    def logins() -> int:
        return int(site.lab.run("yufeng", "grep", "-c", "Accepted publickey", "/var/log/frr/sshd.log").stdout)

    spec = site.spec(unit="450200", router="yufeng", prefix=IPv6Network("3fff:102:0:61::/64"), vni=20061)
    assert site.provider.preview([spec])[spec.id] is None
    before = logins()
    for _ in range(3):
        assert site.provider.preview([spec])[spec.id] is None
    assert logins() <= before + 1
    site.lab.stop_router("yufeng")
    site.lab.start_router("yufeng")
    assert within(30, site.lab.converged)
    assert site.provider.preview([spec])[spec.id] is None
