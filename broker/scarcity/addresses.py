"""The IPv6 plan as a map: which blocks an actor may see, one of them in cells, a segment's facts.

Called by: the console's map and the API. Must not: hand out a prefix, or show a block to whom it does not concern: the
whole plan to those who see every unit (audit, administrator, the offices of the main cloud, cloud operators), else the
blocks of the units whose quota one may see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from uuid import UUID

from sqlalchemy import func, select

from broker.errors import Invalid, NotFound, Problem
from broker.inventory.models import Resource
from broker.lifecycle import Role
from broker.region.plan import block_pool_id, own_pool_id
from broker.scarcity.tree import may_see
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.work import Work
from quotas.errors import BadPrefix
from quotas.ipv6 import service as ipv6
from quotas.ipv6.overview import overview
from quotas.ipv6.values import Cell, PlanNode, Zone
from quotas.ipv6.values import Level as PlanLevel
from quotas.ipv6.window import Taken, window

CELLS = 256


@dataclass(frozen=True, slots=True)
class Block:
    """A pool of the plan, and the unit it is for (None: a pool that no unit of the tree explains)."""

    node: PlanNode
    unit_id: UUID | None
    unit_name: str
    own: bool
    """The unit's own segments come from it; else it holds the blocks of the units below."""


@dataclass(frozen=True, slots=True)
class Level:
    """The pools of one level below a block: how many, how much space they are, how much of it is live."""

    level: str
    pools: int
    size_64: int
    live: int
    live_64: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A prefix that is live, with the resource that owns it where there is one."""

    taken: Taken
    resource_id: UUID | None
    resource_number: str
    resource_name: str
    unit_name: str


@dataclass(frozen=True, slots=True)
class Map:
    """One block, or a part of it (``within``), in cells. ``segments`` are named where it hands out."""

    block: Block
    above: tuple[Block, ...]
    within: IPv6Network
    cell_length: int
    cells: tuple[Cell, ...]
    children: tuple[Block, ...]
    levels: tuple[Level, ...]
    segments: tuple[Segment, ...]
    more_segments: bool


def blocks(work: Work) -> list[Block]:
    """The blocks the actor may see, in order of zone and address; for the whole plan only the zones' own."""
    seen = _Seen.by(work)
    return [block for block in seen.blocks() if block.node.parent_id not in seen.nodes]


def every_block(work: Work, zone: Zone | None = None) -> list[Block]:
    """All blocks the actor may see, parents before children: the plan."""
    return [block for block in _Seen.by(work).blocks() if zone in (None, block.node.zone)]


def look(work: Work, pool_id: UUID, within: IPv6Network | None = None) -> Map:
    """A block in at most 256 cells, or the part ``within`` of one that hands out.

    NotFound ``prefix.block_unknown``: no such block, or not one the actor may see. Invalid ``prefix.part_outside``.
    """
    seen = _Seen.by(work)
    if pool_id not in seen.nodes:
        raise NotFound("prefix.block_unknown")
    block = seen.block(pool_id)
    here = within or block.node.prefix
    if not here.subnet_of(block.node.prefix) or here.prefixlen > 64 or (within and not block.node.hands_out):
        raise Invalid([Problem("prefix.part_outside", "at", params={"prefix": str(block.node.prefix)})])
    segments: tuple[Segment, ...] = ()
    more = False
    if block.node.hands_out:
        try:
            near = window(work.session, pool_id, here, cells=CELLS)
        except BadPrefix as error:  # the pool has gone elsewhere between two statements
            raise NotFound("prefix.block_unknown") from error
        cell_length, cells = near.cell_length, near.cells
        segments, more = tuple(_named(work, near.taken)), near.more
    else:
        far = overview(work.session, pool_id, CELLS)
        cell_length, cells = far.cell_length, far.cells
    children = [node for node in seen.nodes.values() if node.parent_id == pool_id]
    return Map(
        block=block,
        above=tuple(seen.above(pool_id)),
        within=here,
        cell_length=cell_length,
        cells=cells,
        children=tuple(seen.block(node.id) for node in sorted(children, key=lambda n: n.prefix)),
        levels=tuple(_levels(seen.below(pool_id))),
        segments=segments,
        more_segments=more,
    )


def network(text: str) -> IPv6Network | None:
    """A prefix as it was typed; None when nothing was. Raises Invalid ``prefix.part_outside``."""
    try:
        return IPv6Network(text) if text else None
    except ValueError as error:
        raise Invalid([Problem("prefix.part_outside", "at", params={"prefix": "—"})]) from error


@dataclass(frozen=True, slots=True)
class _Seen:
    """The part of the plan that an actor may see, with the units it belongs to."""

    nodes: Mapping[UUID, PlanNode]
    units: Mapping[UUID, tuple[UUID, str, bool]]
    """Of each pool that a unit explains: the unit's id and name, and whether it is its own."""

    @classmethod
    def by(cls, work: Work) -> _Seen:
        rows = work.session.execute(
            select(Unit.id, UnitPeriod.name)
            .join(UnitPeriod, UnitPeriod.unit_id == Unit.id)
            .where(UnitPeriod.during.contains(work.now), *([] if _all(work) else [may_see(work)]))
        ).all()
        units: dict[UUID, tuple[UUID, str, bool]] = {}
        for unit_id, name in rows:
            for zone in Zone:
                units[block_pool_id(unit_id, zone.value)] = (unit_id, name, False)
                units[own_pool_id(unit_id, zone.value)] = (unit_id, name, True)
        plan = ipv6.plan(work.session)
        if _all(work):
            return cls({node.id: node for node in plan}, units)
        nodes: dict[UUID, PlanNode] = {}
        for node in plan:  # parents first: what lies below a unit's block is the unit's too
            if node.id in units or node.parent_id in nodes:
                nodes[node.id] = node
        return cls(nodes, units)

    def block(self, pool_id: UUID) -> Block:
        unit_id, name, own = self.units.get(pool_id, (None, "", False))
        return Block(self.nodes[pool_id], unit_id, name, own)

    def blocks(self) -> Iterable[Block]:
        order = list(Zone)
        for node in sorted(
            self.nodes.values(), key=lambda n: (order.index(n.zone), n.routing_domain, n.depth, n.prefix)
        ):
            yield self.block(node.id)

    def above(self, pool_id: UUID) -> list[Block]:
        way: list[Block] = []
        at = self.nodes[pool_id].parent_id
        while at is not None and at in self.nodes:
            way.insert(0, self.block(at))
            at = self.nodes[at].parent_id
        return way

    def below(self, pool_id: UUID) -> list[PlanNode]:
        inside = {pool_id}
        out = []
        for node in sorted(self.nodes.values(), key=lambda n: n.depth):
            if node.parent_id in inside:
                inside.add(node.id)
                out.append(node)
        return out


def _all(work: Work) -> bool:
    """Whether the actor sees the whole plan: everybody's, or as operator of a cloud."""
    if work.actor.sees_everything or Role.CLOUD_OPERATOR in work.actor.roles:
        return True
    root = select(func.count()).select_from(UnitPeriod).where(UnitPeriod.during.contains(work.now), ~may_see(work))
    return work.session.scalar(root) == 0


def _levels(nodes: Sequence[PlanNode]) -> Iterable[Level]:
    """In the order of the plan's levels; one that it does not name comes last."""
    by_level: defaultdict[str, list[PlanNode]] = defaultdict(list)
    for node in nodes:
        by_level[node.level].append(node)
    order = [level.value for level in PlanLevel]
    for level in sorted(by_level, key=lambda name: (order.index(name) if name in order else len(order), name)):
        found = by_level[level]
        sums = (sum(n.size_64 for n in found), sum(n.live for n in found), sum(n.live_64 for n in found))
        yield Level(level, len(found), *sums)


def _named(work: Work, taken: Sequence[Taken]) -> Iterable[Segment]:
    """Prefixes with the resources they were given to. One statement."""
    rows = work.session.execute(
        select(Resource.id, Resource.number, Resource.name, UnitPeriod.name.label("unit_name"))
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == Resource.unit_id) & UnitPeriod.during.contains(work.now))
        .where(Resource.id.in_([each.owner for each in taken]))
    )
    known = {row.id: row for row in rows}
    for each in taken:
        row = known.get(each.owner)
        if row is None:
            yield Segment(each, None, "", "", "")
        else:
            yield Segment(each, row.id, row.number, row.name, row.unit_name or "")
