"""What is left for a node, by which limit; who shares it; a cloud's stock; holds as they stand. Reads only.

Called by: the broker's form, decision, assessment and placement, its pages and command line. Must not: decide what fits
(``quotas.rules`` explains over a snapshot, the SQL of ``quotas.service`` decides). Whole trees: ``quotas.overview``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from quotas import models, rules
from quotas.values import Cohort, HeldLine, Hold, HoldState, Left, Limit, ResourceClass, Snapshot, Stock


def holds(session: Session, *, hold_ids: Iterable[UUID] = (), owners: Iterable[UUID] = ()) -> list[Hold]:
    """Holds by id or by owner, oldest first, each with its lines. Unknown ids are left out."""
    h, line = models.hold, models.hold_line
    rows = session.execute(
        select(h, line)
        .join_from(h, line, line.c.hold_id == h.c.id)
        .where(h.c.id.in_(list(hold_ids)) | h.c.owner.in_(list(owners)))
        .order_by(h.c.created_at, h.c.id, line.c.pool_id, line.c.resource_class)
    ).all()
    lines: defaultdict[UUID, list[HeldLine]] = defaultdict(list)
    for row in rows:
        held = HeldLine(
            ResourceClass(row.resource_class), row.pool_id, row.amount, row.posted, row.voided, row.released
        )
        lines[row.id].append(held)
    heads = {row.id: row for row in rows}
    return [
        Hold(id, head.owner, head.node_id, HoldState(head.state), head.expires_at, tuple(lines[id]))
        for id, head in heads.items()  # noqa: A001 - a hold's id
    ]


def lowest(session: Session, node_ids: Sequence[UUID | None]) -> UUID | None:
    """The first of the ids that is a node, for what may have a node of its own. None: none of them is."""
    wanted = [each for each in node_ids if each is not None]
    found = set(session.scalars(select(models.node.c.id).where(models.node.c.id.in_(wanted))))
    return next((each for each in wanted if each in found), None)


def snapshot(session: Session, node_id: UUID, pool_ids: Iterable[UUID] = ()) -> Snapshot:
    """The finite limits from the node to the root and the stock of the pools, for ``quotas.rules``."""
    n, m = models.node, models.node_limit
    way = select(func.unnest(n.c.path).label("id")).where(n.c.id == node_id).subquery()
    found = session.execute(
        select(m, n.c.depth)
        .join(way, way.c.id == m.c.node_id)
        .join(n, n.c.id == m.c.node_id)
        .order_by(n.c.depth.desc(), m.c.resource_class.collate("C"), m.c.pool_id.nulls_first())
    )
    limits = tuple(limit_of(row) for row in found)
    stock = pool_left(session, pool_ids)
    return Snapshot(limits, tuple(s for pool in stock.values() for s in pool.values()))


def limit_of(row: Row[Any]) -> Limit:
    """A row of ``node_limit`` as a value."""
    return Limit(
        row.node_id,
        ResourceClass(row.resource_class),
        row.pool_id,
        row.limit_amount,
        row.used,
        borrowing=row.borrowing_limit,
        lending=row.lending_limit,
        booked=row.booked,
    )


def left(session: Session, node_id: UUID, pool_id: UUID | None = None) -> list[Left]:
    """What a node may still ask for: of each class that the pool offers or, without a pool, of every class."""
    seen = snapshot(session, node_id, [] if pool_id is None else [pool_id])
    n, h, line = models.node, models.hold, models.hold_line
    rows = session.execute(
        select(line.c.resource_class, func.sum(line.c.amount - line.c.voided - line.c.released))
        .join(h, h.c.id == line.c.hold_id)
        .join(n, n.c.id == h.c.node_id)
        .where(n.c.path.contains([node_id]), *([] if pool_id is None else [line.c.pool_id == pool_id]))
        .group_by(line.c.resource_class)
    )
    used: defaultdict[ResourceClass, int] = defaultdict(int)
    for code, amount in rows:
        for kind in ResourceClass(code).counted_as:
            used[kind] += int(amount)
    classes = list(ResourceClass) if pool_id is None else [s.resource_class for s in seen.stock]
    return [rules.left_of(seen, node_id, kind, pool_id, used=used[kind]) for kind in classes]


def cohort(
    session: Session, node_id: UUID, resource_class: ResourceClass, pool_id: UUID | None = None
) -> Cohort | None:
    """The node's limit and those that share it, for ``quotas.borrowing``. None: the node has no such limit."""
    n, m = models.node, models.node_limit
    rows = session.execute(
        select(m, n.c.path)
        .join(n, n.c.id == m.c.node_id)
        .where(
            n.c.path.contains([node_id]),
            m.c.resource_class == ResourceClass(resource_class).value,
            m.c.pool_id.is_not_distinct_from(pool_id),
        )
        .order_by(m.c.node_id)
    ).all()
    limited = {row.node_id for row in rows}
    if node_id not in limited:
        return None
    nearest = {row.node_id: next((at for at in row.path[1:] if at in limited), None) for row in rows}
    return Cohort(
        parent=next(limit_of(row) for row in rows if row.node_id == node_id),
        members=tuple(limit_of(row) for row in rows if nearest[row.node_id] == node_id),
    )


def pool_left(session: Session, pool_ids: Iterable[UUID]) -> dict[UUID, dict[ResourceClass, Stock]]:
    """The stock of several pools in one statement, for placement. A pool that offers nothing has an empty entry."""
    i = models.inventory
    wanted = list(pool_ids)
    found: dict[UUID, dict[ResourceClass, Stock]] = {pool: {} for pool in wanted}
    if not wanted:
        return found
    for row in session.execute(select(i).where(i.c.pool_id.in_(wanted)).order_by(i.c.pool_id, i.c.resource_class)):
        kind = ResourceClass(row.resource_class)
        found[row.pool_id][kind] = Stock(
            row.pool_id, kind, row.total, row.reserved, row.allocation_ratio, row.step, row.capacity, row.used
        )
    return found
