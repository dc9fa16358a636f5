"""The network of a segment of the extranet, on the wire: its VNI or VLAN, a gateway outside, no router of ours."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

import pytest

from providers.contract import Addressing, Encapsulation, NetworkSpec, Uplink
from providers.errors import Permanent
from providers.openstack import build
from providers.openstack.naming import tagged_name
from tests.providers.openstack.small_cloud import Answer, SmallCloud, small_cloud

NETWORK, PROJECT = UUID(int=7), UUID(int=8)
PREFIX = IPv6Network("3fff:e00:0:1::/64")
GATEWAY = IPv6Address("3fff:e00:0:1::1")
VXLAN = Uplink(Encapsulation.VXLAN, 10007, GATEWAY)
VLAN = Uplink(Encapsulation.VLAN, 107, GATEWAY, Addressing.DHCPV6)


@pytest.fixture
def cloud() -> Iterator[SmallCloud]:
    """A neutron that makes what it is asked to, once; the project is there."""
    with small_cloud() as made:
        there: dict[str, list[dict[str, Any]]] = {"networks": [], "subnets": [], "security_groups": []}
        project = {"id": "p7", "name": tagged_name(PROJECT), "tags": ["guiyun-cloud=test"], "enabled": True}
        made.answers["GET", "/v3/domains"] = Answer(200, {"domains": [{"id": "default"}]})
        made.answers["GET", "/v3/projects"] = Answer(200, {"projects": [project]})
        made.answers["GET", "/network/v2.0/subnetpools"] = Answer(200, {"subnetpools": [{"id": "pool"}]})
        made.answers["POST", "/network/v2.0/security-group-rules"] = Answer(201, {})

        def keep(what: str) -> None:
            path = f"/network/v2.0/{what.replace('_', '-')}"

            def make(_: str) -> Answer:
                more = {"id": f"{what}-1", "status": "ACTIVE", "security_group_rules": []}
                there[what].append({**more, **made.sent[-1][1][what[:-1]]})
                return Answer(201, {what[:-1]: there[what][-1]})

            made.answers["POST", path] = make
            made.answers["GET", path] = lambda _: Answer(200, {what: there[what]})

        for what in there:
            keep(what)
        yield made


def order(cloud: SmallCloud, uplink: Uplink | None, **options: str) -> Uplink | None:
    provider = build("test", {**cloud.options, "router": "guiyun-extranet", **options})
    try:
        return provider.create(NetworkSpec(NETWORK, PROJECT, "公用网段", PREFIX, "shared", uplink)).uplink
    finally:
        provider.close()


def sent(cloud: SmallCloud, what: str) -> dict[str, Any]:
    (body,) = [body[what] for path, body in cloud.sent if path.endswith(f"/{what}s")]
    return dict(body)


def test_a_segments_network_is_on_its_vni_and_nothing_here_advertises(cloud: SmallCloud) -> None:
    """Segmentation id and gateway are the router's; no ra mode: the router advertises; the cloud's is not connected."""
    assert order(cloud, VXLAN) == VXLAN
    network, subnet = sent(cloud, "network"), sent(cloud, "subnet")
    assert network["provider:network_type"] == "vxlan"
    assert network["provider:segmentation_id"] == 10007
    assert "provider:physical_network" not in network
    assert (subnet["gateway_ip"], subnet["ipv6_address_mode"]) == (str(GATEWAY), "slaac")
    assert "ipv6_ra_mode" not in subnet
    assert not [path for _, path in cloud.asked if "/routers" in path]
    assert order(cloud, VXLAN) == VXLAN, "ordered again it is the same one"


def test_a_vlan_is_one_of_the_physical_network_that_the_operator_names(cloud: SmallCloud) -> None:
    """Without the name there are no VLANs, and nothing is made; DHCPv6 is said to the cloud."""
    with pytest.raises(Permanent) as refused:
        order(cloud, VLAN)
    assert refused.value.code == "uplink_unsupported"
    assert not [path for path, _ in cloud.sent if path.endswith("/networks")]
    assert order(cloud, VLAN, physical_network="physnet1") == VLAN
    network = sent(cloud, "network")
    assert (network["provider:network_type"], network["provider:physical_network"]) == ("vlan", "physnet1")
    assert sent(cloud, "subnet")["ipv6_address_mode"] == "dhcpv6-stateful"


def test_a_tag_of_somebody_elses_and_a_network_on_another_wire_are_refused(cloud: SmallCloud) -> None:
    """Neutron gives a segmentation id once; a network that is there is never moved to another."""
    refuses = cloud.answers["POST", "/network/v2.0/networks"]
    cloud.answers["POST", "/network/v2.0/networks"] = Answer(409, {"NeutronError": {"message": "10007 is in use"}})
    with pytest.raises(Permanent) as refused:
        order(cloud, VXLAN)
    assert refused.value.code == "uplink_taken"
    cloud.answers["POST", "/network/v2.0/networks"] = refuses
    order(cloud, VXLAN)
    with pytest.raises(Permanent) as refused:
        order(cloud, Uplink(Encapsulation.VXLAN, 10008, GATEWAY))
    assert refused.value.code == "uplink_differs"
