"""A network kept in a dictionary, good and broken: what the conformance suite of networks is tested with.

Called by: the suite, in a process of its own. Must not: be taken for a router.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Network
from itertools import count
from threading import Lock
from uuid import UUID, uuid4

from broker.extranet.fabric import plan_of
from broker.extranet.reading import read_topology
from playbooks.filter_plugins.extranet import refusal
from providers.contract import Health
from providers.errors import Permanent, ProviderError
from providers.network_conformance.site import Site
from providers.networking import NetworkCapabilities, Outcomes, RouterFacts, Seen, SegmentSpec, Sight, Sighting
from tests.extranet import TOPOLOGY

PLAN = plan_of(read_topology(TOPOLOGY))
_NUMBERS = count(1)


@dataclass(slots=True)
class Dictionary:
    """One router, ``dc``, as the laboratory's plan allows it."""

    there: dict[UUID, SegmentSpec] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    capabilities = NetworkCapabilities("dictionary", {}, verifies=True, audits=True, segments_per_run=64)

    def health(self) -> Health:
        return Health(healthy=True)

    def create(self, specs: Sequence[SegmentSpec]) -> Outcomes:
        with self.lock:
            return {s.id: self._place(s) for s in specs}

    update = create

    def _place(self, spec: SegmentSpec) -> ProviderError | None:
        if (error := self._refused(spec)) is None:
            self.there[spec.id] = spec
        return error

    def _refused(self, spec: SegmentSpec) -> ProviderError | None:
        asked = {"router": spec.router, "unit": spec.unit, "vrf": spec.vrf, "prefix": str(spec.prefix)}
        if said := refusal({**asked, "vni": spec.vni}, PLAN, "dc"):
            return Permanent(*said)
        others = [s for s in self.there.values() if s.id != spec.id]
        if any(s.vni == spec.vni or (s.vrf == spec.vrf and s.prefix.overlaps(spec.prefix)) for s in others):
            return Permanent("extranet.vni_in_use")
        return None

    def delete(self, specs: Sequence[SegmentSpec]) -> Outcomes:
        for spec in specs:
            self.there.pop(spec.id, None)
        return dict.fromkeys(s.id for s in specs)

    def observe(self, spec: SegmentSpec) -> Seen | None:
        return next((seen for seen in self.list() if seen.id == spec.id), None)

    def list(self) -> Sequence[Seen]:
        return [Seen(s.id, s.router, s.vrf, s.prefix, s.vni, whole=True) for s in self.there.values()]

    def preview(self, specs: Sequence[SegmentSpec]) -> Outcomes:
        return {s.id: self._refused(s) for s in specs}

    def verify(self, specs: Sequence[SegmentSpec], *, answering: bool = True) -> Sight:
        wrong = Permanent("extranet.unreachable")
        verdicts = {s.id: None if (s.id in self.there) is answering else wrong for s in specs}
        return Sight(verdicts, [Sighting(s.id, s.vrf, s.vrf, "core", s.id in self.there) for s in specs])

    def audit(self) -> Sequence[RouterFacts]:
        return [RouterFacts("dc", {"vrfs": {}})]

    def filter_neighbours(self, *, check: bool = False) -> Sequence[RouterFacts]:
        del check
        return []

    def close(self) -> None:
        """Nothing is kept."""


class Greedy(Dictionary):
    """Takes a VNI from whoever has it."""

    def _place(self, spec: SegmentSpec) -> ProviderError | None:
        self.there = {i: s for i, s in self.there.items() if s.vni != spec.vni or i == spec.id}
        return Dictionary._place(self, spec)


class Boundless(Dictionary):
    """Asks no plan."""

    def _refused(self, spec: SegmentSpec) -> ProviderError | None:  # noqa: ARG002
        return None


def fresh() -> SegmentSpec:
    """A segment of the water department's that nobody has."""
    number = next(_NUMBERS)
    prefix = IPv6Network(f"3fff:12f:1:{number:x}::/64")
    return SegmentSpec(uuid4(), "slt", "shared", prefix, "dc", 14000 + number, services=())


def site_of(provider: Dictionary) -> Site:
    others = replace(fresh(), prefix=IPv6Network("3fff:122:0:1::/64"))
    return Site(provider, fresh, {"another unit's prefix": others, "a VNI out of range": replace(fresh(), vni=5)})


@contextmanager
def good() -> Iterator[Site]:
    yield site_of(Dictionary())


@contextmanager
def greedy() -> Iterator[Site]:
    yield site_of(Greedy())


@contextmanager
def boundless() -> Iterator[Site]:
    yield site_of(Boundless())
