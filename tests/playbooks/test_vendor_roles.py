"""What would be sent to routers of Huawei and H3C. No such router was at hand: golden files are all there is.

``GUIYUN_SNAPSHOTS=write`` writes them anew.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree as ET

import jinja2
import pytest
from ansible.plugins.filter.core import regex_replace

ROLES = Path(__file__).parent.parent.parent / "playbooks/roles"
GOLDEN = Path(__file__).parent / "golden"
USUAL = {"encapsulation": "vxlan", "addressing": "slaac"}
MINE = [
    {"id": "0197aaaa-0000-7000-8000-000000000001", "vrf": "shared", "prefix": "3fff:12f:0:1::/64", "vni": 10001},
    {"id": "0197aaaa-0000-7000-8000-000000000002", "vrf": "prv-slt", "prefix": "fd3f:ff00:1:2::/64", "vni": 10002},
]


BY_VLAN = [{**MINE[0], "vni": 101, "encapsulation": "vlan", "addressing": "dhcpv6"}]


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("vendor", ["huawei", "h3c"])
@pytest.mark.parametrize("kind", ["", "-vlan-dhcpv6"])
def test_what_is_sent_is_as_written_down(vendor: str, state: str, kind: str) -> None:
    """Well-formed XML, the same as the golden file: VXLAN with SLAAC, and VLAN with DHCPv6."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters["regex_replace"] = regex_replace
    template = environment.from_string((ROLES / f"extranet_{vendor}/templates/segments.xml.j2").read_text())
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


FRR = ROLES / "extranet_frr/library/frr_segments.py"


def frr_module() -> ModuleType:
    """The module that runs on FRR routers, loaded as Ansible would."""
    found = importlib.util.spec_from_file_location("frr_segments", FRR)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_vlan_with_dhcpv6_on_frr_is_as_written_down() -> None:
    """Kernel commands and router lines; the laboratory's kernel has no VLAN devices: this is all there is of them."""
    module = frr_module()
    segment = module.Segment({**BY_VLAN[0], "services": None})
    underlay = {"device": "lan0", "local": ""}
    router = SimpleNamespace(asn=64701, underlay=underlay, thorough=False, has_elements=lambda _: False)
    links, lines, elements = module.wanted(segment, module.Seen("", [], {}, {}), router)
    assert links == ["link add link lan0 name seg101 address 02:67:79:00:00:65 mtu 1500 type vlan id 101"]
    assert " ipv6 nd prefix 3fff:12f:0:1::/64 no-autoconfig" in lines
    assert {" ipv6 nd managed-config-flag", " ipv6 nd other-config-flag"} <= set(lines)
    assert elements == ['add element inet guiyun open { "seg101" }']
    there = module.Seen("Interface seg101 is up, line protocol is up\n  Interface Type Vlan\n", [], {}, {})
    assert module.wanted(segment, there, router)[0] == []
