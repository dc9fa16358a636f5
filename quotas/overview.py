"""What stands behind a page: limits and use over a part of the tree, and what of a pool is in use. Reads only.

Called by: the broker's ``scarcity``. Must not: decide what fits (``quotas.rules`` explains, the SQL decides).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quotas import models
from quotas.values import ResourceClass


@dataclass(frozen=True, slots=True)
class Use:
    """What is counted: posted and not released (``in_use``), and held but not posted yet (``held``)."""

    in_use: int = 0
    held: int = 0

    @property
    def counted(self) -> int:
        """What limits and stock are measured against."""
        return self.in_use + self.held

    def __add__(self, other: Use) -> Use:
        return Use(self.in_use + other.in_use, self.held + other.held)


Uses = dict[tuple[ResourceClass, UUID | None], Use]
"""By class and pool; pool None: over all pools. A line also counts in the wider class (``counted_as``)."""


def _sums() -> tuple[object, object]:
    line = models.hold_line.c
    return func.sum(line.posted - line.released), func.sum(line.amount - line.posted - line.voided)


def _put(uses: Uses, code: str, pool: UUID, use: Use) -> None:
    for kind in ResourceClass(code).counted_as:
        for key in ((kind, pool), (kind, None)):
            uses[key] = uses.get(key, Use()) + use


def branches(session: Session, node_id: UUID) -> dict[UUID, Uses]:
    """Of the node and of each of its children: what it and everything below it use. One statement.

    A branch that uses nothing is left out.
    """
    n, hold, line = models.node.c, models.hold.c, models.hold_line.c
    here = select(n.depth).where(n.id == node_id).scalar_subquery()
    # A path runs from its node to the root: the child of ``node_id`` on it stands just before ``node_id``.
    child = n.path[func.cardinality(n.path) - here - 1].label("child")
    rows = session.execute(
        select(child, line.resource_class, line.pool_id, *_sums())  # type: ignore[call-overload]
        .select_from(models.hold_line)
        .join(models.hold, hold.id == line.hold_id)
        .join(models.node, n.id == hold.node_id)
        .where(n.path.contains([node_id]))
        .group_by(child, line.resource_class, line.pool_id)
    )
    found: defaultdict[UUID, Uses] = defaultdict(dict)
    for branch, code, pool, in_use, held in rows:
        use = Use(int(in_use), int(held))
        if use.counted:
            _put(found[node_id], code, pool, use)
            if branch is not None:
                _put(found[branch], code, pool, use)
    return dict(found)


@dataclass(frozen=True, slots=True)
class Standing:
    """A finite limit where it stands. ``pool`` None: over all pools together."""

    node: UUID
    resource_class: ResourceClass
    pool: UUID | None
    limit: int


def limits_on(session: Session, node_ids: Iterable[UUID]) -> list[Standing]:
    """The finite limits that stand on these very nodes (not those above them), by node, class and pool."""
    m = models.node_limit.c
    rows = session.execute(
        select(m.node_id, m.resource_class, m.pool_id, m.limit_amount)
        .where(m.node_id.in_(list(node_ids)))
        .order_by(m.node_id, m.resource_class.collate("C"), m.pool_id.nulls_first())
    )
    return [Standing(row.node_id, ResourceClass(row.resource_class), row.pool_id, row.limit_amount) for row in rows]


def pool_use(session: Session, pool_ids: Iterable[UUID]) -> dict[UUID, dict[ResourceClass, Use]]:
    """Of each pool and class that a line names: what is in use and what is only held. One statement."""
    line = models.hold_line.c
    wanted = list(pool_ids)
    found: dict[UUID, dict[ResourceClass, Use]] = {pool: {} for pool in wanted}
    rows = session.execute(
        select(line.pool_id, line.resource_class, *_sums())  # type: ignore[call-overload]
        .where(line.pool_id.in_(wanted))
        .group_by(line.pool_id, line.resource_class)
    )
    for pool, code, in_use, held in rows:
        found[pool][ResourceClass(code)] = Use(int(in_use), int(held))
    return found
