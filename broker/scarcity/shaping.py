"""The Bureau gives an information system a node of its own, and puts nodes below others; looked at first, then done.

Called by: the API and the console. Must not: count (``quotas`` does), or let anybody but the Bureau decide (who sets
limits says where they stand: ours, from 统筹). By hand, on the machine itself: ``scarcity.by_hand``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from broker.catalog import repository as catalog
from broker.errors import BrokerError, Busy, Conflict, Invalid, Problem
from broker.inventory import rules as scarce
from broker.inventory.models import InformationSystem
from broker.inventory.repository import node_names, system_id_of
from broker.scarcity import by_hand, setting
from broker.scarcity.by_hand import Hand
from broker.tenancy.work import Work
from quotas import models, moving
from quotas.errors import HoldBusy, NotCovered, QuotaError, QuotaExceeded
from quotas.moving import How, MovedNode

MOST_SYSTEMS = 200


@dataclass(frozen=True, slots=True)
class Given:
    """A system's node, and how many holds have moved there."""

    node: UUID
    moved_holds: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What went elsewhere (or would), what is over there now, and how everybody in it is called."""

    found: MovedNode
    names: Mapping[UUID, str]


def give(work: Work, system: str, *, reason: str) -> Given:
    """As ``by_hand.give_node``, for a system's code.

    Raises Forbidden unless the actor decides for the Bureau; NotFound ``system.unknown``; Invalid ``reason.missing``;
    Conflict as ``move``; Busy ``hold.busy``. In a transaction of its own: nobody counts meanwhile.
    """
    hand = _hand(work, reason)
    node = system_id_of(work.session, system)
    try:
        return Given(node, by_hand.give_node(work, hand, node))
    except QuotaError as error:
        raise _refused(work, error) from error


def move(work: Work, code: str, below: str, *, reason: str, over: bool = False) -> Moved:
    """Put a node with all below it below another; ``over``: also where it passes limits there (only growth is refused).

    Raises Forbidden unless the actor decides for the Bureau; NotFound ``quota.no_node_of_its_own``; Invalid
    (``unit.unknown``, ``reason.missing``); Conflict: ``quota.exceeded`` with every limit that refuses,
    ``quota.not_covered_by``, ``quota.node_inside``, ``quota.too_deep``. In a transaction of its own, as ``give``.
    """
    hand = _hand(work, reason)
    how: How = "over" if over else "within"
    return _move(work, code, below, lambda node, parent: by_hand.move_node(work, hand, node, parent, how=how))


def look(work: Work, code: str, below: str) -> Moved:
    """What ``move`` would put over its limits; locks nothing. Raises as that, but for ``quota.exceeded``."""
    setting.bureau(work)
    return _move(work, code, below, lambda node, parent: moving.look(work.session, node, parent))


def above(work: Work, node: UUID) -> list[str]:
    """What the nodes above are called, the root first."""
    way = work.session.scalar(select(models.node.c.path).where(models.node.c.id == node)) or [node]
    names = node_names(work.session, way[1:], work.now)
    return [names.get(each, str(each)) for each in reversed(way[1:])]


def without_node(session: Session, unit_id: UUID) -> list[InformationSystem]:
    """The unit's systems that are counted at the unit, by code; at most ``MOST_SYSTEMS``."""
    system, node = InformationSystem, models.node
    found = (
        select(system)
        .outerjoin(node, node.c.id == system.id)
        .where(system.unit_id == unit_id, system.retired_at.is_(None), node.c.id.is_(None))
        .order_by(system.code)
        .limit(MOST_SYSTEMS)
    )
    return list(session.scalars(found))


def _hand(work: Work, reason: str) -> Hand:
    by = setting.bureau(work)
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    return Hand(by.account_id, reason=reason.strip(), on_behalf_of=by.on_behalf_of)


def _move(work: Work, code: str, below: str, do: Callable[[UUID, UUID], MovedNode]) -> Moved:
    node, parent = (by_hand.node_of(work.session, each, now=work.now) for each in (code, below))
    try:
        found = do(node, parent)
    except QuotaError as error:
        raise _refused(work, error) from error
    names = node_names(work.session, {r.node for r in found.over if r.node is not None}, work.now)
    return Moved(found, names | catalog.names(work.session, (r.pool for r in found.over)))


def _refused(work: Work, error: QuotaError) -> BrokerError:
    if isinstance(error, HoldBusy):
        return Busy(error.code)
    if isinstance(error, NotCovered):
        called = node_names(work.session, [error.node], work.now).get(error.node, str(error.node))
        return Conflict("quota.not_covered_by", owner=called, limit=error.limit, needed=error.needed)
    conflict = Conflict(error.code, node=str(error))
    if isinstance(error, QuotaExceeded):
        names = node_names(work.session, {r.node for r in error.refusals if r.node is not None}, work.now)
        names |= catalog.names(work.session, (r.pool for r in error.refusals))
        conflict.problems = tuple(scarce.refused(refusal, names) for refusal in error.refusals)
    return conflict
