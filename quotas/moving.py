"""What goes elsewhere in the tree: a node with all below it, or holds to another node. Nothing used is lost on the way.

Called by: the broker when units and systems are reorganised, with a session whose transaction is theirs. Must not:
commit, know units or systems, count in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from quotas import order
from quotas.errors import HoldBusy, NodeInside, NotCovered, TooDeep, UnknownNode
from quotas.service import granted, refusal
from quotas.values import Refusal

MOVE_NODE = text("SELECT quotas.move_node(:id, :parent, :how)")
MOVE_HOLDS = text("SELECT quotas.move_holds(CAST(:holds AS uuid[]), :node)")

ALONE = text("SELECT quotas.reshape_alone()")

How = Literal["within", "over", "look"]


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
    (only growth is refused from then on); "look" what "over" would do, nothing done. UnknownNode (or parent),
    NodeInside, TooDeep; NotCovered: a limit that would be over has a guarantee below it, however it is asked. As
    ``alone``.
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
