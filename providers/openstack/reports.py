"""What the cloud says of itself: health, capacity, its own metering.

Called by: ``provider``. Must not: change anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from providers.contract import Capacity, ComputeCapacity, CpuArch, Health, UsageReading
from providers.errors import ProviderError
from providers.openstack.client import Client, Json
from providers.openstack.naming import id_in_server_name
from providers.openstack.options import Options
from providers.openstack.projects import Projects

# The last version in which nova gives a host's totals and use; later ones leave it to many calls of placement.
_HYPERVISORS = "2.79"
_MIB = 1024


class Reports:
    """Looks at the whole cloud."""

    def __init__(self, client: Client, options: Options, projects: Projects) -> None:
        self._client = client
        self._options = options
        self._projects = projects

    def health(self) -> Health:
        """Whether the services answer and have at least one host that is up."""
        try:
            compute = self._client.pages("compute", "/os-services", "services", {"binary": "nova-compute"})
            volume = self._client.pages("block_storage", "/os-services", "services", {"binary": "cinder-volume"})
            self._client.get("network", "/networks", {"limit": "1", "fields": "id"})
            self._client.get("image", "/images", {"limit": "1"})
        except ProviderError as error:
            return Health(healthy=False, detail=str(error))
        for name, services in (("nova-compute", compute), ("cinder-volume", volume)):
            if not any(service["state"] == "up" and service["status"] == "enabled" for service in services):
                return Health(healthy=False, detail=f"no {name} is up")
        return Health(healthy=True)

    def capacity(self) -> Capacity:
        """Hosts that are up and enabled, by architecture; storage pools, by the class whose type they serve."""
        total, used = self._pools()
        return Capacity(compute=self._compute(), block_total_gib=total, block_used_gib=used)

    def usage(self, project_id: UUID, start: datetime, end: datetime) -> Sequence[UsageReading]:
        ref = self._projects.ref(project_id)
        if ref is None:
            return []
        params = {"start": _naive(start), "end": _naive(end)}
        body = self._client.get("compute", f"/os-simple-tenant-usage/{ref}", params) or {}
        hours: dict[UUID, list[float]] = {}
        for entry in body.get("tenant_usage", {}).get("server_usages", []):
            identity = id_in_server_name(entry["name"])
            if identity is not None:
                sums = hours.setdefault(identity, [0.0, 0.0])
                sums[0] += entry["hours"] * entry["vcpus"]
                sums[1] += entry["hours"] * entry["memory_mb"] / _MIB
        return [UsageReading(identity, vcpu, memory) for identity, (vcpu, memory) in hours.items()]

    def _compute(self) -> Mapping[CpuArch, ComputeCapacity]:
        sums: dict[CpuArch, list[int]] = {}
        path = "/os-hypervisors/detail"
        answer = self._client.get("compute", path, microversion=_HYPERVISORS) or {}
        for host in answer.get("hypervisors", []):
            arch = _arch(host)
            if arch is None or host["state"] != "up" or host["status"] != "enabled":
                continue
            figures = (host["vcpus"], host["vcpus_used"], host["memory_mb"], host["memory_mb_used"])
            sums[arch] = [a + b for a, b in zip(sums.get(arch, [0, 0, 0, 0]), figures, strict=True)]
        return {
            arch: ComputeCapacity(vcpus, vcpus_used, memory // _MIB, memory_used // _MIB)
            for arch, (vcpus, vcpus_used, memory, memory_used) in sums.items()
        }

    def _pools(self) -> tuple[dict[str, int], dict[str, int]]:
        classes = self._classes()
        total: dict[str, int] = {}
        used: dict[str, int] = {}
        pools = self._client.pages("block_storage", "/scheduler-stats/get_pools", "pools", {"detail": "true"})
        for pool in pools:
            figures = pool.get("capabilities", {})
            whole, held = _gib(figures.get("total_capacity_gb")), _gib(figures.get("allocated_capacity_gb"))
            for name in classes.get(str(figures.get("volume_backend_name")), ()):
                total[name] = total.get(name, 0) + whole
                used[name] = used.get(name, 0) + held
        return total, used

    def _classes(self) -> Mapping[str, Sequence[str]]:
        """The block classes that each backend serves; a class without a mapping is a volume type of its name."""
        by_type = {volume_type: name for name, volume_type in self._options.volume_types.items()}
        classes: dict[str, list[str]] = {}
        for each in self._client.pages("block_storage", "/types", "volume_types"):
            backend = (each.get("extra_specs") or {}).get("volume_backend_name")
            if backend and (not by_type or each["name"] in by_type):
                classes.setdefault(str(backend), []).append(by_type.get(each["name"], str(each["name"])))
        return classes


def _arch(host: Json) -> CpuArch | None:
    info: Any = host.get("cpu_info")
    name = info.get("arch") if isinstance(info, dict) else None
    return next((arch for arch in CpuArch if arch.value == name), None)


def _gib(figure: object) -> int:
    """A backend may say "infinite" or "unknown", which is no figure to place by."""
    return int(figure) if isinstance(figure, int | float) else 0


def _naive(instant: datetime) -> str:
    """Nova wants UTC without saying so."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat()
