"""The adapter: which module answers for which kind, and what holds for every call.

Called by: the broker, through ``providers.registry``. Must not: speak to the cloud itself (``client`` does).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID
from weakref import WeakValueDictionary

from providers.contract import (
    AttachmentSpec,
    Capabilities,
    Capacity,
    Health,
    Key,
    Kind,
    LooseAddress,
    NetworkSpec,
    Observed,
    ProjectSpec,
    ServerCounters,
    ServerSpec,
    SnapshotSpec,
    Spec,
    Telemetry,
    UsageReading,
    VolumeSpec,
    key_of,
)
from providers.errors import Permanent
from providers.openstack.attachments import Attachments
from providers.openstack.client import Client, Service
from providers.openstack.images import Images, Snapshots
from providers.openstack.networks import Networks
from providers.openstack.options import Options
from providers.openstack.projects import Projects
from providers.openstack.reports import Reports
from providers.openstack.servers import Servers
from providers.openstack.telemetry import TelemetryReader
from providers.openstack.uplinks import encapsulations
from providers.openstack.volumes import Volumes

_PLACES: Mapping[Kind, tuple[Service, str]] = {
    Kind.NETWORK: ("network", "/networks"),
    Kind.VOLUME: ("block_storage", "/volumes"),
    Kind.SERVER: ("compute", "/servers"),
    Kind.SNAPSHOT: ("image", "/images"),
}
"""Where a duplicate is removed by OpenStack's own id."""

_Kinds = Projects | Networks | Volumes | Servers | Attachments | Snapshots


class OpenStackProvider:
    """One sub-cloud on one OpenStack. Several may share an OpenStack: each sees only what carries its name."""

    def __init__(self, name: str, options: Options) -> None:
        self._options = options
        self._client = Client(options)
        client = self._client
        self._projects = Projects(client, options, name)
        self._networks = Networks(client, options, self._projects)
        self._volumes = Volumes(client, options, self._projects, name)
        self._images = Images(client)
        self._servers = Servers(
            client, options, self._projects, networks=self._networks, images=self._images, cloud=name
        )
        self._attachments = Attachments(client, self._projects, self._volumes, self._servers)
        self._snapshots = Snapshots(client, self._projects, name)
        self._reports = Reports(client, options, self._projects)
        self._telemetry = TelemetryReader(client, self._servers)
        self._guard = threading.Lock()
        self._turns: WeakValueDictionary[Key, _Turn] = WeakValueDictionary()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            provider="openstack",
            kinds=frozenset(Kind),
            resize=True,
            power=True,
            usage=True,
            guest_reachable=self._options.guest_reachable,
            max_servers_per_project=self._options.max_servers_per_project,
            call_timeout_s=self._options.call_timeout_s,
            telemetry=Telemetry.COUNTERS,
            uplinks=encapsulations(self._options),
        )

    def health(self) -> Health:
        with self._client.call():
            return self._reports.health()

    def capacity(self) -> Capacity:
        with self._client.call():
            return self._reports.capacity()

    def images(self) -> Sequence[str]:
        with self._client.call():
            return self._images.names()

    def create(self, spec: Spec) -> Observed:
        with self._turn(key_of(spec)), self._client.call():
            match spec:
                case ProjectSpec():
                    return self._projects.create(spec)
                case NetworkSpec():
                    return self._networks.create(spec)
                case VolumeSpec():
                    return self._volumes.create(spec)
                case ServerSpec():
                    return self._servers.create(spec)
                case AttachmentSpec():
                    return self._attachments.create(spec)
                case SnapshotSpec():
                    return self._snapshot(spec)

    def observe(self, key: Key) -> Observed | None:
        with self._client.call():
            return self._of(key.kind).find(key)

    def list(self, kind: Kind, project_id: UUID | None = None) -> Sequence[Observed]:
        with self._client.call():
            return self._of(kind).list(project_id)

    def change(self, spec: VolumeSpec | ServerSpec | ProjectSpec) -> Observed:
        with self._turn(key_of(spec)), self._client.call():
            match spec:
                case ProjectSpec():
                    return self._projects.change(spec)
                case VolumeSpec():
                    return self._volumes.change(spec)
                case ServerSpec():
                    return self._servers.change(spec)

    def power(self, key: Key, *, on: bool) -> Observed:
        if key.kind is not Kind.SERVER:
            raise Permanent("kind_unsupported", f"a {key.kind} has no power")
        with self._turn(key), self._client.call():
            return self._servers.power(key, on=on)

    def delete(self, key: Key) -> bool:
        with self._turn(key), self._client.call():
            return self._of(key.kind).delete(key)

    def prune(self, key: Key) -> bool:
        with self._turn(key), self._client.call():
            seen = self._of(key.kind).find(key)
            if seen is None or not seen.extra_refs or key.kind not in _PLACES:
                return True
            service, path = _PLACES[key.kind]
            for ref in seen.extra_refs:
                self._client.delete(service, f"{path}/{ref}")
            return False

    def usage(self, project_id: UUID, start: datetime, end: datetime) -> Sequence[UsageReading]:
        with self._client.call():
            return self._reports.usage(project_id, start, end)

    def utilisation(self, start: datetime, end: datetime) -> Sequence[ServerCounters]:  # noqa: ARG002 - as of now
        return self._telemetry.counters()

    def loose_addresses(self) -> Sequence[LooseAddress]:
        with self._client.call():
            return self._networks.loose_addresses()

    def close(self) -> None:
        self._client.close()

    def _of(self, kind: Kind) -> _Kinds:
        by_kind: dict[Kind, _Kinds] = {
            Kind.PROJECT: self._projects,
            Kind.NETWORK: self._networks,
            Kind.VOLUME: self._volumes,
            Kind.SERVER: self._servers,
            Kind.ATTACHMENT: self._attachments,
            Kind.SNAPSHOT: self._snapshots,
        }
        return by_kind[kind]

    def _snapshot(self, spec: SnapshotSpec) -> Observed:
        ref = self._projects.require(spec.project_id)
        servers = self._servers.raw(Key(Kind.SERVER, spec.server_id, spec.project_id), ref)
        return self._snapshots.create(spec, servers[0] if servers else None)

    @contextmanager
    def _turn(self, key: Key) -> Iterator[None]:
        """One order at a time for one object, in this process; between processes the cloud itself decides."""
        with self._guard:
            turn = self._turns.setdefault(key, _Turn())
        with turn.lock:
            yield


class _Turn:
    """A lock that can be forgotten when nobody holds it."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
