"""Networks: the broker chooses the prefix, and nobody gets it twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from providers.conformance.workshop import Workshop
from providers.contract import Capabilities, Encapsulation, Kind, NetworkSpec, ProjectSpec, ServerSpec, Uplink, key_of
from providers.errors import Permanent

pytestmark = pytest.mark.needs(Kind.NETWORK)


def test_the_prefix_asked_for_is_the_prefix_given(workshop: Workshop, network: NetworkSpec) -> None:
    """The cloud uses the prefix from the broker's address plan, not one of its own."""
    seen = workshop.find(key_of(network))
    assert seen is not None
    assert seen.prefix == network.prefix


@pytest.mark.needs(Kind.SERVER)
def test_a_servers_addresses_lie_in_the_prefix(workshop: Workshop, network: NetworkSpec, server: ServerSpec) -> None:
    """A server has an IPv6 address, and each one is of its network (Art. 8: IPv6 throughout)."""
    seen = workshop.find(key_of(server))
    assert seen is not None
    assert seen.addresses
    assert all(address in network.prefix for address in seen.addresses)


@pytest.mark.parametrize("wider_by", [0, 4], ids=["the same prefix", "a prefix that holds it"])
def test_two_networks_cannot_overlap(
    wider_by: int, workshop: Workshop, network: NetworkSpec, other_project: ProjectSpec
) -> None:
    """A prefix that is taken is refused for good, in another project too, and the refused order leaves nothing."""
    prefix = network.prefix if wider_by == 0 else network.prefix.supernet(wider_by)
    spec = workshop.network(other_project.id, prefix)
    assert isinstance(workshop.refused(lambda: workshop.create(spec)), Permanent)
    assert workshop.observe(key_of(spec)) is None
    assert key_of(spec) not in [seen.key for seen in workshop.list(Kind.NETWORK, other_project.id)]


def test_a_prefix_can_be_used_again_when_its_network_is_gone(workshop: Workshop, project: ProjectSpec) -> None:
    """Deleting a network gives its prefix back (the quarantine is the broker's business)."""
    first = workshop.network(project.id)
    workshop.make(first)
    workshop.remove(key_of(first))
    second = workshop.network(project.id, first.prefix)
    assert workshop.make(second).prefix == first.prefix
    workshop.remove(key_of(second))


@pytest.fixture(params=list(Encapsulation))
def on_a_segment(
    request: pytest.FixtureRequest, capabilities: Capabilities, workshop: Workshop, project: ProjectSpec
) -> NetworkSpec:
    """A network with an uplink of each kind that the adapter says it has; not ordered yet."""
    if request.param not in capabilities.uplinks:
        pytest.skip(f"{capabilities.provider} says that it has no {request.param} uplinks")
    return workshop.on_a_segment(project.id, request.param)


@pytest.mark.needs(Kind.SERVER)
def test_a_segments_network_is_on_its_tag_and_servers_stand_on_it(
    workshop: Workshop, on_a_segment: NetworkSpec
) -> None:
    """The router's VNI or VLAN and its gateway are the network's; ordered twice it is one; a server gets an address."""
    made = workshop.make(on_a_segment)
    assert made.uplink == on_a_segment.uplink
    again = workshop.create(on_a_segment)
    assert (again.ref, again.uplink) == (made.ref, made.uplink)
    server = workshop.server(on_a_segment)
    addresses = workshop.make(server).addresses
    assert addresses
    assert all(a in on_a_segment.prefix for a in addresses)
    assert on_a_segment.uplink is not None
    assert on_a_segment.uplink.gateway not in addresses
    workshop.remove(key_of(server))
    workshop.remove(key_of(on_a_segment))


def test_a_tag_is_taken_once_and_an_uplink_stays(
    workshop: Workshop, on_a_segment: NetworkSpec, other_project: ProjectSpec
) -> None:
    """Another network on the same tag is refused and leaves nothing; so is the same network with another uplink."""
    workshop.make(on_a_segment)
    other = replace(workshop.network(other_project.id), uplink=on_a_segment.uplink)
    assert isinstance(workshop.refused(lambda: workshop.create(other)), Permanent)
    assert workshop.observe(key_of(other)) is None
    uplink = on_a_segment.uplink
    assert uplink is not None
    moved = replace(on_a_segment, uplink=Uplink(uplink.encapsulation, uplink.tag - 1, uplink.gateway))
    assert isinstance(workshop.refused(lambda: workshop.create(moved)), Permanent)
    seen = workshop.observe(key_of(on_a_segment))
    assert seen is not None
    assert seen.uplink == uplink
    workshop.remove(key_of(on_a_segment))
    workshop.make(other)
    workshop.remove(key_of(other))


def test_an_uplink_that_an_adapter_has_not_is_refused(
    capabilities: Capabilities, workshop: Workshop, project: ProjectSpec
) -> None:
    """Of a kind that the adapter does not name: Permanent, and nothing is made that servers would be lost on."""
    for encapsulation in set(Encapsulation) - capabilities.uplinks:
        spec = workshop.on_a_segment(project.id, encapsulation)
        assert isinstance(workshop.refused(lambda spec=spec: workshop.create(spec)), Permanent)  # type: ignore[misc]
        assert workshop.observe(key_of(spec)) is None
