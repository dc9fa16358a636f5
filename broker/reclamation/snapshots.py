"""Images of suspended servers: planned as rows, ordered by the rows' ids, removed when the case ends.

Called by: the steps of a case. Must not: keep a transaction open across a call to a cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from sqlalchemy import ColumnElement, select, update

from broker.db.base import new_id
from broker.delivery.tools import Pace, Tools
from broker.inventory.models import Resource, ServerSnapshot
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import CaseJob
from broker.reclamation.waves import until
from broker.tenancy.work import Work
from providers.contract import Key, Kind, Provider, SnapshotSpec, Status
from providers.errors import ActionRequired, Permanent


@dataclass(frozen=True, slots=True)
class Image:
    """A row, and what it is asked for by."""

    id: UUID
    project_id: UUID
    server_id: UUID
    name: str

    @property
    def key(self) -> Key:
        return Key(Kind.SNAPSHOT, self.id, self.project_id)


def plan(work: Work, case: ReclaimCase, servers: Iterable[Resource]) -> list[Image]:
    """A row for each server that has none yet. Returns all that the case keeps."""
    there_are = set(work.session.scalars(select(ServerSnapshot.resource_id).where(*_there(case.id))))
    for server in servers:
        if server.id not in there_are:
            row = ServerSnapshot(id=new_id(), resource_id=server.id, subject_id=case.id, ordered_at=work.now)
            work.session.add(row)
    work.session.flush()
    return there(work, case.id)


def there(work: Work, case_id: UUID) -> list[Image]:
    """What a case keeps, ordered or taken."""
    rows = work.session.execute(
        select(ServerSnapshot.id, Resource.project_id, Resource.id.label("server_id"), Resource.number)
        .join(Resource, Resource.id == ServerSnapshot.resource_id)
        .where(*_there(case_id))
        .order_by(ServerSnapshot.id)
    )
    return [Image(row.id, row.project_id, row.server_id, row.number) for row in rows]


def _there(case_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return ServerSnapshot.subject_id == case_id, ServerSnapshot.removed_at.is_(None)


def taken(work: Work, ids: Collection[UUID]) -> None:
    work.session.execute(
        update(ServerSnapshot)
        .where(ServerSnapshot.id.in_(ids), ServerSnapshot.taken_at.is_(None))
        .values(taken_at=work.now)
    )


def removed(work: Work, ids: Collection[UUID]) -> None:
    work.session.execute(update(ServerSnapshot).where(ServerSnapshot.id.in_(ids)).values(removed_at=work.now))


def take(tools: Tools, job: CaseJob, images: Sequence[Image], pace: Pace) -> tuple[set[UUID], set[str]]:
    """Order the images and wait for them; returns those that are there, and codes of what cannot be.

    A cloud that keeps no images has none to wait for: its servers stand still, and that is all.
    """
    return _each(tools, job, images, pace, _taken)


def remove(tools: Tools, job: CaseJob, images: Sequence[Image], pace: Pace) -> tuple[set[UUID], set[str]]:
    """Delete the images and wait until nothing of them is left; returns those that are gone, and codes."""
    return _each(tools, job, images, pace, lambda provider, image: provider.delete(image.key))


def _taken(provider: Provider, image: Image) -> bool:
    seen = provider.create(SnapshotSpec(image.id, image.project_id, image.server_id, image.name))
    if seen.status is Status.ERROR:
        raise Permanent("provider.in_error")
    if seen.extra_refs and not provider.prune(image.key):  # an order that was answered by silence has acted late
        return False
    return seen.status is Status.ACTIVE


def _each(
    tools: Tools, job: CaseJob, images: Sequence[Image], pace: Pace, ask: Callable[[Provider, Image], bool]
) -> tuple[set[UUID], set[str]]:
    if not images:
        return set(), set()
    try:
        provider = tools.providers(job.sub_cloud)
    except ActionRequired as error:
        return set(), {error.code}
    if Kind.SNAPSHOT not in provider.capabilities.kinds:
        return {image.id for image in images}, set()
    asked = {image.id: partial(ask, provider, image) for image in images}
    stuck = until(asked, pace, "provider.still_at_it")
    return asked.keys() - stuck, set(stuck.values())
