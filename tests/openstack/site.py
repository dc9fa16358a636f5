"""Makes things in one sub-cloud of the lab, waits for them, and can empty it again.

Called by: the fixtures and tests beside it. Must not: hide an answer from a test that is about this answer.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from ipaddress import IPv6Network
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from providers.contract import (
    CpuArch,
    Key,
    Kind,
    NetworkSpec,
    Observed,
    ProjectLimits,
    ProjectSpec,
    ServerSpec,
    Spec,
    Status,
    VolumeSpec,
    key_of,
)
from providers.errors import Temporary
from providers.openstack.provider import OpenStackProvider

Answer = TypeVar("Answer")
HOME = Path(os.environ.get("GUIYUN_OPENSTACK_HOME") or Path(__file__).parents[2] / ".openstack")
FAKE_IMAGE, REAL_IMAGE = "debian-12-x86_64", "guiyun-guest"
PATIENCE_S = 300.0
"""How long a busy machine may take; nothing waits that long when all is well."""
_GOING = (Kind.ATTACHMENT, Kind.SNAPSHOT, Kind.SERVER, Kind.VOLUME, Kind.NETWORK, Kind.PROJECT)


class Site:
    """One provider, and patience."""

    def __init__(self, provider: OpenStackProvider) -> None:
        self.provider = provider

    def project(self, limits: ProjectLimits | None = None) -> ProjectSpec:
        spec = ProjectSpec(uuid4(), "大数据发展局", limits or ProjectLimits())
        self.make(spec)
        return spec

    def network(self, project: ProjectSpec, prefix: IPv6Network | None = None) -> NetworkSpec:
        spec = NetworkSpec(uuid4(), project.id, "公用网段", prefix or a_prefix(), "shared")
        self.make(spec)
        return spec

    def server_spec(self, network: NetworkSpec, **changed: object) -> ServerSpec:
        values: dict[str, object] = {"vcpu": 1, "memory_gib": 1, "root_gib": 1, "image": FAKE_IMAGE, **changed}
        return ServerSpec(
            uuid4(),
            network.project_id,
            "门户 web 01",
            cpu_arch=CpuArch.X86_64,
            network_id=network.id,
            **values,  # type: ignore[arg-type]  # of ServerSpec's own fields
        )

    def volume_spec(self, project: ProjectSpec) -> VolumeSpec:
        return VolumeSpec(uuid4(), project.id, "数据盘", 1, "ssd")

    def make(self, spec: Spec, deadline_s: float = PATIENCE_S) -> Observed:
        """Order it and wait until it is ready."""
        self.patiently(lambda: self.provider.create(spec))
        return self.until(key_of(spec), Status.ACTIVE, deadline_s)

    def until(self, key: Key, wanted: Status, deadline_s: float = PATIENCE_S) -> Observed:
        """The object once it is in that state, as its project's list shows it."""
        end = time.monotonic() + deadline_s
        while True:
            listed = self.patiently(lambda: self.provider.list(key.kind, key.project_id))
            seen = next((each for each in listed if each.key == key), None)
            if seen is not None and seen.status is wanted:
                return seen
            assert seen is None or seen.status is not Status.ERROR, seen
            assert time.monotonic() < end, f"{key} is {seen and seen.status} after {deadline_s} s"
            time.sleep(0.3)

    def remove(self, key: Key) -> None:
        """Delete it and wait until nothing is left."""
        self.wait(lambda: self.provider.delete(key), f"{key} is gone")

    def wait(self, condition: Callable[[], bool], what: str, deadline_s: float = PATIENCE_S) -> None:
        """Look until it holds."""
        end = time.monotonic() + deadline_s
        while not self.patiently(condition):
            assert time.monotonic() < end, f"not yet after {deadline_s} s: {what}"
            time.sleep(0.3)

    def patiently(self, call: Callable[[], Answer], deadline_s: float = PATIENCE_S) -> Answer:
        """Repeat a call for as long as the cloud is only busy."""
        end = time.monotonic() + deadline_s
        while True:
            try:
                return call()
            except Temporary:
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)

    def empty(self) -> list[Observed]:
        """Remove everything; what could not be removed."""
        for kind in _GOING:
            found = self.patiently(lambda kind=kind: self.provider.list(kind))  # type: ignore[misc]  # bound now
            for seen in found:
                self.patiently(lambda seen=seen: self.provider.delete(seen.key))  # type: ignore[misc]  # bound now
            for seen in found:
                self.remove(seen.key)
        return [seen for kind in _GOING for seen in self.provider.list(kind)]


def a_prefix(length: int = 64) -> IPv6Network:
    """A prefix of the documentation range that nobody has, very likely."""
    pool = IPv6Network("3fff:e00::/24")
    number = secrets.randbelow(2 ** (length - pool.prefixlen))
    return IPv6Network((int(pool.network_address) + (number << (128 - length)), length))
