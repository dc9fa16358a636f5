"""How busy servers are, by nova's diagnostics: counters since a server's start, which no telemetry service has to keep.

Called by: ``provider``. Must not: make rates of them (two looks do, and the broker keeps them), or change anything.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

from providers.contract import ServerCounters
from providers.errors import ActionRequired, Permanent, Temporary
from providers.openstack.client import Client, Json
from providers.openstack.servers import Servers

_MIB = 1024
_NS = 1_000_000_000
AT_ONCE = 8
"""So many servers are asked side by side."""
LOOK_S = 240.0
"""One look takes no longer, for the next is due after five minutes; who was not asked by then waits for it."""
HOST_TRIES = 2
"""A host on which so many servers could not be asked is left alone for the rest of the look: each try may take nova a
minute."""
_SILENT = frozenset({"busy", "call_timeout", "server_error", "timeout", "unreachable"})
_HOST = "OS-EXT-SRV-ATTR:host"
_OFF = frozenset({"SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED"})


@dataclass(slots=True)
class _Look:
    """What one look has come to know while it goes on; shared by its threads."""

    ends: float
    failed: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)
    silence: Temporary | None = None

    def over(self, host: str) -> bool:
        return self.stop.is_set() or time.monotonic() >= self.ends or self.failed[host] >= HOST_TRIES

    def note(self, host: str, error: Temporary | Permanent) -> None:
        """One server could not be asked: its host is tried less, and a nova that has too much to do is left alone."""
        if isinstance(error, Temporary) and error.code in _SILENT:
            self.failed[host] += 1
            self.silence = error
            if error.code == "busy":
                self.stop.set()


class TelemetryReader:
    """Asks server by server, a few at once: nova has no other way. One that cannot be asked just now is left out."""

    def __init__(self, client: Client, servers: Servers) -> None:
        self._client = client
        self._servers = servers

    def counters(self) -> Sequence[ServerCounters]:
        """Every server of ours that runs or is off, as far as it could be asked.

        Raises ActionRequired when the account may not see diagnostics, Temporary when nova answers for none.
        """
        with self._client.call():
            servers = self._servers.all(None)
        ours = [(identity, each) for each in servers if (identity := self._servers.id_of(each)) is not None]
        random.shuffle(ours)  # so that it is not always the same who wait
        look = _Look(time.monotonic() + LOOK_S)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="diagnostics") as threads:
            asked = [threads.submit(self._one, identity, server, look) for identity, server in ours]
            found = [one.result() for one in asked]
        if look.silence is not None and not look.answered.is_set():
            raise look.silence  # not one answered: it is nova, and not a host
        return [each for each in found if each is not None]

    def _one(self, identity: UUID, server: Json, look: _Look) -> ServerCounters | None:
        vcpu, memory_gib = server["flavor"]["vcpus"], server["flavor"]["ram"] / _MIB
        if server["status"] in _OFF:
            return ServerCounters(identity, running=False, vcpu=vcpu, memory_gib=memory_gib)
        host = server.get(_HOST) or server["id"]  # seen by accounts that may see hosts
        if server["status"] != "ACTIVE" or look.over(host):
            return None
        try:
            with self._client.call():
                said = self._client.get("compute", f"/servers/{server['id']}/diagnostics")
        except (Temporary, Permanent) as error:
            look.note(host, error)
            return None  # between two states, or on a host that does not answer: the next look will tell
        except ActionRequired:
            look.stop.set()
            raise
        look.answered.set()
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
