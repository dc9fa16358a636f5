"""How busy servers are, by nova's diagnostics: counters since a server's start, which no telemetry service has to keep.

Called by: ``provider``. Must not: make rates of them (two looks do, and the broker keeps them), or change anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from providers.contract import ServerCounters
from providers.errors import Permanent, Temporary
from providers.openstack.client import Client, Json
from providers.openstack.servers import Servers

_MIB = 1024
_NS = 1_000_000_000
_OFF = frozenset({"SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED"})


class TelemetryReader:
    """Asks server by server: nova has no other way. One that cannot be asked just now is left out."""

    def __init__(self, client: Client, servers: Servers) -> None:
        self._client = client
        self._servers = servers

    def counters(self) -> Sequence[ServerCounters]:
        """Every server of ours that runs or is off. Raises ActionRequired when the account may not see diagnostics."""
        with self._client.call():
            servers = self._servers.all(None)
        found = []
        for server in servers:
            identity = self._servers.id_of(server)
            if identity is not None:
                counters = self._one(identity, server)
                if counters is not None:
                    found.append(counters)
        return found

    def _one(self, identity: UUID, server: Json) -> ServerCounters | None:
        vcpu, memory_gib = server["flavor"]["vcpus"], server["flavor"]["ram"] / _MIB
        if server["status"] in _OFF:
            return ServerCounters(identity, running=False, vcpu=vcpu, memory_gib=memory_gib)
        if server["status"] != "ACTIVE":
            return None
        try:
            with self._client.call():
                said = self._client.get("compute", f"/servers/{server['id']}/diagnostics")
        except (Temporary, Permanent) as error:
            if error.code == "unreachable":
                raise
            return None  # between two states, or on a host that does not answer: the next look will tell
        return None if said is None else _read(identity, said, vcpu, memory_gib)


def _read(identity: UUID, said: Json, vcpu: int, memory_gib: float) -> ServerCounters:
    memory = said.get("memory_details") or {}
    used, whole = memory.get("used"), memory.get("maximum")
    # A hypervisor without a balloon reports all it has given out as used: that is no measurement.
    used_gib = used / _MIB if used is not None and whole and used < whole else None
    cpu_ns = _sum(said.get("cpu_details"), "time")
    return ServerCounters(
        identity,
        running=said.get("state") in {None, "running"},
        vcpu=said.get("num_cpus") or vcpu,
        memory_gib=memory_gib,
        cpu_s=None if cpu_ns is None else cpu_ns / _NS,
        memory_used_gib=used_gib,
        disk_bytes=_sum(said.get("disk_details"), "read_bytes", "write_bytes"),
        net_bytes=_sum(said.get("nic_details"), "rx_octets", "tx_octets"),
    )


def _sum(parts: Iterable[Json] | None, *names: str) -> int | None:
    """The sum over disks, cards or cores; None when nothing of it was measured."""
    figures = [part[name] for part in parts or () for name in names if part.get(name) is not None]
    return sum(figures) if figures else None
