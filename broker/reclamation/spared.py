"""What a case takes back, and what is spared of it when a release finds it in use.

Called by: the steps of a case. Must not: call a cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import CaseEvent, CaseState, ResourceState
from broker.reclamation import history, lost, parting
from broker.reclamation import started as outside
from broker.reclamation.look_again import InCloud
from broker.reclamation.models import CaseResource, ReclaimCase
from broker.tenancy.work import Work


def resources_of(work: Work, case_id: UUID) -> Sequence[Resource]:
    """What a case takes back."""
    statement = (
        select(Resource)
        .join(CaseResource, CaseResource.resource_id == Resource.id)
        .where(CaseResource.case_id == case_id)
        .order_by(Resource.id)
    )
    return work.session.scalars(statement).all()


def spared(work: Work, case: ReclaimCase, used: Sequence[str], found: InCloud) -> bool:
    """Whether something is in use: then nothing is deleted, the confirmation is void, and what runs is charged for."""
    if not used or not keep(work, case, found):
        return False
    history.go(work, case, CaseEvent.FIND_IN_USE, note="、".join(used))
    case.proposed_by = case.proposed_at = case.confirmed_by = case.confirmed_at = None
    case.waits_for = "in_use"
    history.tell_operators(work, case, "reclaim.running_again", resources="、".join(used))
    outside.running(work, sorted(found.running))
    return True


def keep(work: Work, case: ReclaimCase, found: InCloud) -> bool:
    """What is there stays, metered; what was deleted by then goes in a case of its own. Whether anything is left."""
    ours = resources_of(work, case.id)
    going = [r for r in ours if r.state == ResourceState.RELEASING.value]
    deleted = [r.id for r in going if r.id not in found.there and r.error_code != inventory.LOST]
    if len(deleted) == len(ours):
        return False
    if deleted:
        parting.free_disks(work, [r.id for r in ours if r.id not in deleted], deleted)
        history.order(work, parting.part(work, case, deleted, CaseState.RELEASING))
    lost.found(work, found.there.intersection(r.id for r in going))
    return True
