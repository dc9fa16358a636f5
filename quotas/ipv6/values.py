"""The words of the plan: zones, levels with their lengths, pools, prefixes. Pure.

Called by: ``quotas.ipv6.service`` and whoever asks it. Must not: import SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv6Network
from uuid import UUID


class Zone(StrEnum):
    """The extranet's functional zones. Shared and internet are one routing domain each; private ones may be many."""

    SHARED = "shared"
    PRIVATE = "private"
    INTERNET = "internet"


class Level(StrEnum):
    """Where a pool stands in the plan. A county and a department stand side by side below a city or the province."""

    PROVINCE = "province"
    CITY = "city"
    COUNTY = "county"
    DEPARTMENT = "department"
    UNIT = "unit"


def _default_lengths() -> Mapping[Level, int]:
    return {Level.PROVINCE: 24, Level.CITY: 32, Level.COUNTY: 40, Level.DEPARTMENT: 40, Level.UNIT: 48}


def _default_zones() -> Mapping[Zone, IPv6Network]:
    # Documentation space (RFC 9637), cut in four; the last quarter is kept.
    return {
        Zone.SHARED: IPv6Network("3fff::/22"),
        Zone.PRIVATE: IPv6Network("3fff:400::/22"),
        Zone.INTERNET: IPv6Network("3fff:800::/22"),
    }


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of a plan: the prefix of each zone and the prefix length of each level. Documentation by default."""

    zones: Mapping[Zone, IPv6Network] = field(default_factory=_default_zones)
    lengths: Mapping[Level, int] = field(default_factory=_default_lengths)
    segment_length: int = 64


class PrefixState(StrEnum):
    """``held`` may expire (unless pinned); ``quarantined`` rests; ``freed`` may be reused, ``spent`` was."""

    HELD = "held"
    ACTIVE = "active"
    QUARANTINED = "quarantined"
    FREED = "freed"
    SPENT = "spent"


LIVE = (PrefixState.HELD, PrefixState.ACTIVE, PrefixState.QUARANTINED)
"""The states in which a prefix takes its place: nothing else may overlap it."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """A prefix and its owner. ``until``: when a hold expires or a quarantine ends; None: pinned or active."""

    id: UUID
    pool: UUID
    owner: UUID
    prefix: IPv6Network
    routing_domain: str
    zone: Zone
    state: PrefixState
    until: datetime | None


@dataclass(frozen=True, slots=True)
class SweptPrefix:
    """A prefix that became free: a hold that expired or a quarantine that ended (``was``)."""

    id: UUID
    owner: UUID
    prefix: IPv6Network
    was: PrefixState


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One pool of the plan. ``live_64`` of ``size_64`` whole /64s are held, active or resting, below it too."""

    id: UUID
    parent_id: UUID | None
    depth: int
    level: str
    zone: Zone
    routing_domain: str
    prefix: IPv6Network
    hands_out: bool
    live: int
    live_64: int

    @property
    def size_64(self) -> int:
        return 1 << (64 - self.prefix.prefixlen)


@dataclass(frozen=True, slots=True)
class Cell:
    """One of the equal parts of a pool's space, with what is live in it: prefixes, and whole /64s by state."""

    index: int
    prefix: IPv6Network
    live: int
    by_state: Mapping[PrefixState, int]

    @property
    def live_64(self) -> int:
        return sum(self.by_state.values())

    @property
    def size_64(self) -> int:
        return slash64s(self.prefix.prefixlen)


@dataclass(frozen=True, slots=True)
class Overview:
    """A pool from above. ``cells`` are in order of address, /``cell_length`` each; the empty ones are left out."""

    pool: PlanNode
    children: tuple[PlanNode, ...]
    cell_length: int
    cells: tuple[Cell, ...]


def slash64s(length: int) -> int:
    """How many /64s a prefix of that length is: what it counts in the quota (``ResourceClass.IPV6_64``)."""
    return 1 << (64 - length)
