"""What follows from a prefix: its reverse DNS zones, its gateway, whether hosts configure themselves. Pure.

Called by: the command line, whoever shows a segment. Must not: import SQL, or know what is allocated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import IPv6Address, IPv6Network

from quotas.ipv6.values import PlanNode, slash64s

SLAAC_LENGTH = 64
"""RFC 4862 with RFC 4291: interface identifiers have 64 bits, so that only a /64 is configured without a server."""


@dataclass(frozen=True, slots=True)
class Facts:
    """``gateway`` is the first address after the subnet-router anycast address (RFC 4291, 2.6.1), by our convention.

    ``slaac``: hosts may make their addresses of router advertisements (RFC 4862). ``segments``: how many /64s it is.
    """

    prefix: IPv6Network
    reverse_zones: tuple[str, ...]
    gateway: IPv6Address
    anycast: IPv6Address
    slaac: bool
    segments: int


def facts(prefix: IPv6Network) -> Facts:
    """All of them. The prefix is a /64 or shorter, as every one in the plan."""
    return Facts(
        prefix=prefix,
        reverse_zones=reverse_zones(prefix),
        gateway=prefix.network_address + 1,
        anycast=prefix.network_address,
        slaac=prefix.prefixlen == SLAAC_LENGTH,
        segments=slash64s(prefix.prefixlen),
    )


def reverse_zones(prefix: IPv6Network) -> tuple[str, ...]:
    """The ip6.arpa zones to delegate (RFC 3596, 2.5): one at a nibble boundary, else the 2, 4 or 8 below it."""
    nibbles = -(-prefix.prefixlen // 4)
    return tuple(_zone(part, nibbles) for part in prefix.subnets(new_prefix=nibbles * 4))


def _zone(prefix: IPv6Network, nibbles: int) -> str:
    digits = prefix.network_address.exploded.replace(":", "")[:nibbles]
    return ".".join([*reversed(digits), "ip6", "arpa"])


@dataclass(frozen=True, slots=True)
class LevelUse:
    """How full the pools of one level of a zone are: whole /64s live in them and below, of those there are."""

    zone: str
    level: str
    depth: int
    pools: int
    live: int
    live_64: int
    size_64: int

    @property
    def share(self) -> Fraction:
        return Fraction(self.live_64, self.size_64)


def use_by_level(nodes: Iterable[PlanNode]) -> list[LevelUse]:
    """Utilisation of each level of each zone by depth, highest first. Pools of one row never overlap: exact sums."""
    sums: dict[tuple[str, int, str], list[int]] = {}
    for node in nodes:
        at = sums.setdefault((node.zone.value, node.depth, node.level), [0, 0, 0, 0])
        for place, amount in enumerate((1, node.live, node.live_64, node.size_64)):
            at[place] += amount
    return [LevelUse(zone, level, depth, *amounts) for (zone, depth, level), amounts in sorted(sums.items())]
