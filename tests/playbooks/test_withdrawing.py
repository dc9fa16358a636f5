"""What goes from a router with a segment, whatever somebody has done to it: the router says what it has."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from tests.playbooks.test_vendor_roles import FRR, ROLES, frr_module, loaded, shared

ID = "0197aaaa-0000-7000-8000-000000000001"
OWN, OTHER, THEIRS = "3fff:12f:0:1::", "3fff:12f:0:9::", "3fff:12f:0:7::"
CONFIGURATION = f"""
interface seg10001 vrf shared
 description guiyun {ID} 0123456789ab
 ipv6 address {OWN}1/64
 ipv6 address {OTHER}1/64
 ipv6 address {THEIRS}9/64
 ipv6 nd prefix {OWN}/64
exit
!
interface seg10007 vrf shared
 ipv6 address {THEIRS}1/64
exit
!
router bgp 64701 vrf shared
 !
 address-family ipv6 unicast
  network {OWN}/64
  network {OTHER}/64
  network {THEIRS}/64
  network 3fff:1ff:ffff::4/128
 exit-address-family
exit
!
"""


class Router:
    """What the role asks a router for here; its configuration may not be asked for unless it was given."""

    def __init__(self, configuration: str = "") -> None:
        self.asn, self._configuration = 64701, configuration

    @property
    def configuration(self) -> str:
        assert self._configuration, "as it is made, a segment's own prefix is all: a full router's dump costs time"
        return self._configuration

    def bgp(self, segment: Any, line: str) -> list[str]:
        return [f"{segment.vrf}: {line}"]


@pytest.fixture
def absent() -> ModuleType:
    """The role's withdrawal, loaded as Ansible would."""
    frr_module()
    name = "ansible.module_utils.frr_config"
    sys.modules[name] = loaded(name, ROLES.parent / "module_utils/frr_config.py")
    return loaded("frr_absent", FRR / "module_utils/frr_absent.py")


def withdrawn(absent: ModuleType, router: Router, *addresses: str, prefix: str = f"{OWN}/64") -> list[str]:
    """The lines that take the segment away, of an interface that has these addresses."""
    kinds = shared("frr_segment")
    segment = kinds.Segment({"id": ID, "vrf": "shared", "vni": 10001, "prefix": prefix})
    shown = ["Interface seg10001 is up, line protocol is up", "  Interface Type Vxlan", f"  Description: guiyun {ID}"]
    shown += [f"  inet6 {a}" for a in ("fe80::67:79ff:fe00:2711/64", *addresses)]
    seen = kinds.Seen("\n".join(shown), [{"local": True, "sourced": True, "valid": True}], {}, {})
    lines: list[str] = absent.unwanted(segment, seen, router)
    return [line.strip() for line in lines if line.startswith((" ipv6 nd prefix", "shared: "))]


def test_a_segment_as_it_was_made_goes_without_a_look_at_the_configuration(absent: ModuleType) -> None:
    """What a router with a thousand segments takes time for is read only where somebody has changed something."""
    assert withdrawn(absent, Router(), f"{OWN}1/64") == [
        f"shared: no network {OWN}/64",
        f"ipv6 nd prefix {OWN}/64 0 0",
    ]


def test_what_was_given_a_segment_by_hand_goes_along(absent: ModuleType) -> None:
    """A second address and its announcement; but not what is another interface's."""
    router = Router(CONFIGURATION)
    told = [f"ipv6 nd prefix {p}/64 0 0" for p in (OWN, THEIRS, OTHER)]
    routes = [f"shared: no network {p}/64" for p in (OWN, OTHER)]
    addresses = [f"{OWN}1/64", f"{OTHER}1/64", f"{THEIRS}9/64"]
    assert withdrawn(absent, router, *addresses) == [*routes, *told]
    assert withdrawn(absent, router, *addresses, prefix="::/128") == [*routes, *told]
    # After a reboot the link is gone, and what is written stays.
    assert withdrawn(absent, router) == [*routes, *told]


def test_a_segment_whose_interface_has_nothing_left_is_announced_no_more(absent: ModuleType) -> None:
    """Only the link's alias says whose it is; which prefix it had whoever asks may know, or nobody."""
    bare = Router(CONFIGURATION.replace("interface seg10001 ", "interface other "))
    assert withdrawn(absent, bare, prefix="::/128") == []
    announced = Router(f"router bgp 64701 vrf shared\n address-family ipv6 unicast\n  network {OWN}/64\n")
    assert withdrawn(absent, announced) == [f"shared: no network {OWN}/64"]
