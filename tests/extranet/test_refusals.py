"""What must not be is refused by the routers' side too, whoever calls the playbook: assertion and live check."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any
from uuid import uuid4

import pytest

from providers.errors import Permanent
from providers.extranet.provider import segment_variables
from tests.extranet.conftest import Site, within

pytestmark = pytest.mark.extranet


def test_the_playbook_refuses_what_the_plan_does_not_contain(site: Site) -> None:
    """Called past the broker: everything that is wrong is said at once, by its code, and nothing is made."""
    good = segment_variables(site.provider.fabric, replace(site.spec(), id=uuid4()))
    wrong: dict[str, dict[str, Any]] = {
        "prefix_of_another_unit": {"prefix": "3fff:122:0:1::/64"},
        "prefix_host_bits": {"prefix": "3fff:12f:0:1::1/64"},
        "prefix_length": {"prefix": "3fff:12f::/48"},
        "prefix_not_ipv6": {"prefix": "192.0.2.0/24"},
        "zone_unknown": {"vrf": "moon"},
        "vni_out_of_range": {"vni": 4_000_000},
        "unit_not_attached": {"unit": "450200"},
        "prefix_reserved": {"prefix": "3fff:1ff:ffff::/64"},
        "router_unknown": {"router": "moon"},
        "attachment_differs": {"remote": "3fff:f02:1::66"},
        "services_malformed": {"services": [{"protocol": "tcp", "port": "22 }\nadd rule inet guiyun through accept"}]},
    }
    ids = {code: str(uuid4()) for code in wrong}
    segments = [good, *({**good, "id": ids[code], **change} for code, change in wrong.items())]
    segments.append({**good, "id": "length-65", "prefix": "3fff:12f::/65", "vni": good["vni"] + 1})
    segments.append({**good, "id": f"{uuid4()}\n shutdown", "vni": good["vni"] + 2, "prefix": "3fff:12f:0:fff::/64"})
    router = site.provider.fabric.routers["dc"]
    before = site.lab.vtysh("dc", "show running-config")
    variables = {"extranet_segments": segments, "extranet_plan": site.provider.fabric.plan}
    played = site.provider.play("provision-segment", [router], variables)
    assert (played.status, played.changed) == ("failed", 0)
    (failure,) = played.failures
    for code in wrong:
        assert f"extranet.{code}: {ids[code]}: " in failure
    assert "extranet.prefix_length: length-65" in failure
    assert "extranet.id_malformed: " in failure
    assert site.lab.vtysh("dc", "show running-config") == before


@pytest.mark.parametrize("playbook", ["provision-segment", "withdraw-segment"])
def test_a_router_that_is_not_of_the_run_is_refused(site: Site, playbook: str) -> None:
    """Nothing is made, nothing is taken away, and nobody is told that all is well."""
    stranger = {**segment_variables(site.provider.fabric, site.spec()), "router": "moon"}
    variables = {"extranet_segments": [stranger], "extranet_plan": site.provider.fabric.plan}
    played = site.provider.play(playbook, [site.provider.fabric.routers["dc"]], variables)
    assert (played.status, played.changed) == ("failed", 0)
    assert "extranet.router_unknown" in played.failures[0]


def test_a_vni_that_is_in_use_is_refused(site: Site) -> None:
    """By a segment of ours in the same table, in another one, and by a device that is not ours."""
    first = site.spec()
    site.bring_up(first)
    same = replace(site.spec(), vni=first.vni)
    other_table = replace(site.spec(vrf="internet", prefix=IPv6Network("3fff:32f:0:9::/64")), vni=first.vni)
    foreign = site.spec()
    site.lab.run("dc", "ip", "link", "add", "theirs", "type", "vxlan", "id", str(foreign.vni), "local", "3fff:f02:1::1",
                 "remote", "3fff:f02:1::2", "dev", "lan0", "dstport", "4789")  # fmt: skip
    # Before the stranger and after it: what was made when the kernel said no is ours, and stays.
    innocents = [site.spec() for _ in range(5)]
    try:
        outcomes = site.create(*innocents[:4], foreign) | site.create(same, other_table, innocents[4])
    finally:
        site.lab.run("dc", "ip", "link", "del", "theirs")
    assert {outcomes[s.id].code for s in (same, other_table, foreign)} == {"extranet.vni_in_use"}  # type: ignore[union-attr]
    assert [outcomes[s.id] for s in innocents] == [None] * 5
    assert not any(site.provider.verify(innocents).verdicts.values())
    seen = site.provider.observe(first)
    assert seen is not None
    assert seen.whole


def test_what_others_announce_is_not_taken(site: Site) -> None:
    """A prefix that overlaps with a route that is not ours, the same one and one around it."""
    theirs = ("3fff:12f:aa::/64", "3fff:12f:ab:8000::/49")
    for prefix in theirs:
        site.lab.run("dc", "ip", "-6", "route", "add", "blackhole", prefix, vrf="shared")
    same = site.spec(prefix=IPv6Network("3fff:12f:aa::/64"))
    around = site.spec(prefix=IPv6Network("3fff:12f:ab:8001::/64"))
    dc, lie = site.provider.fabric.routers["dc"], segment_variables(site.provider.fabric, around) | {"block_length": 64}
    try:
        assert within(5, lambda: "3fff:12f:ab:8000::/49" in site.lab.vtysh("dc", "show ipv6 route vrf shared"))
        outcomes = site.create(same, around)
        told = {"extranet_segments": [lie], "extranet_plan": site.provider.fabric.plan}
        assert "extranet.overlap_announced" in site.provider.play("provision-segment", [dc], told).failures[0]
    finally:
        for prefix in theirs:
            site.lab.run("dc", "ip", "-6", "route", "del", "blackhole", prefix, vrf="shared")
    for spec in (same, around):
        refused = outcomes[spec.id]
        assert isinstance(refused, Permanent)
        assert refused.code == "extranet.overlap_announced"


def test_a_prefix_that_another_router_announces_is_not_taken(site: Site) -> None:
    """Heard by BGP from the other side of the network: the live check sees it as well."""
    site.lab.vtysh("core", "configure terminal", "router bgp 64600 vrf shared", "no bgp network import-check",
                   "address-family ipv6 unicast", "network 3fff:12f:bb::/64")  # fmt: skip
    spec = site.spec(prefix=IPv6Network("3fff:12f:bb::/64"))
    try:
        heard = within(8, lambda: "3fff:12f:bb::/64" in site.lab.vtysh("dc", "show bgp vrf shared ipv6 unicast"))
        assert heard
        refused = site.create(spec)[spec.id]
    finally:
        site.lab.vtysh("core", "configure terminal", "router bgp 64600 vrf shared", "bgp network import-check",
                       "address-family ipv6 unicast", "no network 3fff:12f:bb::/64")  # fmt: skip
    assert isinstance(refused, Permanent)
    assert refused.code == "extranet.overlap_announced"


def test_a_rogue_announcement_is_filtered_and_reported(site: Site) -> None:
    """An edge that announces another unit's prefix reaches nobody, and the next router says what it refused."""
    rogue = "3fff:102:0:bad::/64"
    site.lab.run("dc", "ip", "link", "add", "rogue", "type", "veth", "peer", "name", "rogue-p")
    site.lab.run("dc", "ip", "link", "set", "rogue", "netns", "shared")
    site.lab.run("dc", "ip", "-n", "shared", "addr", "add", "3fff:102:0:bad::1/64", "dev", "rogue", "nodad")
    site.lab.run("dc", "ip", "-n", "shared", "link", "set", "rogue", "up")
    site.lab.run("dc", "ip", "link", "set", "rogue-p", "up")
    site.lab.vtysh("dc", "configure terminal", "router bgp 64701 vrf shared", "address-family ipv6 unicast",
                   f"network {rogue}")  # fmt: skip
    try:
        assert within(8, lambda: rogue in refused_by(site, "nanning"))
        assert rogue not in site.lab.vtysh("core", "show bgp vrf shared ipv6 unicast")
    finally:
        site.lab.vtysh("dc", "configure terminal", "router bgp 64701 vrf shared", "address-family ipv6 unicast",
                       f"no network {rogue}")  # fmt: skip
        site.lab.run("dc", "ip", "link", "del", "rogue-p")


def refused_by(site: Site, router: str) -> set[str]:
    """What a router heard in the shared zone and did not let in."""
    (facts,) = site.audit(router)
    sessions = facts.facts["vrfs"]["shared"]["sessions"].values()
    return {prefix for session in sessions for prefix in session["refused"]}
