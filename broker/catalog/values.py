"""A sub-cloud as placement sees it. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Offered:
    """What a sub-cloud offers of one kind, architecture or disk class; ``None`` is no limit."""

    kind: str
    cpu_arch: str
    block_class: str
    max_vcpu: int | None
    max_memory_gib: int | None
    max_disk_gib: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sub-cloud with everything that placement filters on."""

    id: UUID
    code: str
    name: str
    tier: str
    position: int
    mlps_level: int
    zones: frozenset[str]
    accredited: bool
    authorities: Mapping[str, UUID]
    offers: tuple[Offered, ...]
    images: frozenset[str]
    healthy: bool | None
    """``None``: it has not been asked lately."""
    health_detail: str
    segment_zones: frozenset[str]
    """Zones in which the asking unit already has an active segment there."""
    uplinks: frozenset[str] | None = None
    """How its networks can meet a router of the extranet; ``None``: it has not said yet."""
