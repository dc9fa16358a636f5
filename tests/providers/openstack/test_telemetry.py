"""Nova's diagnostics at the wire: what becomes of them, and of servers that cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from providers.contract import ServerCounters
from providers.errors import ActionRequired, Temporary
from providers.openstack import build
from providers.openstack.naming import metadata
from providers.openstack.telemetry import AT_ONCE, HOST_TRIES
from tests.providers.openstack.small_cloud import Answer, SmallCloud, small_cloud

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ONE, TWO, THREE = (UUID(f"0190aaaa-0000-7000-8000-00000000000{n}") for n in (1, 2, 3))
PROJECT = UUID("0190aaaa-0000-7000-8000-0000000000ff")


@pytest.fixture
def cloud() -> Iterator[SmallCloud]:
    with small_cloud() as running:
        servers = [server(ONE, "ACTIVE"), server(TWO, "SHUTOFF"), server(THREE, "ACTIVE"), server(None, "ACTIVE")]
        running.answers["GET", "/compute/servers/detail"] = Answer(200, {"servers": servers})
        yield running


def server(identity: UUID | None, status: str, host: str = "h1") -> dict[str, Any]:
    return {
        "OS-EXT-SRV-ATTR:host": host,
        "id": f"nova-{identity}",
        "status": status,
        "flavor": {"vcpus": 2, "ram": 4096, "disk": 20},
        "metadata": metadata("main", identity, PROJECT, "web") if identity else {},
    }


def diagnostics(**changes: Any) -> Answer:
    said: dict[str, Any] = {
        "state": "running",
        "num_cpus": 2,
        "cpu_details": [{"id": 0, "time": 3_000_000_000}, {"id": 1, "time": 2_000_000_000}],
        "memory_details": {"maximum": 4096, "used": 1024},
        "disk_details": [{"read_bytes": 10, "write_bytes": 20}, {"read_bytes": 1, "write_bytes": None}],
        "nic_details": [{"mac_address": "x", "rx_octets": 7, "tx_octets": 5}],
    }
    return Answer(200, said | changes)


def seen(cloud: SmallCloud) -> dict[UUID, ServerCounters]:
    provider = build("main", cloud.options)
    try:
        return {each.server_id: each for each in provider.utilisation(NOW, NOW) if isinstance(each, ServerCounters)}
    finally:
        provider.close()


def test_counters_are_added_over_cores_disks_and_cards(cloud: SmallCloud) -> None:
    """A server that is off is not asked; one that cannot be asked now is left out; strangers are none of ours."""
    cloud.answers["GET", f"/compute/servers/nova-{ONE}/diagnostics"] = diagnostics()
    cloud.answers["GET", f"/compute/servers/nova-{THREE}/diagnostics"] = Answer(409, {"conflict": {"message": "no"}})
    found = seen(cloud)
    assert set(found) == {ONE, TWO}
    assert found[ONE] == ServerCounters(ONE, True, 2, 4, cpu_s=5, memory_used_gib=1, disk_bytes=31, net_bytes=12)
    assert found[TWO] == ServerCounters(TWO, running=False, vcpu=2, memory_gib=4)
    assert not any("nova-None" in path or str(TWO) in path for _, path in cloud.asked)


def test_what_a_hypervisor_does_not_measure_stays_unknown(cloud: SmallCloud) -> None:
    """All memory "used" is what was given out, not what is used."""
    empty = diagnostics(
        memory_details={"maximum": 4096, "used": 4096}, disk_details=[], nic_details=[{"rx_octets": None}]
    )
    cloud.answers["GET", f"/compute/servers/nova-{ONE}/diagnostics"] = empty
    counters = seen(cloud)[ONE]
    assert (counters.memory_used_gib, counters.disk_bytes, counters.net_bytes) == (None, None, None)


def test_an_account_that_may_not_see_diagnostics_is_told(cloud: SmallCloud) -> None:
    """Only a person can mend that."""
    refusal = Answer(403, {"forbidden": {"message": "Policy doesn't allow os_compute_api:os-server-diagnostics"}})
    cloud.answers["GET", f"/compute/servers/nova-{ONE}/diagnostics"] = refusal
    with pytest.raises(ActionRequired):
        seen(cloud)


def many(cloud: SmallCloud, hosts: dict[str, Answer], each: int) -> dict[UUID, ServerCounters]:
    """What a look finds of so many servers on every host, which answer alike."""
    servers = []
    for h, (host, answer) in enumerate(hosts.items()):
        for n in range(each):
            one = server(UUID(int=1 + h * 1000 + n), "ACTIVE", host)
            servers.append(one)
            cloud.answers["GET", f"/compute/servers/{one['id']}/diagnostics"] = answer
    cloud.answers["GET", "/compute/servers/detail"] = Answer(200, {"servers": servers})
    return seen(cloud)


def asked(cloud: SmallCloud) -> int:
    return sum(path.endswith("/diagnostics") for _, path in cloud.asked)


def test_a_host_that_does_not_answer_costs_the_others_nothing(cloud: SmallCloud) -> None:
    """Its servers are tried a few times and left for the next look; all others are seen."""
    broken = Answer(500, {"computeFault": {"message": "MessagingTimeout"}})
    found = many(cloud, {"dead": broken, "well": diagnostics()}, 40)
    assert sorted(each.int for each in found) == list(range(1001, 1041))
    tried = asked(cloud) - 40
    assert HOST_TRIES <= tried < HOST_TRIES + AT_ONCE, "those that were being asked at the same moment"


def test_a_connection_that_breaks_is_one_servers_trouble(cloud: SmallCloud) -> None:
    """It was the end of the whole look."""
    assert len(many(cloud, {"h1": Answer(drop=True), "h2": diagnostics()}, 2)) == 2


def test_a_nova_that_has_too_much_to_do_is_left_alone(cloud: SmallCloud) -> None:
    """At its first word; the collector comes back later."""
    with pytest.raises(Temporary) as caught:
        many(cloud, {"h1": Answer(429, {"overLimit": {"message": "slow down"}})}, 60)
    assert caught.value.code == "busy"
    assert asked(cloud) <= AT_ONCE
