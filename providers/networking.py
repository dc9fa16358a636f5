"""What the broker asks of a network: segments on routers, and a look at who answers where.

Called by: ``broker.extranet``; implemented by ``providers.extranet``. Must not: know requests, quotas or tables of the
broker, or how a router is spoken to.

Rules every network adapter keeps, beside those of ``providers.contract`` (errors, threads, blocking):

* A segment is keyed by **our** id, which the router carries. ``create`` brings it to what its spec says, whatever is
  there already; said twice it changes nothing the second time. ``update`` is the same act for what somebody else has
  changed: what was opened for the segment beside its spec is shut again.
* Verbs take several segments and answer for each: one that is refused holds up no other. An answer is None or one of
  the four errors; verbs themselves do not raise.
* Nothing that is not ours is changed: a VNI or a prefix that others use is refused, also when the plan contains it.
* ``delete`` accepts "nothing there", and goes by id and interface: what was given the segment beside its own prefix
  goes along. ``observe``, ``list``, ``verify`` and ``audit`` change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from providers.contract import Addressing, Encapsulation, Health
from providers.errors import ProviderError


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a segment that others in its zone may reach. ``source`` None: all of them."""

    protocol: str
    port: int
    source: IPv6Network | None = None


NO_PREFIX = IPv6Network("::/128")
"""Of a segment that only has to go, when nobody knows its prefix: it goes by id and interface, with what is on it."""


@dataclass(frozen=True, slots=True)
class SegmentSpec:
    """A segment of the extranet: a prefix in a routing table, attached to a router by a VXLAN or a VLAN (``vni``).

    ``services`` None: everybody in the same routing table may reach it; otherwise echo and these services only.
    ``elsewhere``: other routing tables that have the same prefix rightly (departments with plans of their own).
    """

    id: UUID
    unit: str
    vrf: str
    prefix: IPv6Network
    router: str
    vni: int
    services: tuple[Service, ...] | None = None
    elsewhere: tuple[str, ...] = ()
    encapsulation: Encapsulation = Encapsulation.VXLAN
    addressing: Addressing = Addressing.SLAAC

    @property
    def gateway(self) -> IPv6Address:
        """The router's address in the segment."""
        return self.prefix.network_address + 1


@dataclass(frozen=True, slots=True)
class Seen:
    """A segment as its router has it. ``whole``: written down, linked and announced."""

    id: UUID
    router: str
    vrf: str
    prefix: IPv6Network | None
    vni: int
    whole: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One cell of the isolation matrix: whether a segment answered to a probe in a routing table ('' is management)."""

    segment_id: UUID
    of: str
    seen_from: str
    probe: str
    answered: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """What the probes saw: None for a segment that answers at home and nowhere else, or what is wrong with it."""

    verdicts: Mapping[UUID, ProviderError | None]
    matrix: Sequence[Sighting] = ()


@dataclass(frozen=True, slots=True)
class NetworkCapabilities:
    """What an adapter can do. ``vendors`` tells for each kind of router whether it was tested on a real one."""

    provider: str
    vendors: Mapping[str, bool]
    verifies: bool
    audits: bool
    segments_per_run: int


@dataclass(frozen=True, slots=True)
class RouterAccount:
    """A router and how it is reached; ``variables`` are what its playbooks need to know of it."""

    name: str
    vendor: str
    address: IPv6Address
    port: int
    user: str
    host_key: str
    groups: tuple[str, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fabric:
    """The routers, and what the plan allows them, as ``playbooks/provision-segment.yml`` takes it."""

    routers: Mapping[str, RouterAccount]
    plan: Mapping[str, Any]
    """``segment_length, vrfs, routers, blocks``: plain data."""


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """What a router says that it does; ``error`` when it says nothing."""

    router: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """How a run ended (``ok``, ``failed``, ``unreachable``, ``timeout``), and what was said, host by host."""

    status: str
    changed: int
    failures: Sequence[str] = ()
    answers: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


class Play(Protocol):
    """Runs a playbook on routers. Handed in by the composition root."""

    def __call__(
        self, playbook: str, routers: Iterable[RouterAccount], variables: Mapping[str, Any], *, check: bool = False
    ) -> Played: ...


class NetworkFactory(Protocol):
    """What an entry point in the group ``guiyun.networks`` must be."""

    def __call__(self, fabric: Fabric, play: Play) -> NetworkProvider: ...


Outcomes = Mapping[UUID, ProviderError | None]


@runtime_checkable
class NetworkProvider(Protocol):
    """The extranet, or another network that segments are routed in."""

    @property
    def capabilities(self) -> NetworkCapabilities: ...

    def health(self) -> Health:
        """Whether every router answers; says which one does not."""
        ...

    def create(self, specs: Sequence[SegmentSpec]) -> Outcomes: ...

    def update(self, specs: Sequence[SegmentSpec]) -> Outcomes: ...

    def delete(self, specs: Sequence[SegmentSpec]) -> Outcomes: ...

    def observe(self, spec: SegmentSpec) -> Seen | None:
        """Look at one segment on its router. Raises Temporary when the router says nothing."""
        ...

    def list(self) -> Sequence[Seen]:
        """Every segment that carries an id of ours, on the routers that answer."""
        ...

    def preview(self, specs: Sequence[SegmentSpec]) -> Outcomes:
        """What ``create`` would say, changing nothing: refusals of plan and routers."""
        ...

    def verify(self, specs: Sequence[SegmentSpec], *, answering: bool = True) -> Sight:
        """Look from every probe. ``answering`` False: nothing may answer any more."""
        ...

    def audit(self) -> Sequence[RouterFacts]:
        """What every router is really doing."""
        ...

    def filter_neighbours(self, *, check: bool = False) -> Sequence[RouterFacts]:
        """Make routers' prefix filters towards their neighbours those of the plan; ``filters`` says what was written.

        ``check``: what would be written. A router whose filters are not ours to write says nothing of them.
        """
        ...

    def close(self) -> None: ...
