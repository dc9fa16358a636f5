"""What goes elsewhere in the tree: a node with all below it, or holds to another node. Nothing used is lost on the way.

Called by: the broker when units and systems are reorganised, with a session whose transaction is theirs. Must not:
commit, know units or systems, count in Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from quotas import models, order, rules
from quotas.availability import limit_of
from quotas.errors import HoldBusy, NodeInside, NotCovered, TooDeep, UnknownNode
from quotas.service import granted, refusal
from quotas.values import Refusal, ResourceClass

MOVE_NODE = text("SELECT quotas.move_node(:id, :parent, :how)")
MOVE_HOLDS = text("SELECT quotas.move_holds(CAST(:holds AS uuid[]), :node)")

ALONE = text("SELECT quotas.reshape_alone()")

How = Literal["within", "over"]

DEEPEST = 63
"""Of a node (``ck_node_depth``)."""


@dataclass(frozen=True, slots=True)
class MovedNode:
    """How many nodes moved (0: it was there), and what is over on the new way: ``asked`` is what came."""

    nodes: int
    over: tuple[Refusal, ...]


def alone(session: Session) -> None:
    """Nobody else makes or moves nodes, counts, pins or posts until this transaction ends: before several of that.

    OutOfOrder: something of ``quotas`` was locked before.
    """
    order.reshape(session)
    session.execute(ALONE)


def node(session: Session, node_id: UUID, parent_id: UUID, *, how: How = "within") -> MovedNode:
    """Put a node, with everything below it, below another parent; what it uses leaves the old way, comes to the new.

    ``how``: "within" what the limits of the new way allow, or QuotaExceeded; "over" them, and the answer says where
    (only growth is refused from then on). UnknownNode (or parent), NodeInside, TooDeep; NotCovered: a limit that would
    be over has a guarantee below it, however it is asked. As ``alone``.
    """
    order.reshape(session)
    answer: Mapping[str, Any] = session.scalars(MOVE_NODE, {"id": node_id, "parent": parent_id, "how": how}).one()
    match answer["outcome"]:
        case "no_parent":
            raise UnknownNode(str(parent_id))
        case "inside":
            raise NodeInside(str(node_id))
        case "too_deep":
            raise TooDeep(str(node_id))
        case "not_covered":
            raise NotCovered(UUID(answer["node_id"]), answer["limit"], answer["needed"])
    granted(answer, node_id, node_id)
    return MovedNode(nodes=answer["nodes"], over=tuple(refusal(found) for found in answer["over"]))


def look(session: Session, node_id: UUID, parent_id: UUID) -> MovedNode:
    """What ``node(..., how="over")`` would do; reads only, nobody waits for it. Raises as that, but for OutOfOrder.

    Four statements. Others count meanwhile: by the time it is moved, usage may be other.
    """
    n, m, h, line = models.node, models.node_limit, models.hold, models.hold_line
    there = {row.id: row for row in session.execute(select(n).where(n.c.id.in_([node_id, parent_id])))}
    for each in (node_id, parent_id):
        if each not in there:
            raise UnknownNode(str(each))
    old, new = list(there[node_id].path), list(there[parent_id].path)
    if node_id in new:
        raise NodeInside(str(node_id))
    if there[node_id].parent_id == parent_id:
        return MovedNode(0, ())
    below = n.c.path.contains([node_id])
    nodes, depth = session.execute(select(func.count(), func.max(n.c.depth)).where(below)).one()
    if depth - len(old) + len(new) + 1 > DEEPEST:
        raise TooDeep(str(node_id))
    use: Counter[tuple[ResourceClass, UUID]] = Counter()
    for code, pool, amount in session.execute(
        select(line.c.resource_class, line.c.pool_id, func.sum(line.c.amount - line.c.voided - line.c.released))
        .select_from(n.join(h, h.c.node_id == n.c.id).join(line, line.c.hold_id == h.c.id))
        .where(below)
        .group_by(line.c.resource_class, line.c.pool_id)
    ):
        for kind in ResourceClass(code).counted_as:
            use[kind, pool] += int(amount)
    ways = {*old, *new}
    limits = session.execute(
        select(m, n.c.path)
        .join(n, n.c.id == m.c.node_id)
        .where(n.c.path.overlap(list(ways)), or_(m.c.node_id.in_(ways), m.c.lending_limit < m.c.limit_amount))
        .order_by(m.c.id)
    )
    over = rules.moved([(limit_of(row), list(row.path)) for row in limits], use, old, new)
    return MovedNode(nodes, over)


def holds(session: Session, hold_ids: Iterable[UUID], node_id: UUID) -> int:
    """Count holds, with all that is held and posted of them, at another node, all or nothing; how many moved.

    Waits for all who count: in a transaction of its own. QuotaExceeded (a limit on the new way refuses), UnknownNode,
    HoldBusy (somebody has one of them locked without having passed the gate: try again).
    """
    order.set_counters(session)
    answer: Mapping[str, Any] = session.scalars(MOVE_HOLDS, {"holds": list(hold_ids), "node": node_id}).one()
    if answer["outcome"] == "busy":
        raise HoldBusy(str(node_id))
    granted(answer, node_id, node_id)
    return int(answer["moved"])
