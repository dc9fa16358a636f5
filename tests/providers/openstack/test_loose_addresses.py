"""Addresses that no server has, out of Neutron's own lists at the wire."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Any
from uuid import UUID

import pytest

from providers.contract import LooseAddress
from providers.openstack import build
from providers.openstack.naming import tagged_name
from tests.providers.openstack.small_cloud import Answer, SmallCloud, small_cloud

PROJECT, NETWORK = (UUID(f"0190aaaa-0000-7000-8000-0000000000{n}") for n in ("f0", "f1"))


def network(ref: str, name: str, project: str = "keystone-1") -> dict[str, Any]:
    return {"id": ref, "name": name, "project_id": project, "status": "ACTIVE", "description": "web"}


def port(ref: str, network: str, *addresses: str, device: str = "") -> dict[str, Any]:
    fixed = [{"subnet_id": "s", "ip_address": each} for each in addresses]
    return {"id": ref, "network_id": network, "device_id": device, "fixed_ips": fixed}


@pytest.fixture
def cloud() -> Iterator[SmallCloud]:
    """One network of ours with a subnet, a stranger's, and ports of every kind, the second page by a link."""
    with small_cloud() as running:
        project = {"id": "keystone-1", "name": tagged_name(PROJECT), "tags": ["guiyun-cloud=main"], "enabled": True}
        running.answers["GET", "/v3/projects"] = Answer(200, {"projects": [project | {"description": "a unit"}]})
        running.answers["GET", "/v3/domains"] = Answer(200, {"domains": [{"id": "default", "name": "Default"}]})
        networks = [network("ours", tagged_name(NETWORK)), network("theirs", "intranet", "keystone-9")]
        running.answers["GET", "/network/v2.0/networks"] = Answer(200, {"networks": networks})
        subnet = {"id": "s", "network_id": "ours", "cidr": "3fff:1::/64", "description": ""}
        running.answers["GET", "/network/v2.0/subnets"] = Answer(200, {"subnets": [subnet]})
        first = [
            port("server", "ours", "3fff:1::10", device="nova-1"),
            port("loose", "ours", "3fff:1::11", "10.0.0.4"),
            port("stranger", "theirs", "3fff:9::1"),
        ]
        more = [{"rel": "next", "href": f"{running.url}/network/v2.0/ports?marker=stranger"}]
        last = [port("later", "ours", "3fff:1::12"), port("bare", "ours")]

        def ports(query: str) -> Answer:
            return Answer(200, {"ports": last} if "marker" in query else {"ports": first, "ports_links": more})

        running.answers["GET", "/network/v2.0/ports"] = ports
        yield running


def test_an_address_of_ours_that_no_device_has_is_loose(cloud: SmallCloud) -> None:
    """On every page; not a server's, not a stranger's network's, no IPv4 address, no port without an address."""
    provider = build("main", cloud.options)
    try:
        found = provider.loose_addresses()
    finally:
        provider.close()
    assert list(found) == [
        LooseAddress(NETWORK, PROJECT, "loose", IPv6Address("3fff:1::11")),
        LooseAddress(NETWORK, PROJECT, "later", IPv6Address("3fff:1::12")),
    ]
