"""Parts a case in two: what the shares have no room for yet waits in a case of its own, what runs leaves what is lost.

Called by: the steps of a case. Must not: decide which; tell anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import inspect, select, update

from broker.db.base import new_id
from broker.inventory.models import Resource, ServerSnapshot
from broker.lifecycle import CaseState
from broker.reclamation import history
from broker.reclamation.models import CaseResource, ReclaimCase
from broker.tenancy.work import Work

_ITS_OWN = {
    "id", "number", "split_from", "state", "version", "run", "ordered_at", "waits_for", "look_at",
    "admitted_at", "share_unit_percent", "share_cloud_percent", "trouble", "trouble_step",
}  # fmt: skip
"""Columns that a part does not take over. All others are facts of both: the notice, its window, the hearing."""
_ORDER = {"server": 0, "volume": 1}
"""Segments last: others stand on them."""


def things(resources: Sequence[Resource]) -> list[list[Resource]]:
    """A case's resources as they can be taken apart: each server with its disks, each other thing by itself."""
    ours = {r.id for r in resources}
    disks = defaultdict[UUID, list[Resource]](list)
    heads = []
    for resource in resources:
        if resource.server_id in ours and resource.server_id is not None:
            disks[resource.server_id].append(resource)
        else:
            heads.append(resource)
    heads.sort(key=lambda r: (_ORDER.get(r.kind, 2), r.id))
    return [[head, *disks[head.id]] for head in heads]


def free_disks(work: Work, ids: Collection[UUID], servers: Collection[UUID]) -> None:
    """Disks among these stay when their servers are gone: they hang on nothing then."""
    disks = update(Resource).where(Resource.id.in_(ids), Resource.server_id.in_(servers))
    work.session.execute(disks.values(server_id=None))


def part(work: Work, case: ReclaimCase, ids: Collection[UUID], state: CaseState) -> ReclaimCase:
    """A case of its own for some of a case's resources and their snapshots, heard as the first one was."""
    work.session.flush()
    columns = inspect(ReclaimCase).column_attrs
    kept = {c.key: getattr(case, c.key) for c in columns if c.key not in _ITS_OWN}
    made = ReclaimCase(id=new_id(), split_from=case.split_from or case.id, state=state.value, **kept)
    work.session.add(made)
    work.session.flush()
    moved = update(CaseResource).where(CaseResource.case_id == case.id, CaseResource.resource_id.in_(ids))
    work.session.execute(moved.values(case_id=made.id))
    images = update(ServerSnapshot).where(ServerSnapshot.subject_id == case.id, ServerSnapshot.resource_id.in_(ids))
    work.session.execute(images.values(subject_id=made.id))
    numbers = "、".join(work.session.scalars(select(Resource.number).where(Resource.id.in_(ids)).order_by(Resource.id)))
    history.write(work, case, "split", note=f"{made.number}：{numbers}")
    history.write(work, made, "split", note=f"{case.number}：{numbers}")
    return made
