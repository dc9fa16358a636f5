"""Finds the network provider of the topology that holds, and builds it once a process and topology.

Called by: the steps of delivery and reclamation, through ``Tools``; reconcile. Must not: call a router.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from sqlalchemy.orm import Session, sessionmaker

from broker.extranet import service
from broker.extranet.fabric import fabric_of
from broker.extranet.playing import Player
from broker.extranet.service import Loaded
from providers import registry
from providers.networking import NetworkProvider

ADAPTER = "extranet"


@dataclass(frozen=True, slots=True)
class Network:
    """The extranet as it is now, and who speaks to its routers."""

    loaded: Loaded
    provider: NetworkProvider


@dataclass(slots=True)
class Networks:
    """Without a key for the routers there is no extranet, and nobody asks the database for one."""

    sessions: sessionmaker[Session]
    key_file: Path | None
    _built: Network | None = None
    _lock: Lock = field(default_factory=Lock)

    def __call__(self) -> Network | None:
        """The extranet, when there is a topology and a key; built anew when another topology is loaded."""
        if self.key_file is None:
            return None
        with self._lock:
            before = self._built
            with self.sessions() as session:
                loaded = service.current(session, before.loaded if before else None)
            if loaded is None:
                return None
            if before is None or before.loaded.id != loaded.id:
                provider = registry.build_network(ADAPTER, fabric_of(loaded.topology), Player(self.key_file))
                self._built = Network(loaded, provider)
            return self._built

    def serving(self, sub_cloud: str) -> Network | None:
        """The extranet, if this sub-cloud is attached to it."""
        network = self()
        return network if network is not None and network.loaded.access(sub_cloud) is not None else None
