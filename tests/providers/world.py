"""A simulated cloud of a test's own, and specs for it.

Called by: the tests of this folder. Must not: replace any of our own code.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack, closing
from ipaddress import IPv6Network
from uuid import UUID

from uuid_utils.compat import uuid7

from providers.contract import (
    CpuArch,
    NetworkSpec,
    ProjectLimits,
    ProjectSpec,
    ServerSpec,
    SnapshotSpec,
    VolumeSpec,
)
from providers.simulated import Options, SimulatedProvider

_numbers = itertools.count(1)


class World:
    """One test's cloud: its name, its database, and specs that nobody has ordered yet."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self.cloud = f"cloud-{next(_numbers)}"
        self.slept: list[float] = []
        self._stack = stack

    def provider(self, cloud: str | None = None, **options: str) -> SimulatedProvider:
        """An adapter of this cloud (or of another one), as one more worker would build it; it never really sleeps."""
        parsed = Options.parse({"database_url": self.url, **options})
        built = SimulatedProvider(cloud or self.cloud, parsed, sleep=self.slept.append)
        return self._stack.enter_context(closing(built))

    def project(self, name: str = "", limits: ProjectLimits | None = None) -> ProjectSpec:
        identity = uuid7()
        return ProjectSpec(identity, name or f"单位-{identity}", limits or ProjectLimits())

    def network(self, project_id: UUID, prefix: str = "3fff:1::/64") -> NetworkSpec:
        return NetworkSpec(uuid7(), project_id, "公用网段", IPv6Network(prefix), "shared")

    def volume(self, project_id: UUID, size_gib: int = 10) -> VolumeSpec:
        return VolumeSpec(uuid7(), project_id, "数据盘", size_gib, "ssd")

    def server(self, network: NetworkSpec, vcpu: int = 2) -> ServerSpec:
        return ServerSpec(
            uuid7(),
            network.project_id,
            "云主机",
            vcpu=vcpu,
            memory_gib=4,
            root_gib=40,
            image="Kylin-V10",
            cpu_arch=CpuArch.AARCH64,
            network_id=network.id,
        )

    # Specs of which all that they stand on is made.

    def placed_network(self, provider: SimulatedProvider) -> NetworkSpec:
        project = self.project()
        provider.create(project)
        return self.network(project.id)

    def placed_volume(self, provider: SimulatedProvider) -> VolumeSpec:
        project = self.project()
        provider.create(project)
        return self.volume(project.id)

    def placed_server(self, provider: SimulatedProvider) -> ServerSpec:
        network = self.placed_network(provider)
        provider.create(network)
        return self.server(network)

    def placed_snapshot(self, provider: SimulatedProvider) -> SnapshotSpec:
        server = self.placed_server(provider)
        provider.create(server)
        return SnapshotSpec(uuid7(), server.project_id, server.id, "快照")
