"""Where a unit has space in the extranet: at which sub-clouds, in which zones, from which block of the topology. Pure.

Called by: ``assessment`` (before anything is held), ``extranet.service`` (when a segment is attached). Must not: touch
the database; what routers have is not asked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv6Network

from broker.extranet.fabric import plan_of
from broker.extranet.schema import Access, Block, Topology
from broker.extranet.values import Attachable
from playbooks.filter_plugins.extranet import refusal


@dataclass(frozen=True, slots=True)
class Space:
    """A unit's space. ``lineage``: the codes of the unit and of those above it."""

    topology: Topology
    lineage: frozenset[str]

    @property
    def attachable(self) -> Mapping[str, Attachable]:
        """By sub-cloud: what there is for the unit; a cloud that is not attached is not named."""
        return {
            access.sub_cloud: Attachable(self._zones(access), access.encapsulation.value)
            for access in self.topology.access
        }

    def _zones(self, access: Access) -> frozenset[str]:
        zone_of = {v.name: v.zone for v in self.topology.vrfs}
        found = blocks_at(self.topology, access.router, self.lineage, frozenset(zone_of.values()))
        return frozenset(zone_of[b.vrf] for b in found)

    def refusal(self, sub_cloud: str, zone: str, prefix: IPv6Network) -> str:
        """The code with which the routers' plan refuses a prefix of the unit's there; empty when it contains it."""
        access = next((a for a in self.topology.access if a.sub_cloud == sub_cloud), None)
        if access is None:
            return "extranet.cloud_not_attached"
        block = block_for(self.topology, access.router, self.lineage, zone, prefix)
        return "extranet.no_block" if block is None else refused_by_plan(self.topology, access, block, prefix)


def refused_by_plan(
    topology: Topology, access: Access, block: Block, prefix: IPv6Network, vni: int | None = None
) -> str:
    """The plan's own code, as the playbook would say it; ``vni`` None: any of the router's."""
    asked = {"router": access.router, "unit": block.unit, "vrf": block.vrf, "prefix": str(prefix)}
    said = refusal({**asked, "vni": access.tags[0] if vni is None else vni}, plan_of(topology), access.router)
    return said[0] if said else ""


def block_for(
    topology: Topology, router: str, lineage: AbstractSet[str], zone: str, prefix: IPv6Network
) -> Block | None:
    """The block that a unit's prefix is of: its own or that of a unit above it, in a table of the zone.

    Where several match, the longest: a unit's own before that of the one above. In the private zone the table has to be
    the unit's, or that of one above it. Without one that holds the prefix, any of the unit's: the plan says why not.
    """
    blocks = blocks_at(topology, router, lineage, frozenset({zone}))
    holding = [b for b in blocks if prefix.subnet_of(b.prefix)]
    return max(holding or blocks, key=lambda b: b.prefix.prefixlen, default=None)


def blocks_at(topology: Topology, router: str, lineage: AbstractSet[str], zones: AbstractSet[str]) -> list[Block]:
    """The blocks of a unit and of those above it on a router, in tables of these zones."""
    vrfs = {v.name: v for v in topology.vrfs}
    return [
        b
        for b in topology.blocks
        if router in b.routers
        and b.unit in lineage
        and vrfs[b.vrf].zone in zones
        and (vrfs[b.vrf].unit is None or vrfs[b.vrf].unit in lineage)
    ]
