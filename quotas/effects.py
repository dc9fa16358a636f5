"""What a change of limits does to everybody who shares them: who is over, who has less room than before. Reads only.

Called by: the broker, before and after it sets limits in one transaction (a preview rolls that back). Must not: decide
or set anything; the arithmetic is ``quotas.rules``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from quotas import models, rules
from quotas.availability import limit_of
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


def standings(
    session: Session, node_id: UUID, resource_class: ResourceClass, pool_id: UUID | None
) -> dict[UUID, Standing]:
    """Every limit of that class and pool in the node's tree: whoever a change there can touch. One statement."""
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
    limits = {row.node_id: limit_of(row) for row in rows}
    return {
        row.node_id: Standing(limits[row.node_id], rules.room([limits[at] for at in row.path if at in limits])[0])
        for row in rows
    }


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
