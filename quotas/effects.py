"""What a change of limits does to everybody who shares them: who is over, who has less room than before. Reads only.

Called by: the broker, before and after it sets limits in one transaction, or instead of it (``would_be``: nobody waits
for a look). Must not: decide or set anything; the arithmetic is ``quotas.rules``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quotas import models, rules
from quotas.availability import limit_of
from quotas.errors import UnknownNode
from quotas.values import ENDLESS, Limit, ResourceClass


@dataclass(frozen=True, slots=True)
class Standing:
    """A limit and what it still lets pass, with all limits above it; ``room`` below zero: over."""

    limit: Limit
    room: int

    @property
    def over(self) -> int:
        """What is used (or guaranteed below) beyond the ceiling."""
        return max(0, self.limit.load - self.limit.ceiling)


@dataclass(frozen=True, slots=True)
class Effect:
    """A node whose limit is over now, or leaves less than before. ``was`` None: it had no limit of its own."""

    node: UUID
    was: Standing | None
    now: Standing

    @property
    def borrowed(self) -> int:
        """What it uses of others' shares: beyond its own, as far as it may."""
        return max(0, min(self.now.limit.load, self.now.limit.ceiling) - self.now.limit.limit)

    @property
    def lost(self) -> int | None:
        """How much less room there is; None: it was without a limit, or without an end."""
        if self.was is None or self.was.room >= ENDLESS // 2:
            return None
        return max(self.was.room, 0) - max(self.now.room, 0)


Limits = dict[UUID, tuple[Limit, list[UUID]]]
"""The limits of one class and pool in a tree, each with the way from its node (first) to the root."""


def standings(
    session: Session, node_id: UUID, resource_class: ResourceClass, pool_id: UUID | None
) -> dict[UUID, Standing]:
    """Every limit of that class and pool in the node's tree: whoever a change there can touch. One statement."""
    limits = _limits(session, node_id, resource_class, pool_id)
    return _standing({at: limit for at, (limit, _) in limits.items()}, {at: way for at, (_, way) in limits.items()})


def would_be(
    session: Session,
    node_id: UUID,
    resource_class: ResourceClass,
    pool_id: UUID | None,
    limit: int | None,
    *,
    borrowing: int | None = 0,
    lending: int | None = None,
) -> tuple[dict[UUID, Standing], dict[UUID, Standing]]:
    """The standings as they are, and as ``set_limit`` of the same would leave them; locks nothing, two statements.

    Raises NoLender and NotCovered as that does, UnknownNode. Others count meanwhile: by the time it is set, usage may
    be other.
    """
    way, used = _way_and_use(session, node_id, resource_class, pool_id)
    limits = _limits(session, node_id, resource_class, pool_id)
    if node_id in limits:
        used = limits[node_id][0].used
    kind = ResourceClass(resource_class)
    new = None if limit is None else Limit(node_id, kind, pool_id, limit, used, borrowing=borrowing, lending=lending)
    ways = {at: way for at, (_, way) in limits.items()}
    before = _standing({at: kept for at, (kept, _) in limits.items()}, ways)
    return before, _standing(rules.changed(limits, node_id, way, new), ways | {node_id: way})


def _standing(limits: Mapping[UUID, Limit], ways: Mapping[UUID, Sequence[UUID]]) -> dict[UUID, Standing]:
    return {
        node: Standing(limit, rules.room([limits[at] for at in ways[node] if at in limits])[0])
        for node, limit in limits.items()
    }


def _way_and_use(
    session: Session, node_id: UUID, resource_class: ResourceClass, pool_id: UUID | None
) -> tuple[list[UUID], int]:
    """The node's way to the root, and what it and all below it use: where no limit stands, no counter does."""
    n, h, line = models.node, models.hold, models.hold_line
    below = n.alias("below")
    kinds = [kind.value for kind in ResourceClass if resource_class in kind.counted_as]
    use = (
        select(func.coalesce(func.sum(line.c.amount - line.c.voided - line.c.released), 0))
        .select_from(line.join(h, h.c.id == line.c.hold_id).join(below, below.c.id == h.c.node_id))
        .where(below.c.path.contains([node_id]), line.c.resource_class.in_(kinds))
        .where(*([] if pool_id is None else [line.c.pool_id == pool_id]))
    )
    row = session.execute(select(n.c.path, use.scalar_subquery().label("used")).where(n.c.id == node_id)).first()
    if row is None:
        raise UnknownNode(str(node_id))
    return list(row.path), int(row.used)


def _limits(session: Session, node_id: UUID, resource_class: ResourceClass, pool_id: UUID | None) -> Limits:
    n, m = models.node, models.node_limit
    root = select(n.c.path[n.c.depth + 1]).where(n.c.id == node_id).scalar_subquery()
    rows = session.execute(
        select(m, n.c.path)
        .join(n, n.c.id == m.c.node_id)
        .where(
            n.c.path[n.c.depth + 1] == root,
            m.c.resource_class == ResourceClass(resource_class).value,
            m.c.pool_id.is_not_distinct_from(pool_id),
        )
    ).all()
    return {row.node_id: (limit_of(row), list(row.path)) for row in rows}


def compared(before: Mapping[UUID, Standing], after: Mapping[UUID, Standing]) -> list[Effect]:
    """Who is over now, and who lost room, the worst first. Whoever was over as much before is left out."""
    found = []
    for node, now in after.items():
        was = before.get(node)
        effect = Effect(node, was, now)
        if now.over > (was.over if was else 0) or (was is not None and (effect.lost is None or effect.lost > 0)):
            if was is not None and was.room == now.room and was.over == now.over:
                continue
            found.append(effect)
    return sorted(found, key=lambda e: (-e.now.over, -(e.lost or 0), e.node))
