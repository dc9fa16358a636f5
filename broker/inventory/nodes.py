"""A system's node of the quota tree goes where the register says the system is.

Called by: the register, when systems move or merge (Art. 29). Must not: count (``quotas`` does), or refuse a merger
because a limit would be passed: what is over is named, and only growth is refused from then on.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select

from broker.errors import Conflict
from broker.inventory.models import InformationSystem
from broker.inventory.repository import node_names
from broker.tenancy.work import Work
from quotas import availability, models, moving, service
from quotas.errors import NotCovered, QuotaError, QuotaExceeded


def go(work: Work, system: InformationSystem, unit_id: UUID, holds: Collection[UUID]) -> None:
    """What is counted for a system that goes to another unit is counted there: its node, or (without one) its holds.

    Raises Conflict ``system.no_room`` (a limit of the new unit does not bear it) and as ``refused``.
    """
    try:
        if availability.lowest(work.session, [system.id]) is not None:
            moving.node(work.session, system.id, unit_id)
        elif holds:
            moving.holds(work.session, holds, unit_id)
    except QuotaError as error:
        raise refused(work, unit_id, error) from error


def follow(work: Work, system: InformationSystem, head: InformationSystem, holds: Collection[UUID]) -> None:
    """The node of a system that was merged goes below that of the one it was merged into, or else below its unit's.

    What is held and used for it is from then on counted there, exactly, with its own limits. A system without a node is
    given one if what it has is counted elsewhere than what the other has. Raises Conflict ``quota.not_covered_by`` (a
    guarantee below a limit that would be passed), ``quota.node_inside``, ``quota.too_deep``.
    """
    parent = availability.lowest(work.session, [head.id, head.unit_id])
    own = availability.lowest(work.session, [system.id]) is not None
    at = select(models.hold.c.node_id).where(models.hold.c.id.in_(holds)).distinct()
    places = [] if own else [node for node in work.session.scalars(at) if node != parent]
    if parent is None or not (own or places):
        return
    moving.alone(work.session)
    try:
        if not own:
            service.add_node(work.session, id=system.id, parent_id=places[0] if len(places) == 1 else system.unit_id)
            moving.holds(work.session, holds, system.id)
        moved = moving.node(work.session, system.id, parent, how="over")
    except QuotaError as error:
        raise refused(work, parent, error) from error
    if moved.nodes:
        data = {"below": str(parent), "over": over(moved)}
        work.record("quota.node_moved", "system", system.id, article="Art. 29", data=data)


def up(work: Work, unit_id: UUID, into: UUID, holds: Collection[UUID]) -> None:
    """What is counted at a unit itself is counted at the one above it, into which it was merged: it was there already.

    Raises as ``refused``.
    """
    own = models.hold.c.id.in_(holds) & (models.hold.c.node_id == unit_id)
    at_unit = work.session.scalars(select(models.hold.c.id).where(own)).all()
    try:
        if at_unit:
            moving.holds(work.session, at_unit, into)
    except QuotaError as error:
        raise refused(work, into, error) from error


def over(moved: moving.MovedNode) -> list[dict[str, object]]:
    """What is over after a node moved, as an event says it."""
    return [
        {"node": str(r.node), "class": r.resource_class.value, "over": r.used + r.asked - r.limit} for r in moved.over
    ]


def refused(work: Work, parent: UUID, error: QuotaError) -> Conflict:
    """Why a system's node cannot go below ``parent``, in the register's words: each reason under its own code."""
    if isinstance(error, QuotaExceeded):
        return Conflict("system.no_room")
    if isinstance(error, NotCovered):
        called = node_names(work.session, [error.node], work.now).get(error.node, str(error.node))
        return Conflict("quota.not_covered_by", owner=called, limit=error.limit, needed=error.needed)
    called = node_names(work.session, [parent], work.now).get(parent, str(parent))
    return Conflict(error.code, node=called)
