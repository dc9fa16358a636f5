"""Flavors: nova sells sizes by name; the broker orders sizes. Found by size, made where there is none.

Called by: ``servers``. Must not: use a flavor that asks for special hardware, or that not every project may use.
"""

from __future__ import annotations

import threading

from providers.errors import Permanent
from providers.openstack.client import Client

Size = tuple[int, int, int]
_MIB = 1024


class Flavors:
    """Nova's public flavors by (vCPU, memory in GiB, root disk in GiB)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: dict[Size, str] = {}

    def require(self, vcpu: int, memory_gib: int, root_gib: int) -> str:
        """Nova's id of a flavor of that size. Raises Permanent for a size that no server has."""
        if vcpu < 1 or memory_gib < 1 or root_gib < 0:
            raise Permanent("size_invalid", f"{vcpu} vCPU, {memory_gib} GiB memory, {root_gib} GiB disk")
        size = (vcpu, memory_gib, root_gib)
        with self._lock:
            known = self._known.get(size)
        return known or self._find(size) or self._make(size)

    def _find(self, size: Size) -> str | None:
        params = {"is_public": "true", "limit": "1000"}
        found: dict[Size, str] = {}
        for flavor in self._client.pages("compute", "/flavors/detail", "flavors", params):
            plain = not flavor.get("extra_specs") and not flavor.get("swap") and not flavor["OS-FLV-EXT-DATA:ephemeral"]
            if plain and flavor["ram"] % _MIB == 0:
                found.setdefault((flavor["vcpus"], flavor["ram"] // _MIB, flavor["disk"]), str(flavor["id"]))
        with self._lock:
            self._known = {**found, **self._known}
            return self._known.get(size)

    def _make(self, size: Size) -> str:
        """A flavor's id can be chosen and is taken once, so two who make the same size make one flavor."""
        vcpu, memory_gib, root_gib = size
        name = f"guiyun-{vcpu}c-{memory_gib}g-{root_gib}g"
        body = {"id": name, "name": name, "vcpus": vcpu, "ram": memory_gib * _MIB, "disk": root_gib}
        try:
            self._client.post("compute", "/flavors", {"flavor": body})
        except Permanent as refusal:
            if refusal.code != "conflict":
                raise
        with self._lock:
            self._known[size] = name
        return name
