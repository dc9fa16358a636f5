"""Where the suite makes things: fresh specs, patience with a slow or busy cloud, and a broom.

Called by: the suite's fixtures and tests. Must not: hide an answer from a test that is about this answer.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Network
from typing import TypeVar
from uuid import UUID

from uuid_utils.compat import uuid7

from providers.conformance.settings import Settings, Size
from providers.contract import (
    AttachmentSpec,
    Encapsulation,
    Key,
    Kind,
    NetworkSpec,
    Observed,
    ProjectLimits,
    ProjectSpec,
    Provider,
    ServerSpec,
    SnapshotSpec,
    Spec,
    Status,
    Uplink,
    VolumeSpec,
    key_of,
)
from providers.errors import ProviderError, Temporary

Answer = TypeVar("Answer")

SWEEP = (Kind.ATTACHMENT, Kind.SNAPSHOT, Kind.SERVER, Kind.VOLUME, Kind.NETWORK, Kind.PROJECT)
"""The order in which things can go."""

NAMES: Mapping[Kind, str] = {
    Kind.PROJECT: "适配器检验单位",
    Kind.NETWORK: "公用网段",
    Kind.VOLUME: "数据盘",
    Kind.SERVER: "云主机",
    Kind.SNAPSHOT: "快照",
}


class Workshop:
    """Makes and removes objects of one provider, and remembers what there is."""

    def __init__(self, provider: Provider, settings: Settings) -> None:
        self.provider = provider
        self.settings = settings
        self._keys: list[Key] = []
        self._image: str | None = settings.image
        self._guard = threading.Lock()

    # Specs: each with an id of its own.

    def project(self, limits: ProjectLimits | None = None) -> ProjectSpec:
        identity = uuid7()
        return ProjectSpec(identity, f"{NAMES[Kind.PROJECT]}-{identity.hex[-12:]}", limits or ProjectLimits())

    def network(self, project_id: UUID, prefix: IPv6Network | None = None) -> NetworkSpec:
        return NetworkSpec(uuid7(), project_id, NAMES[Kind.NETWORK], prefix or self.prefix(), "shared")

    def on_a_segment(self, project_id: UUID, encapsulation: Encapsulation) -> NetworkSpec:
        """A network that meets a router of somebody else's, by a tag that nobody has, very likely."""
        vxlan = encapsulation is Encapsulation.VXLAN
        first, last = self.settings.vxlan_tags if vxlan else self.settings.vlan_tags
        prefix = self.prefix()
        uplink = Uplink(encapsulation, first + secrets.randbelow(last - first + 1), prefix.network_address + 1)
        return replace(self.network(project_id, prefix), uplink=uplink)

    def volume(self, project_id: UUID, size_gib: int = 1) -> VolumeSpec:
        return VolumeSpec(uuid7(), project_id, NAMES[Kind.VOLUME], size_gib, self.settings.block_class)

    def server(self, network: NetworkSpec, size: Size | None = None, image: str | None = None) -> ServerSpec:
        size = size or self.settings.small
        return ServerSpec(
            uuid7(),
            network.project_id,
            NAMES[Kind.SERVER],
            vcpu=size.vcpu,
            memory_gib=size.memory_gib,
            root_gib=size.root_gib,
            image=image or self.image(),
            cpu_arch=self.settings.cpu_arch,
            network_id=network.id,
        )

    def attachment(self, volume: VolumeSpec, server: ServerSpec) -> AttachmentSpec:
        return AttachmentSpec(volume.id, volume.project_id, server.id)

    def snapshot(self, server: ServerSpec) -> SnapshotSpec:
        return SnapshotSpec(uuid7(), server.project_id, server.id, NAMES[Kind.SNAPSHOT])

    def prefix(self) -> IPv6Network:
        """A /64 that nobody has, very likely."""
        pool = self.settings.prefixes
        number = secrets.randbelow(2 ** (64 - pool.prefixlen))
        return IPv6Network((int(pool.network_address) + (number << 64), 64))

    def image(self) -> str:
        if self._image is None:
            self._image = self.patiently(self.provider.images)[0]
        return self._image

    # Orders.

    def create(self, spec: Spec) -> Observed:
        """Order an object and remember it for the broom, whatever comes of it."""
        with self._guard:
            self._keys.append(key_of(spec))
        return self.patiently(lambda: self.provider.create(spec))

    def make(self, spec: Spec) -> Observed:
        """Order an object and wait until it is ready."""
        self.create(spec)
        return self.until(key_of(spec), Status.ACTIVE)

    def until(self, key: Key, *wanted: Status) -> Observed:
        """The object once it is in one of these states; fails when it ends in error or the deadline passes."""
        seen: Observed | None = None
        for _ in self.deadline():
            seen = self.find(key)
            if seen is not None and seen.status in wanted:
                return seen
            assert seen is not None, f"{key.kind} {key.id} was ordered and is not listed"
            assert seen.status is not Status.ERROR, f"{key.kind} {key.id} ended in error: {seen.detail}"
        raise AssertionError(f"{key.kind} {key.id} is {seen.status if seen else 'absent'}, not {' or '.join(wanted)}")

    def find(self, key: Key) -> Observed | None:
        """The object as the list of its project shows it; the suite polls lists, as the broker does."""
        return next((seen for seen in self.list(key.kind, key.project_id) if seen.key == key), None)

    def list(self, kind: Kind, project_id: UUID | None = None) -> Sequence[Observed]:
        return self.patiently(lambda: self.provider.list(kind, project_id))

    def observe(self, key: Key) -> Observed | None:
        return self.patiently(lambda: self.provider.observe(key))

    def remove(self, key: Key) -> None:
        """Delete an object and wait until nothing is left of it."""
        for _ in self.deadline():
            if self.patiently(lambda: self.provider.delete(key)):
                return
        raise AssertionError(f"{key.kind} {key.id} is still there")

    def refused(self, call: Callable[[], object]) -> ProviderError | None:
        """The error with which the cloud refuses; None when it does not."""
        try:
            self.patiently(call)
        except ProviderError as error:
            return error
        return None

    def patiently(self, call: Callable[[], Answer]) -> Answer:
        """Repeat a call for as long as the cloud says that it is only busy."""
        last: Temporary | None = None
        for _ in self.deadline():
            try:
                return call()
            except Temporary as error:
                last = error
        raise AssertionError(f"still only busy after {self.settings.deadline_s:.0f} s: {last}") from last

    def deadline(self) -> Iterator[None]:
        """Turns of a loop, at once, then ever more slowly, until the deadline has passed."""
        end, pause = time.monotonic() + self.settings.deadline_s, 0.01
        while True:
            yield
            if time.monotonic() >= end:
                return
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    # The broom.

    def sweep(self) -> None:
        """Remove all that was ordered, each kind at once and in an order that works; fails if something stays."""
        stays: list[str] = []
        for kind in SWEEP:
            if kind not in self.provider.capabilities.kinds:
                continue
            for key in [key for key in self._keys if key.kind is kind]:
                self.refused(lambda key=key: self.provider.delete(key))  # type: ignore[misc]  # bound now on purpose
            for key in [key for key in self._keys if key.kind is kind]:
                try:
                    self.remove(key)
                except (AssertionError, ProviderError) as error:
                    stays.append(f"{key.kind} {key.id}: {error}")
        assert not stays, "left in the cloud: " + "; ".join(stays)
