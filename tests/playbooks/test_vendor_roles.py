"""What would be sent to routers of Huawei and H3C. No such router was at hand: golden files are all there is.

``GUIYUN_SNAPSHOTS=write`` writes them anew.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import jinja2
import pytest
from ansible.plugins.filter.core import regex_replace

from broker.extranet import differences
from providers.contract import Addressing
from providers.networking import SegmentSpec

ROLES = Path(__file__).parent.parent.parent / "playbooks/roles"
GOLDEN = Path(__file__).parent / "golden"
USUAL = {"encapsulation": "vxlan", "addressing": "slaac"}
MINE = [
    {"id": "0197aaaa-0000-7000-8000-000000000001", "vrf": "shared", "prefix": "3fff:12f:0:1::/64", "vni": 10001},
    {"id": "0197aaaa-0000-7000-8000-000000000002", "vrf": "prv-slt", "prefix": "fd3f:ff00:1:2::/64", "vni": 10002},
]


BY_VLAN = [{**MINE[0], "vni": 101, "encapsulation": "vlan", "addressing": "dhcpv6"}]


@pytest.mark.parametrize("state", ["present", "absent", "farewell"])
@pytest.mark.parametrize("vendor", ["huawei", "h3c"])
@pytest.mark.parametrize("kind", ["", "-vlan-dhcpv6"])
def test_what_is_sent_is_as_written_down(vendor: str, state: str, kind: str) -> None:
    """Well-formed XML, the same as the golden file: VXLAN with SLAAC, and VLAN with DHCPv6.

    Before a segment goes, its last advertisement says that neither router nor prefix is for use any more.
    """
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters["regex_replace"] = regex_replace
    name = "farewell" if state == "farewell" else "segments"
    template = environment.from_string((ROLES / f"extranet_{vendor}/templates/{name}.xml.j2").read_text())
    sent = template.render(
        extranet_mine=[{**USUAL, **s, "remote": "3fff:f02:1::2"} for s in (BY_VLAN if kind else MINE)],
        extranet_state=state,
        extranet_underlay={"device": "GigabitEthernet0/1/0" if kind else "Nve1", "local": "3fff:f02:1::1"},
    )
    texts = [e.text for e in ET.fromstring(sent).iter() if e.text]
    assert ("GigabitEthernet0/1/0.101" if kind else "10002") in " ".join(texts)
    assert not kind or "Nve1" not in " ".join(texts)
    golden = GOLDEN / f"{vendor}-{state}{kind}.xml"
    if os.environ.get("GUIYUN_SNAPSHOTS") == "write":
        golden.write_text(sent)
    assert sent == golden.read_text()


FRR = ROLES / "extranet_frr"


def loaded(name: str, path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def frr_module() -> ModuleType:
    """What brings segments onto FRR routers, loaded as Ansible would, with what it shares."""
    parts = {"frr_firewall": ROLES.parent / "module_utils", "frr_segment": FRR / "module_utils"}
    for name, folder in parts.items():
        shared = f"ansible.module_utils.{name}"
        sys.modules[shared] = loaded(shared, folder / f"{name}.py")
    return loaded("frr_present", FRR / "module_utils/frr_present.py")


def shared(name: str) -> ModuleType:
    return sys.modules[f"ansible.module_utils.{name}"]


class Bench:
    """A router that has what is given, for the use-cases' decisions."""

    def __init__(self, device: str, local: str = "") -> None:
        self.asn, self.underlay, self.thorough = 64701, {"device": device, "local": local}, False

    def bgp(self, segment: Any, line: str) -> list[str]:
        return [f"vrf {segment.vrf} {line}"]


def test_a_repair_is_through_when_the_kernel_has_the_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """The router's daemons hear of a new link a moment later; who never hears is not waited for."""
    module = frr_module()
    segment = shared("frr_segment").Segment({**BY_VLAN[0], "services": None})
    there = (segment.device, segment.gateway_address)
    looks: list[set[tuple[str, str]]] = [set(), {(segment.device, "3fff::1/64")}, {there}]
    now = iter(range(100))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now) * 0.1)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    router = Bench("lan0")
    router.addressed = lambda _: looks.pop(0)  # type: ignore[attr-defined]
    module.settle(router, [segment])
    assert looks == []
    monkeypatch.setattr(module, "SETTLE_S", 0.5)
    router.addressed = lambda _: set()  # type: ignore[attr-defined]
    module.settle(router, [segment])
    assert next(now) < 20


def test_a_vlan_with_dhcpv6_on_frr_is_as_written_down() -> None:
    """Kernel commands and router lines; the laboratory's kernel has no VLAN devices: this is all there is of them."""
    module = frr_module()
    kinds, router = shared("frr_segment"), Bench("lan0")
    segment = kinds.Segment({**BY_VLAN[0], "services": None})
    links, lines = module.wanted(segment, kinds.Seen("", [], {}, {}), router)
    assert links == ["link add link lan0 name seg101 address 02:67:79:00:00:65 mtu 1500 netns shared type vlan id 101"]
    assert " ipv6 nd prefix 3fff:12f:0:1::/64 no-autoconfig" in lines
    assert {" ipv6 nd managed-config-flag", " ipv6 nd other-config-flag"} <= set(lines)
    assert segment.elements() == [("segments", '"seg101"'), ("open", '"seg101"')]
    assert segment.ends(router.underlay) == []
    there = kinds.Seen("Interface seg101 is up, line protocol is up\n  Interface Type Vlan\n", [], {}, {})
    assert module.wanted(segment, there, router)[0] == []


def test_a_tunnel_on_frr_is_with_its_far_end_alone() -> None:
    """It learns nobody, and takes packets of its VNI from there over the underlay; without a far end from nobody."""
    frr_module()
    kinds, underlay = shared("frr_segment"), {"device": "lan0", "local": "3fff:f02:1::1"}
    tunnel = kinds.Segment({**MINE[0], **USUAL, "remote": "3fff:f02:1::2"})
    assert tunnel.link(underlay).endswith("remote 3fff:f02:1::2 dev lan0 dstport 4789 nolearning")
    assert tunnel.ends(underlay) == [("segments", "0x2711"), ("ends", '0x2711 . 3fff:f02:1::2 . "lan0"')]
    assert kinds.Segment({**MINE[0], **USUAL}).ends(underlay) == [("segments", "0x2711")]
    listed = "table ip6 guiyun_tunnels {\n\tset ends {\n\t\ttypeof @th,96,24 . ip6 saddr . iifname\n\t\telements = { "
    listed += '0x2711 . 3fff:f02:1::2 . "lan0",\n\t\t\t     0x002712 . 3fff:f02:1::2 . "lan0" }\n\t}\n}\n'
    found = shared("frr_firewall").Wall(listed).elements
    assert found["seg10001"] == {tunnel.ends(underlay)[1]}
    assert set(found) == {"seg10001", "seg10002"}


@pytest.mark.parametrize("given", [{}, {"addressing": "dhcpv6"}])
def test_drift_wants_of_a_segment_what_the_role_writes(given: dict[str, str]) -> None:
    """One says it in the broker's words, the other on the router: lines and link are the same."""
    spec = SegmentSpec(UUID(int=7), "slt", "shared", IPv6Network("3fff:12f:0:1::/64"), "dc", 10001)
    spec = replace(spec, addressing=Addressing(given.get("addressing", "slaac")))
    module = frr_module()
    kinds = shared("frr_segment")
    segment = kinds.Segment({"id": str(spec.id), "vrf": spec.vrf, "vni": spec.vni, "prefix": str(spec.prefix), **given})
    address = {f"ipv6 address {spec.gateway}/64"}
    described = {f"description {segment.mark}"}
    assert segment.configured() == differences.advertised(spec) | address | described
    assert differences.mac_of(spec) == segment.mac
    lines = module.wanted(segment, kinds.Seen("", [], {}, {}), Bench("lan0"))[1]
    assert segment.configured() <= {line.strip() for line in lines}
