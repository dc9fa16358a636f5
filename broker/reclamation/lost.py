"""Servers of a case that their cloud does not have any more: not charged for from then on, and no case hangs on them.

Called by: the steps of a case. Must not: call a cloud, or release anything: that takes two people, as ever.

What is lost may turn up again: it is metered as if it had never been missing then (``found``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import select, update

from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import CaseEvent, CaseState, ResourceState
from broker.metering import service as metering
from broker.reclamation import history, parting
from broker.reclamation.models import ReclaimCase
from broker.reclamation.power import NOT_FOUND
from broker.tenancy.work import Work

LOST = "resource.lost"
"""Stands with a resource from the look that missed it until it is found, or released by two people."""


def among(stuck: Mapping[UUID, str]) -> set[UUID]:
    """Of what could not be switched the servers that are not there."""
    return {server_id for server_id, code in stuck.items() if code == NOT_FOUND}


def found(work: Work, ids: Collection[UUID]) -> None:
    """These are there."""
    inventory.keep(work, ids)


def mark(work: Work, case: ReclaimCase, ids: Collection[UUID]) -> None:
    """These are not: their metering ends with this look; owner and operators are told once."""
    news = inventory.move(work, ids, ResourceState.RELEASING, error_code=LOST)
    if not news:
        return
    metering.end(work, news)
    named = select(Resource.number).where(Resource.id.in_(news)).order_by(Resource.id)
    numbers = "、".join(work.session.scalars(named))
    history.write(work, case, "miss", note=numbers)
    history.tell_owner(work, case, "reclaim.lost", resources=numbers)
    history.tell_operators(work, case, "reclaim.lost", resources=numbers)


def leave_behind(work: Work, case: ReclaimCase, ids: Collection[UUID], others: Sequence[UUID]) -> None:
    """What is lost cannot be started: the rest goes on in a case of its own, and this one is back to its suspension.

    There two people may release what is lost, at once: nothing of it is kept. Disks of a lost server stay the owner's.
    """
    if others:
        free = update(Resource).where(Resource.id.in_(others), Resource.server_id.in_(ids))
        work.session.execute(free.values(server_id=None))
        history.order(work, parting.part(work, case, others, CaseState.RESUMING))
    case.ending = None
    case.suspended_at = case.suspended_at or work.now
    case.keep_until = work.now
    history.go(work, case, CaseEvent.LOSE)
