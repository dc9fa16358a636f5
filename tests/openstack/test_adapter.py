"""What the adapter must hold on to in a real OpenStack: nothing twice, even late, and nothing of anybody else's.

A create that timed out and acts late is played by sending the very request again behind the adapter's back.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from ipaddress import IPv6Network
from uuid import uuid4

import pytest

from providers.contract import (
    Encapsulation,
    Kind,
    NetworkSpec,
    ProjectLimits,
    ProjectSpec,
    ServerCounters,
    Status,
    Uplink,
    VolumeSpec,
    key_of,
)
from providers.errors import Permanent, ProviderError
from providers.openstack import build
from providers.openstack.naming import mac_of, metadata, server_name, tagged_name
from tests.openstack.site import Site, a_prefix

pytestmark = pytest.mark.openstack


def test_a_server_that_is_ordered_late_finds_its_port_in_use(site: Site, network: NetworkSpec) -> None:
    """A second boot with the same id is refused by the cloud itself, not by a look."""
    spec = site.server_spec(network)
    made = site.make(spec)
    client, servers = site.provider._client, site.provider._servers
    ref = site.provider._projects.require(spec.project_id)
    ports = client.pages("network", "/ports", "ports", {"mac_address": mac_of(spec.id)})
    assert [port["device_id"] for port in ports] == [made.ref]
    order = servers._order(spec, servers._images.require(spec.image, spec.cpu_arch), "", ports[0]["id"])
    order["flavorRef"] = servers._flavors.require(spec.vcpu, spec.memory_gib, spec.root_gib)
    with pytest.raises(Permanent):
        client.post("compute", "/servers", {"server": order}, project=ref)
    seen = site.provider.observe(key_of(spec))
    assert seen is not None
    assert (seen.ref, seen.extra_refs) == (made.ref, ())

    site.remove(key_of(spec))
    assert client.pages("network", "/ports", "ports", {"mac_address": mac_of(spec.id)}) == []
    with pytest.raises(Permanent):  # and one that comes after the deletion finds no port
        client.post("compute", "/servers", {"server": order}, project=ref)
    assert site.provider.observe(key_of(spec)) is None


def test_a_second_port_with_the_same_id_cannot_be_made(site: Site, network: NetworkSpec) -> None:
    """The network takes the MAC address that is made of our id once."""
    spec = site.server_spec(network)
    ref = site.provider._projects.require(spec.project_id)
    where, group = site.provider._networks.refs(network.id, ref)
    first = site.provider._servers._port(spec.id, ref, where, group)
    assert site.provider._servers._port(spec.id, ref, where, group) == first
    body = {"network_id": where, "project_id": ref, "mac_address": mac_of(spec.id)}
    with pytest.raises(Permanent) as refused:
        site.provider._client.post("network", "/ports", {"port": body})
    assert refused.value.code == "conflict"
    assert site.provider.delete(key_of(spec)), "the port of a server that never came goes with its id"
    assert site.provider._client.get("network", f"/ports/{first}") is None


def test_a_port_whose_server_never_came_does_not_keep_its_network(site: Site, project: ProjectSpec) -> None:
    """A create that died between port and server leaves no trace when its network goes; a server that runs does."""
    network = site.network(project)
    ref = site.provider._projects.require(project.id)
    where, group = site.provider._networks.refs(network.id, ref)
    site.provider._servers._port(uuid4(), ref, where, group)
    server = site.server_spec(network)
    site.make(server)
    with pytest.raises(Permanent):
        site.provider.delete(key_of(network))
    assert site.provider.observe(key_of(network)) is not None
    site.remove(key_of(server))
    site.remove(key_of(network))


def test_a_network_that_is_ordered_late_gets_no_prefix(site: Site, project: ProjectSpec) -> None:
    """A duplicate stays an empty stray: shown as such, of no use to anybody, removed with the network."""
    spec = site.network(project)
    made = site.provider.observe(key_of(spec))
    assert made is not None
    client = site.provider._client
    ref = site.provider._projects.require(project.id)
    late = {"name": tagged_name(spec.id), "description": spec.name, "project_id": ref}
    stray = client.post("network", "/networks", {"network": late})["network"]["id"]
    pool = site.provider._networks._pool_ref()
    subnet = {"network_id": stray, "subnetpool_id": pool, "cidr": str(spec.prefix), "ip_version": 6}
    with pytest.raises(ProviderError, match="Cannot allocate requested subnet"):  # neutron says it with a 500
        client.post("network", "/subnets", {"subnet": subnet})
    seen = site.provider.observe(key_of(spec))
    assert seen is not None
    assert (seen.ref, seen.extra_refs) == (made.ref, (stray,))
    site.remove(key_of(spec))
    assert client.get("network", f"/networks/{stray}") is None


def test_a_network_that_was_begun_is_finished_not_made_again(site: Site, project: ProjectSpec) -> None:
    """A create that died after its first request is taken up by the next one; alone it is shown to nobody."""
    spec = NetworkSpec(uuid4(), project.id, "公用网段", a_prefix(), "shared")
    ref = site.provider._projects.require(project.id)
    begun = {"name": tagged_name(spec.id), "project_id": ref}
    stray = site.provider._client.post("network", "/networks", {"network": begun})["network"]["id"]
    assert site.provider.observe(key_of(spec)) is None
    assert site.make(spec).ref == stray
    site.remove(key_of(spec))


def test_a_volume_that_was_ordered_late_is_seen_and_goes_with_its_id(site: Site, project: ProjectSpec) -> None:
    """Cinder has nothing that only one can take: one of the two counts, the other is named, and a delete takes both."""
    spec = site.volume_spec(project)
    made = site.make(spec).ref
    late = _ordered_late(site, spec)
    seen = site.until(key_of(spec), Status.ACTIVE)
    # Cinder keeps whole seconds: which of the two is older cannot always be told, but everybody has to see the same.
    assert {seen.ref, *seen.extra_refs} == {made, late}
    again = site.provider.observe(key_of(spec))
    assert again is not None
    assert (again.ref, again.extra_refs) == (seen.ref, seen.extra_refs)
    site.remove(key_of(spec))
    assert [site.provider._client.get("block_storage", f"/volumes/{each}") for each in (made, late)] == [None, None]


def test_a_create_takes_a_late_volume_back(site: Site, project: ProjectSpec) -> None:
    """Called again, it leaves one volume with this id: the one that was seen to count."""
    spec = site.volume_spec(project)
    site.make(spec)
    _ordered_late(site, spec)
    volumes, ref = site.provider._volumes, site.provider._projects.require(project.id)
    # What is still being made cannot be deleted: it is taken back once it is there.
    site.wait(lambda: {each["status"] for each in volumes.raw(key_of(spec), ref)} == {"available"}, "both are there")
    kept = site.provider.observe(key_of(spec))
    assert kept is not None
    assert len(kept.extra_refs) == 1
    assert site.provider.create(spec).ref == kept.ref
    site.wait(lambda: len(volumes.raw(key_of(spec), ref)) == 1, "one is gone")
    alone = site.provider.observe(key_of(spec))
    assert alone is not None
    assert (alone.ref, alone.extra_refs) == (kept.ref, ())
    site.remove(key_of(spec))


def _ordered_late(site: Site, spec: VolumeSpec) -> str:
    """Order the volume a second time, as a call that had timed out does when it acts late."""
    carried = metadata(site.provider._volumes._cloud, spec.id, spec.project_id, spec.name)
    body = {"name": spec.name, "size": spec.size_gib, "volume_type": spec.block_class, "metadata": carried}
    ref = site.provider._projects.require(spec.project_id)
    return str(site.provider._client.post("block_storage", "/volumes", {"volume": body}, project=ref)["volume"]["id"])


@pytest.mark.parametrize("length", [63, 60, 56])
def test_a_shorter_prefix_is_taken_whole(length: int, site: Site, project: ProjectSpec) -> None:
    """The subnet uses the first /64, and nobody else gets any part of the rest, until the network is gone."""
    whole = a_prefix(length)
    spec = site.network(project, whole)
    seen = site.provider.observe(key_of(spec))
    assert seen is not None
    assert seen.prefix == whole
    inside = list(whole.subnets(new_prefix=64))[-1]
    other = NetworkSpec(uuid4(), project.id, "别的网段", inside, "shared")
    with pytest.raises(Permanent) as refused:
        site.provider.create(other)
    assert refused.value.code == "prefix_taken"
    assert site.provider.observe(key_of(other)) is None
    site.remove(key_of(spec))
    site.make(other)
    site.remove(key_of(other))


@pytest.mark.parametrize("prefix", ["3fff:e00::/40", "3fff:e00::/96"])
def test_a_prefix_of_another_length_is_refused(prefix: str, site: Site, project: ProjectSpec) -> None:
    """SLAAC needs a /64; a prefix shorter than /48 is a plan, not a segment."""
    with pytest.raises(Permanent) as refused:
        site.provider.create(NetworkSpec(uuid4(), project.id, "网段", IPv6Network(prefix), "shared"))
    assert refused.value.code == "prefix_length"


def test_a_segments_network_is_a_provider_network_on_its_vni(site: Site, project: ProjectSpec) -> None:
    """Neutron takes the VNI and the gateway as given, expects advertisements from outside, connects no router."""
    prefix = a_prefix()
    uplink = Uplink(Encapsulation.VXLAN, 4_321_000 + secrets.randbelow(1000), prefix.network_address + 1)
    spec = NetworkSpec(uuid4(), project.id, "外网网段", prefix, "shared", uplink)
    made = site.make(spec)
    assert made.uplink == uplink
    client = site.provider._client
    network = (client.get("network", f"/networks/{made.ref}") or {})["network"]
    assert (network["provider:network_type"], network["provider:segmentation_id"]) == ("vxlan", uplink.tag)
    (subnet,) = client.pages("network", "/subnets", "subnets", {"network_id": made.ref})
    modes = (subnet["ipv6_ra_mode"], subnet["ipv6_address_mode"], subnet["gateway_ip"])
    assert modes == (None, "slaac", str(uplink.gateway))
    ports = client.pages("network", "/ports", "ports", {"network_id": made.ref})
    assert not [port for port in ports if port["device_owner"].startswith("network:router")]
    server = site.server_spec(spec)
    addresses = site.make(server).addresses
    assert addresses
    assert all(address in prefix for address in addresses)
    other = NetworkSpec(uuid4(), project.id, "别的网段", a_prefix(), "shared", uplink)
    with pytest.raises(Permanent) as refused:
        site.provider.create(other)
    assert refused.value.code == "uplink_taken"
    assert site.provider.observe(key_of(other)) is None
    site.remove(key_of(server))
    site.remove(key_of(spec))


def test_two_sub_clouds_on_one_openstack_do_not_see_each_other(
    site: Site, project: ProjectSpec, lab_options: dict[str, str]
) -> None:
    """What one sub-cloud made is not in another's lists, and cannot be deleted through it."""
    stranger = build("test-stranger", lab_options)
    try:
        assert [seen for kind in Kind for seen in stranger.list(kind)] == []
        assert stranger.observe(key_of(project)) is None
        assert stranger.delete(key_of(project))
    finally:
        stranger.close()
    assert site.provider.observe(key_of(project)) is not None


def test_the_cloud_itself_enforces_the_limits_of_a_project(site: Site) -> None:
    """The second line of defence: nova, cinder and neutron know the limits, and no limit is no limit."""
    limits = ProjectLimits(servers=2, vcpu=4, memory_gib=8, volumes=3, block_gib=50, networks=1)
    spec = site.project(limits)
    ref = site.provider._projects.require(spec.id)
    client = site.provider._client
    compute = (client.get("compute", f"/os-quota-sets/{ref}") or {})["quota_set"]
    volume = (client.get("block_storage", f"/os-quota-sets/{ref}") or {})["quota_set"]
    network = (client.get("network", f"/quotas/{ref}") or {})["quota"]
    assert (compute["instances"], compute["cores"], compute["ram"]) == (2, 4, 8192)
    assert (volume["volumes"], volume["gigabytes"]) == (3, 50)
    assert network["network"] == 1
    site.network(spec)
    with pytest.raises(Permanent) as refused:
        site.network(spec)
    assert refused.value.code == "quota_exceeded"
    site.provider.change(ProjectSpec(spec.id, spec.name, ProjectLimits()))
    compute = (client.get("compute", f"/os-quota-sets/{ref}") or {})["quota_set"]
    assert (compute["instances"], compute["cores"], compute["ram"]) == (-1, -1, -1)


def test_the_baseline_lets_in_what_ipv6_needs_and_ssh(site: Site, project: ProjectSpec, network: NetworkSpec) -> None:
    """Inbound: ICMPv6, SSH from the zone and from the network itself, nothing else."""
    ref = site.provider._projects.require(project.id)
    _, group = site.provider._networks.refs(network.id, ref)
    found = site.provider._client.get("network", f"/security-groups/{group}") or {}
    inbound = {
        (rule["protocol"], rule["port_range_min"], rule["port_range_max"], rule["remote_ip_prefix"])
        for rule in found["security_group"]["security_group_rules"]
        if rule["direction"] == "ingress"
    }
    zone = {str(source) for source in site.provider._options.ssh_sources}
    ssh = {("tcp", 22, 22, source) for source in zone | {str(network.prefix)}}
    assert inbound == {("ipv6-icmp", None, None, None)} | ssh


def test_a_server_is_found_by_people_and_by_the_clouds_own_metering(site: Site, network: NetworkSpec) -> None:
    """Nova's name is readable and ends in our id; the name that people gave is kept beside it."""
    spec = site.server_spec(network)
    made = site.make(spec)
    raw = (site.provider._client.get("compute", f"/servers/{made.ref}") or {})["server"]
    assert raw["name"] == server_name(spec.id, spec.name) == f"web-01-{spec.id}"
    assert made.name == spec.name
    site.remove(key_of(spec))


def test_novas_diagnostics_are_counters_of_our_servers(site: Site, network: NetworkSpec) -> None:
    """A server that runs is asked, one that is off is known to be; both under our ids, with the sizes ordered."""
    spec = site.server_spec(network)
    site.make(spec)
    now = datetime.now(UTC)
    running = {each.server_id: each for each in site.provider.utilisation(now, now)}[spec.id]
    assert isinstance(running, ServerCounters)
    assert (running.running, running.vcpu, running.memory_gib) == (True, spec.vcpu, spec.memory_gib)
    assert running.cpu_s is not None
    site.provider.power(key_of(spec), on=False)
    site.until(key_of(spec), Status.STOPPED)
    off = {each.server_id: each for each in site.provider.utilisation(now, now)}[spec.id]
    assert off == ServerCounters(spec.id, running=False, vcpu=spec.vcpu, memory_gib=spec.memory_gib)
