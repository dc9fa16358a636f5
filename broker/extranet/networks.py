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
from providers.errors import ActionRequired
from providers.networking import NetworkProvider

ADAPTER = "extranet"


@dataclass(frozen=True, slots=True)
class Network:
    """The extranet as it is now, and who speaks to its routers."""

    loaded: Loaded
    provider: NetworkProvider


@dataclass(slots=True)
class Networks:
    """Where a topology was loaded there is an extranet: a process that lacks the routers' key says so.

    A segment that nobody could take off its router must not be given back as if it had been.
    """

    sessions: sessionmaker[Session]
    key_file: Path | None
    _built: Network | None = None
    _lock: Lock = field(default_factory=Lock)

    def __call__(self) -> Network | None:
        """The extranet, when there is a topology; built anew when another one is loaded.

        Raises ActionRequired ``extranet.no_key`` when there is a topology and no key that this process can read.
        """
        loaded = self.topology()
        return None if loaded is None else self._with_key(loaded)

    def attached(self, sub_cloud: str) -> bool:
        """Whether the topology attaches this sub-cloud, whoever has the key."""
        loaded = self.topology()
        return loaded is not None and loaded.access(sub_cloud) is not None

    def topology(self) -> Loaded | None:
        """The topology that holds. No key is needed to read it."""
        with self._lock:
            before = self._built
        with self.sessions() as session:
            return service.current(session, before.loaded if before else None)

    def _with_key(self, loaded: Loaded) -> Network:
        key = key_of(self.key_file)
        with self._lock:
            if self._built is None or self._built.loaded.id != loaded.id:
                provider = registry.build_network(ADAPTER, fabric_of(loaded.topology), Player(key))
                self._built = Network(loaded, provider)
            return self._built


def key_of(file: Path | None) -> Path:
    """The file of the routers' key, which can be read. Raises ActionRequired ``extranet.no_key``."""
    if file is None:
        raise ActionRequired("extranet.no_key", "GUIYUN_EXTRANET_KEY_FILE")
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise ActionRequired("extranet.no_key", str(error)) from error
