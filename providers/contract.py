"""What the broker asks of a cloud: a few verbs over a few kinds, and one ``Capabilities`` value.

Called by: ``broker`` (delivery, reclamation, reconcile) through ``providers.registry``; implemented by adapters.
Must not: know requests, prices, quotas of units or any table of the broker.

Rules every adapter keeps (``providers.conformance`` proves them):

* Objects are keyed by **our** id (``Spec.id``), carried in the cloud as a tag or metadata. ``create`` with an id that
  already exists returns the existing object; it never makes a second one.
* ``create`` and ``change`` return as soon as the cloud has accepted the order; the object may still be ``BUILDING``.
  The caller polls ``list`` (one call for all objects of a project), not ``observe`` one by one.
* ``observe`` and ``list`` change nothing. ``delete`` accepts "nothing there" and returns ``True`` once nothing is left,
  ``False`` while the cloud is still at it; calling it again is harmless.
* Where a look is no proof (a call that timed out may act later) the adapter builds on something that only one can take:
  a project's name in its domain, a prefix in an address scope, a MAC address on a network, an uplink's tag.
* Only the exceptions of ``providers.errors`` leave an adapter; each call ends within ``Capabilities.call_timeout_s``.
* ``power`` and ``change`` said twice are harmless. An attachment whose volume is on another server is Permanent.
* Methods block and are called from several threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network
from typing import Protocol, runtime_checkable
from uuid import UUID


class Kind(StrEnum):
    """What can be made in a cloud. A project holds all the others."""

    PROJECT = "project"
    NETWORK = "network"
    VOLUME = "volume"
    SERVER = "server"
    ATTACHMENT = "attachment"
    SNAPSHOT = "snapshot"


class CpuArch(StrEnum):
    """CPU architecture of offerings, images and capacity."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"


class Telemetry(StrEnum):
    """What a cloud can say of how busy its servers are."""

    NONE = "none"
    HOURS = "hours"
    """It keeps a history: whole hours that have passed (``ServerHour``)."""
    COUNTERS = "counters"
    """It shows what each server has used since it started (``ServerCounters``); two looks make a figure."""


class Status(StrEnum):
    """State of an object as the cloud reports it."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    ERROR = "error"
    DELETING = "deleting"


class Encapsulation(StrEnum):
    """How a network's packets travel between a cloud and a router of the extranet."""

    VXLAN = "vxlan"
    VLAN = "vlan"


class Addressing(StrEnum):
    """How hosts get their addresses. Whoever advertises the prefix is outside the cloud either way."""

    SLAAC = "slaac"
    DHCPV6 = "dhcpv6"


@dataclass(frozen=True, slots=True)
class Uplink:
    """By which VNI or VLAN (``tag``) a network meets its gateway, a router outside. It advertises, not the cloud."""

    encapsulation: Encapsulation
    tag: int
    gateway: IPv6Address
    addressing: Addressing = Addressing.SLAAC


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an adapter can do; read once, before placement and delivery."""

    provider: str
    kinds: frozenset[Kind]
    resize: bool
    power: bool
    usage: bool
    guest_reachable: bool
    """True when a playbook can reach a delivered server over its IPv6 address."""
    max_servers_per_project: int | None = None
    call_timeout_s: float = 30.0
    telemetry: Telemetry = Telemetry.NONE
    uplinks: frozenset[Encapsulation] = frozenset()
    """How its networks can meet a router outside; an order for another kind of uplink is Permanent."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the cloud answers, and what it said."""

    healthy: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ComputeCapacity:
    """Physical totals and what is in use for one CPU architecture; memory in GiB."""

    vcpu_total: int
    vcpu_used: int
    memory_total_gib: int
    memory_used_gib: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the cloud reports of itself. Block storage in GiB, by class (``ssd``, ``hdd``)."""

    compute: Mapping[CpuArch, ComputeCapacity]
    block_total_gib: Mapping[str, int]
    block_used_gib: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProjectLimits:
    """Second line of defence inside the cloud; the broker's own quota decides first. ``None`` is unlimited."""

    servers: int | None = None
    vcpu: int | None = None
    memory_gib: int | None = None
    volumes: int | None = None
    block_gib: int | None = None
    networks: int | None = None


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """The home of one unit in one sub-cloud."""

    id: UUID
    name: str
    limits: ProjectLimits = field(default_factory=ProjectLimits)
    kind: Kind = field(default=Kind.PROJECT, init=False)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network with one IPv6 subnet whose prefix the broker chose, and the security-group baseline.

    ``uplink``: the network is that of a segment of the extranet. A tag is taken once in a cloud, as a prefix is; a
    network that is there with another uplink is Permanent.
    """

    id: UUID
    project_id: UUID
    name: str
    prefix: IPv6Network
    zone: str
    uplink: Uplink | None = None
    kind: Kind = field(default=Kind.NETWORK, init=False)


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A block volume. ``block_class`` is ``ssd`` or ``hdd``."""

    id: UUID
    project_id: UUID
    name: str
    size_gib: int
    block_class: str
    kind: Kind = field(default=Kind.VOLUME, init=False)


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server on one network, booted from an image (by the sub-cloud's own name for it)."""

    id: UUID
    project_id: UUID
    name: str
    vcpu: int
    memory_gib: int
    root_gib: int
    image: str
    cpu_arch: CpuArch
    network_id: UUID
    ssh_public_key: str | None = None
    user_data: str | None = None
    kind: Kind = field(default=Kind.SERVER, init=False)


@dataclass(frozen=True, slots=True)
class AttachmentSpec:
    """A volume attached to a server. Its ``id`` is the volume's id: a volume has at most one attachment."""

    id: UUID
    project_id: UUID
    server_id: UUID
    kind: Kind = field(default=Kind.ATTACHMENT, init=False)


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    """A point-in-time image of a server."""

    id: UUID
    project_id: UUID
    server_id: UUID
    name: str
    kind: Kind = field(default=Kind.SNAPSHOT, init=False)


Spec = ProjectSpec | NetworkSpec | VolumeSpec | ServerSpec | AttachmentSpec | SnapshotSpec


@dataclass(frozen=True, slots=True)
class Key:
    """Names one object: its kind, our id, and the project it lives in (for a project: itself)."""

    kind: Kind
    id: UUID
    project_id: UUID


def key_of(spec: Spec) -> Key:
    """The key under which ``spec`` is made and found again."""
    return Key(spec.kind, spec.id, spec.id if isinstance(spec, ProjectSpec) else spec.project_id)


@dataclass(frozen=True, slots=True)
class Observed:
    """One object as the cloud shows it.

    ``ref`` is the cloud's own id. Sizes are filled where the kind has them. ``extra_refs`` names further objects that
    carry the same id of ours (a create that acted late): ``delete`` removes them too, ``prune`` only them.
    """

    key: Key
    ref: str
    status: Status
    name: str = ""
    vcpu: int | None = None
    memory_gib: int | None = None
    size_gib: int | None = None
    prefix: IPv6Network | None = None
    addresses: tuple[IPv6Address, ...] = ()
    server_id: UUID | None = None
    detail: str = ""
    extra_refs: tuple[str, ...] = ()
    uplink: Uplink | None = None
    """Of a network: where it meets a router outside, as the cloud has it."""


@dataclass(frozen=True, slots=True)
class UsageReading:
    """What the cloud itself metered for a server between two instants; compared with ours, never billed."""

    server_id: UUID
    vcpu_hours: float
    memory_gib_hours: float


@dataclass(frozen=True, slots=True)
class ServerHour:
    """What one server used in the hour that begins at ``hour``; CPU in percent of its cores, rates in KB/s.

    ``samples``: how often it was looked at, 12 in a usual hour; ``off``: how often it was off then. None: not measured.
    """

    server_id: UUID
    hour: datetime
    vcpu: int
    memory_gib: float
    cpu_avg_pct: float | None
    cpu_max_pct: float | None
    memory_used_gib: float | None
    disk_kbps: float | None
    net_kbps: float | None
    samples: int
    off: int


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """What one server has used since it started: CPU seconds over all cores, bytes read and written, in and out.

    A counter that falls has begun anew. Memory is as of now. None: not measured; off: everything is.
    """

    server_id: UUID
    running: bool
    vcpu: int
    memory_gib: float
    cpu_s: float | None = None
    memory_used_gib: float | None = None
    disk_bytes: int | None = None
    net_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LooseAddress:
    """An address of a network of ours that no server has: a port bound to nothing. ``ref`` is the port's own id."""

    network_id: UUID
    project_id: UUID
    ref: str
    address: IPv6Address


@runtime_checkable
class Provider(Protocol):
    """One sub-cloud. Every method may raise any of ``providers.errors``."""

    @property
    def capabilities(self) -> Capabilities: ...

    def health(self) -> Health:
        """Ask the cloud whether it can serve. Does not raise for an unhealthy cloud; says so."""
        ...

    def capacity(self) -> Capacity:
        """Totals and use as the cloud reports them."""
        ...

    def images(self) -> Sequence[str]:
        """Names of the images a server can be booted from."""
        ...

    def create(self, spec: Spec) -> Observed:
        """Make the object unless it is there, keyed by ``spec.id``; return what is there now."""
        ...

    def observe(self, key: Key) -> Observed | None:
        """Look at one object; ``None`` when there is none."""
        ...

    def list(self, kind: Kind, project_id: UUID | None = None) -> Sequence[Observed]:
        """All objects of a kind that carry an id of ours, of one project or of all."""
        ...

    def change(self, spec: VolumeSpec | ServerSpec | ProjectSpec) -> Observed:
        """Bring an existing object to the size in ``spec`` (a project: to its limits). Raises Permanent if absent."""
        ...

    def power(self, key: Key, *, on: bool) -> Observed:
        """Start or stop a server. Raises Permanent if absent."""
        ...

    def delete(self, key: Key) -> bool:
        """Remove the object and any duplicate of it. True: nothing is left. False: the cloud is still at it."""
        ...

    def prune(self, key: Key) -> bool:
        """Remove duplicates of an object (``Observed.extra_refs``), never the one that counts. True: none is left."""
        ...

    def usage(self, project_id: UUID, start: datetime, end: datetime) -> Sequence[UsageReading]:
        """The cloud's own metering of a project's servers over [start, end), aware datetimes."""
        ...

    def utilisation(self, start: datetime, end: datetime) -> Sequence[ServerHour] | Sequence[ServerCounters]:
        """How busy the servers that carry an id of ours are, as ``Capabilities.telemetry`` says.

        Hours in [start, end), aware datetimes of whole hours, or counters as of now. Server by server, so that it may
        take longer than one call; the cloud is asked nothing that changes it.
        """
        ...

    def loose_addresses(self) -> Sequence[LooseAddress]:
        """Addresses of our networks that are taken and that no server has."""
        ...

    def close(self) -> None:
        """Release connections. The provider is not used afterwards."""
        ...


class ProviderFactory(Protocol):
    """What an entry point in the group ``guiyun.providers`` must be."""

    def __call__(self, name: str, options: Mapping[str, str]) -> Provider:
        """Build the adapter for sub-cloud ``name`` (its code). ``options`` come from settings, secrets included."""
        ...
