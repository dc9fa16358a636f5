"""Units that moved in the tree or were merged into another: from their day on, what belongs to them follows.

Called by: dispatch, now and then. Must not: change the tree (the region file does), or move a node of the quota tree
that an operator has put elsewhere.

A change of the tree is a row with a date (``unit_period``); ``followed_at`` says that all has followed. What cannot yet
(something is being delivered, a guarantee is in the way) waits for the next look: the change is a fact all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import select, text

from broker.catalog import repository as catalog
from broker.dedicated import register as networks
from broker.errors import BrokerError
from broker.inventory import nodes, owners, register_move
from broker.inventory.models import InformationSystem
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.reorganisation import following
from broker.tenancy.models import UnitPeriod
from broker.tenancy.repository import unit_names
from broker.tenancy.work import Work, WorkFactory
from quotas import models, moving
from quotas.errors import QuotaError

log = structlog.get_logger(__name__)

REASON = "单位合并"
"""Why a system goes elsewhere, in the audit log and the register: its unit was merged into another."""

_BEGUN = text("""
SELECT p.id, p.unit_id, p.parent_id, b.parent_id AS before, p.merged_into_id
FROM broker.unit_period p
LEFT JOIN broker.unit_period b ON b.unit_id = p.unit_id AND upper(b.during) = lower(p.during)
WHERE p.followed_at IS NULL AND lower(p.during) <= :now
  AND (p.merged_into_id IS NOT NULL OR b.parent_id <> p.parent_id)
ORDER BY lower(p.during), p.id
""")

_IN_USE = select(InformationSystem.id).where(InformationSystem.retired_at.is_(None)).order_by(InformationSystem.id)


@dataclass(frozen=True, slots=True)
class Change:
    """From a day on a unit stands below another parent than ``before``; ``into``: it was merged into that one."""

    id: UUID
    unit: UUID
    parent: UUID
    before: UUID | None
    into: UUID | None


def come(works: WorkFactory) -> int:
    """Let everything follow that can; how many changes of the tree are done with."""
    with works.begin() as work:
        begun = [Change(*row) for row in work.session.execute(_BEGUN, {"now": work.now})]
    return sum(_follow(works, change) for change in begun)


def _follow(works: WorkFactory, change: Change) -> bool:
    """Each part in a transaction of its own: one that has to wait holds up no other."""
    parts: list[Callable[[Work], None]] = [partial(_node, change)]
    if change.into is not None:
        with works.begin() as work:
            systems = list(work.session.scalars(_IN_USE.where(InformationSystem.unit_id == change.unit)))
        parts += [partial(_system, change, each) for each in systems]
        parts.append(partial(_rest, change))
    refused = [error for part in parts if (error := _refused(works, part)) is not None]
    with works.begin() as work:
        if refused:
            _tell(work, change, refused[0])
        else:
            work.session.get_one(UnitPeriod, change.id, with_for_update=True).followed_at = work.now
    return not refused


def _refused(works: WorkFactory, part: Callable[[Work], None]) -> BrokerError | None:
    try:
        with works.begin() as work:
            part(work)
    except BrokerError as error:
        return error
    return None


def _node(change: Change, work: Work) -> None:
    """The unit's quota goes below its new parent's, over limits if need be; from then on only growth is refused.

    Where an operator has put the node elsewhere than below the old parent, it stays.
    """
    at = work.session.scalar(select(models.node.c.parent_id).where(models.node.c.id == change.unit))
    if at is None or at != change.before or at == change.parent:
        return
    try:
        moved = moving.node(work.session, change.unit, change.parent, how="over")
    except QuotaError as error:
        raise nodes.refused(work, change.parent, error) from error
    data = {"below": str(change.parent), "nodes": moved.nodes, "over": nodes.over(moved)}
    work.record("quota.node_moved", "node", change.unit, data=data)


def _system(change: Change, system_id: UUID, work: Work) -> None:
    """A system of a unit that was merged is the other unit's, with all it has. Raises as ``following.follow``."""
    assert change.into is not None
    system = work.session.get_one(
        InformationSystem, system_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if system.retired_at is None and system.unit_id == change.unit:
        register_move.take(work, system, change.into, reason=REASON)
        following.follow(work, [(system, change.unit)])


def _rest(change: Change, work: Work) -> None:
    """What the unit had beside its own systems: resources without one or for another's, requests, networks."""
    assert change.into is not None
    what = owners.lock_of_unit(work, change.unit)
    nodes.up(work, change.unit, change.into, what.holds)
    owners.hand_over(work, what, change.into)
    following.follow_unit(work, change.unit, change.into)
    networks.pass_on(work, change.unit, change.into)


def _tell(work: Work, change: Change, error: BrokerError) -> None:
    """The Bureau, once for each reason: what of a unit that moved could not follow it yet, and why."""
    bureau = catalog.main_authority(work.session, "decide", work.now)
    problem = error.problems[0]
    log.warning("a unit's change waits", unit=str(change.unit), code=problem.code)
    names = unit_names(work.session, [change.unit], work.now)
    what = str(problem.params.get("what") or problem.params.get("case") or problem.params.get("node") or "")
    row = {
        "code": "unit.waits", "params": {"unit": names.get(change.unit, ""), "why": problem.code, "what": what},
        "subject_type": "unit", "subject_id": change.unit, "account_id": None, "unit_id": bureau,
        "role": Role.APPROVER.value, "dedupe": f"unit/{change.id}/{problem.code}/{what}",
    }  # fmt: skip
    notify.remind(work, [row])
