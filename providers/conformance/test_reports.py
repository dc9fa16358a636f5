"""What a cloud says of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from providers.conformance.workshop import Workshop
from providers.contract import Capabilities, Kind, ProjectSpec, Provider, ServerHour, ServerSpec, Telemetry, key_of


def test_the_adapter_is_a_provider(provider: Provider, capabilities: Capabilities) -> None:
    """It has every verb of the contract, a name, and at least projects."""
    assert isinstance(provider, Provider)
    assert capabilities.provider
    assert Kind.PROJECT in capabilities.kinds
    assert capabilities.call_timeout_s > 0
    assert provider.capabilities == capabilities


def test_a_cloud_that_answers_is_healthy(workshop: Workshop) -> None:
    """Placement and readiness ask this first."""
    assert workshop.provider.health().healthy


@pytest.mark.needs(Kind.SERVER)
def test_there_are_images_and_room(workshop: Workshop) -> None:
    """A cloud that serves servers names its images and its totals."""
    images = workshop.patiently(workshop.provider.images)
    assert workshop.image() in images
    assert len(images) == len(set(images))
    capacity = workshop.patiently(workshop.provider.capacity)
    assert capacity.compute[workshop.settings.cpu_arch].vcpu_total > 0
    assert set(capacity.block_used_gib) <= set(capacity.block_total_gib)


@pytest.mark.needs("usage", Kind.SERVER)
def test_usage_shows_our_servers_and_nothing_before_they_were(
    workshop: Workshop, project: ProjectSpec, server: ServerSpec
) -> None:
    """The cloud's own metering names servers by our ids; years ago there was none."""
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    readings = workshop.patiently(lambda: workshop.provider.usage(project.id, now - hour, now + hour))
    ours = [reading for reading in readings if reading.server_id == server.id]
    assert len(ours) == 1
    assert 0 <= ours[0].vcpu_hours < 2 * server.vcpu * 2
    assert 0 <= ours[0].memory_gib_hours < 2 * server.memory_gib * 2
    long_ago = datetime(2019, 9, 11, tzinfo=UTC)
    assert not workshop.patiently(lambda: workshop.provider.usage(project.id, long_ago, long_ago + hour))


@pytest.mark.needs(Kind.SERVER)
def test_a_cloud_that_measures_shows_its_servers(
    workshop: Workshop, capabilities: Capabilities, server: ServerSpec
) -> None:
    """Hours in the window asked for, or counters as of now; servers by our id, sizes as ordered."""
    if capabilities.telemetry is Telemetry.NONE:
        pytest.skip(f"{capabilities.provider} says that it measures nothing")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    found = workshop.patiently(lambda: workshop.provider.utilisation(start, end))
    mine = [each for each in found if each.server_id == server.id]
    for each in mine:
        if isinstance(each, ServerHour):
            assert start <= each.hour < end
            assert 0 <= each.off <= each.samples
    if capabilities.telemetry is Telemetry.COUNTERS:
        (only,) = mine
        assert (only.vcpu, only.memory_gib) == (server.vcpu, server.memory_gib)


@pytest.mark.needs(Kind.SERVER)
def test_an_address_that_a_server_has_is_not_loose(workshop: Workshop, server: ServerSpec) -> None:
    """What nobody has may be taken back; what a server has may not."""
    seen = workshop.find(key_of(server))
    assert seen is not None
    loose = {each.address for each in workshop.patiently(workshop.provider.loose_addresses)}
    assert not loose & set(seen.addresses)
