"""Networks: the broker chooses the prefix, and nobody gets it twice."""

from __future__ import annotations

import pytest

from providers.conformance.workshop import Workshop
from providers.contract import Kind, NetworkSpec, ProjectSpec, ServerSpec, key_of
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
