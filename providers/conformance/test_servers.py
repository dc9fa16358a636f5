"""Servers: they get ready, change their size, stop and start, and free what they held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from providers.conformance.settings import Settings
from providers.conformance.workshop import Workshop
from providers.contract import ComputeCapacity, Kind, NetworkSpec, ServerSpec, Status, VolumeSpec, key_of

pytestmark = pytest.mark.needs(Kind.SERVER)


def used(workshop: Workshop) -> ComputeCapacity:
    return workshop.patiently(workshop.provider.capacity).compute[workshop.settings.cpu_arch]


def test_capacity_moves_when_a_server_is_made_and_comes_back(workshop: Workshop, network: NetworkSpec) -> None:
    """What a server holds shows as used while it is there, and not any more when it is gone."""
    before = used(workshop)
    assert 0 <= before.vcpu_used <= before.vcpu_total
    assert 0 <= before.memory_used_gib <= before.memory_total_gib

    spec = workshop.server(network)
    workshop.make(spec)
    during = before
    for _ in workshop.deadline():
        during = used(workshop)
        if during != before:
            break
    assert during.vcpu_used - before.vcpu_used == spec.vcpu
    assert during.memory_used_gib - before.memory_used_gib == spec.memory_gib
    assert (during.vcpu_total, during.memory_total_gib) == (before.vcpu_total, before.memory_total_gib)

    workshop.remove(key_of(spec))
    after = during
    for _ in workshop.deadline():
        after = used(workshop)
        if after == before:
            break
    assert after == before


@pytest.mark.needs("power")
def test_a_server_stops_and_starts(workshop: Workshop, server: ServerSpec) -> None:
    """Power off leads to stopped, power on to active; each may be said twice."""
    for on, state in ((False, Status.STOPPED), (True, Status.ACTIVE)):
        for _ in range(2):
            workshop.patiently(lambda on=on: workshop.provider.power(key_of(server), on=on))  # type: ignore[misc]
            assert workshop.until(key_of(server), state).status is state


@pytest.mark.needs("resize")
def test_a_server_changes_its_size(workshop: Workshop, settings: Settings, server: ServerSpec) -> None:
    """After a change the server has the new size, the same ref and the same addresses; and so again after a second."""
    before = workshop.find(key_of(server))
    large = replace(server, vcpu=settings.large.vcpu, memory_gib=settings.large.memory_gib)
    for _ in range(2):
        workshop.patiently(lambda: workshop.provider.change(large))
        after = workshop.until(key_of(server), Status.ACTIVE)
        assert (after.vcpu, after.memory_gib) == (large.vcpu, large.memory_gib)
        assert before is not None
        assert (after.ref, after.addresses) == (before.ref, before.addresses)


@pytest.mark.needs("resize", Kind.VOLUME)
def test_a_volume_grows(workshop: Workshop, volume: VolumeSpec) -> None:
    """After a change the volume has the new size."""
    larger = replace(volume, size_gib=volume.size_gib + 1)
    workshop.patiently(lambda: workshop.provider.change(larger))
    assert workshop.until(key_of(volume), Status.ACTIVE).size_gib == larger.size_gib
