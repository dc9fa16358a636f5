"""Writes resources: planned at assessment, moved along their states, with their dated sizes in the same transaction.

Called by: assessment, delivery, reclamation. Must not: call a cloud, or move a resource along an arrow that is not in
``lifecycle.RESOURCE``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text, update

from broker.db.base import new_id
from broker.inventory.models import Project, Resource, ResourcePeriod
from broker.inventory.rules import sources
from broker.lifecycle import ResourceState
from broker.tenancy.work import Work

METERED = (ResourceState.ACTIVE, ResourceState.STOPPED)
LOST = "resource.lost"
"""What a resource says of itself, as releasing, from the look that missed it until it is found, or released."""

# Periods never overlap, whatever the clocks of two machines say, and have no gap but while a resource was lost.
_PERIODS = """
INSERT INTO broker.resource_period
  (id, resource_id, state, cpu_arch, vcpu, memory_gib, block_gib, block_class, segments, during)
SELECT gen_random_uuid(), r.id, :state,
  CASE WHEN r.kind = 'server' THEN r.spec->>'cpu_arch' END,
  CASE WHEN r.kind = 'server' THEN (r.spec->>'vcpu')::int ELSE 0 END,
  CASE WHEN r.kind = 'server' THEN (r.spec->>'memory_gib')::int ELSE 0 END,
  CASE r.kind WHEN 'server' THEN (r.spec->>'system_disk_gib')::int
              WHEN 'volume' THEN (r.spec->>'size_gib')::int ELSE 0 END,
  CASE r.kind WHEN 'server' THEN r.spec->>'system_disk_class' WHEN 'volume' THEN r.spec->>'block_class' END,
  CASE WHEN r.kind = 'segment' THEN 1 ELSE 0 END,
  tstzrange(greatest(CAST(:at AS timestamptz),
    (SELECT max(upper(p.during)) FROM broker.resource_period p WHERE p.resource_id = r.id)), NULL)
FROM """

_OPEN_PERIODS = text(f"{_PERIODS} broker.resource r WHERE r.id = ANY(CAST(:ids AS uuid[]))")

_MOVED = """
WITH moved AS (
  UPDATE broker.resource SET state = 'active', error_code = NULL
  WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'ready' RETURNING *
)"""

_ACTIVATE = text(f"{_MOVED} {_PERIODS} moved r")

_CLOSE_PERIODS = text("""
UPDATE broker.resource_period
SET during = tstzrange(lower(during), greatest(CAST(:at AS timestamptz), lower(during) + interval '1 microsecond'))
WHERE resource_id = ANY(CAST(:ids AS uuid[])) AND upper_inf(during)
""")


_PROJECT_FOR = text("""
WITH there AS (SELECT id FROM broker.project WHERE unit_id = :unit AND sub_cloud_id = :cloud), made AS (
  INSERT INTO broker.project (id, unit_id, sub_cloud_id)
  SELECT :id, :unit, :cloud WHERE NOT EXISTS (SELECT FROM there) ON CONFLICT DO NOTHING RETURNING id
)
SELECT id FROM there UNION ALL SELECT id FROM made
""").columns(Project.id)


def project_for(work: Work, unit_id: UUID, sub_cloud_id: UUID) -> UUID:
    """The unit's project in a sub-cloud; made when there is none. Safe under concurrency, locks nothing there is."""
    values = {"id": new_id(), "unit": unit_id, "cloud": sub_cloud_id}
    found: UUID | None = work.session.scalar(_PROJECT_FOR, values)
    if found is None:  # somebody has made it since this statement began; the next one sees it
        found = work.session.scalars(_PROJECT_FOR, values).one()
    return found


def plan(work: Work, **columns: Any) -> Resource:
    """Add one planned resource to the session; its number is made by the database."""
    standing = {"origin": "delivered", "state": ResourceState.PLANNED.value, "created_at": work.now}
    resource = Resource(id=new_id(), addresses=[], **standing, **columns)
    work.session.add(resource)
    return resource


def move(work: Work, ids: Iterable[UUID], to: ResourceState, *, error_code: str | None = None) -> list[UUID]:
    """Move resources to ``to``; those that are there already or cannot come there are left alone (steps run twice).

    Opens a period when one becomes active or stopped, closes the open one when it stops being metered or changes.
    Returns the ids that really moved. From ready to active is ``activate``.
    """
    wanted = list(ids)
    if not wanted:
        return []
    moved = list(
        work.session.scalars(
            update(Resource)
            .where(Resource.id.in_(wanted), Resource.state.in_(sources(to)), *_but_releasing(to))
            .values(state=to.value, error_code=error_code)
            .returning(Resource.id)
        )
    )
    if moved and (to in METERED or to is ResourceState.RELEASING):
        work.session.execute(_CLOSE_PERIODS, {"ids": moved, "at": work.now})
        if to in METERED:
            work.session.execute(_OPEN_PERIODS, {"ids": moved, "at": work.now, "state": to.value})
    return moved


def _but_releasing(to: ResourceState) -> list[ColumnElement[bool]]:
    """From releasing back to what is metered goes ``keep`` alone."""
    return [Resource.state != ResourceState.RELEASING.value] if to in METERED else []


def keep(work: Work, ids: Iterable[UUID], servers: ResourceState = ResourceState.STOPPED) -> None:
    """What was about to be deleted stays: metered again from the last reading on, as if that had not been the last.

    What was lost is metered from now on: nobody can prove to a payer that it was there in between. ``servers``: their
    state then; disks and segments have no other than active.
    """
    for row in work.session.scalars(
        select(Resource).where(Resource.id.in_(list(ids)), Resource.state == ResourceState.RELEASING.value)
    ):
        state = servers if row.kind == "server" else ResourceState.ACTIVE
        last = select(func.max(func.upper(ResourcePeriod.during))).where(ResourcePeriod.resource_id == row.id)
        since = None if row.error_code == LOST else work.session.scalar(last)
        row.state, row.error_code = state.value, None
        work.session.flush()
        values = {"ids": [row.id], "at": since or work.now, "state": state.value}
        work.session.execute(_OPEN_PERIODS, values)


def activate(work: Work, ids: Sequence[UUID]) -> None:
    """What is ready is handed over: active, and metered from this instant. One statement; twice does nothing more."""
    work.session.execute(_ACTIVATE, {"ids": list(ids), "at": work.now, "state": ResourceState.ACTIVE.value})


def of_delivery(work: Work, delivery_id: UUID) -> list[Resource]:
    """The resources of a delivery in the order of the form."""
    return list(work.session.scalars(select(Resource).where(Resource.delivery_id == delivery_id).order_by(Resource.id)))


def of_request(work: Work, request_id: UUID) -> list[Resource]:
    """All resources a request ever had."""
    return list(work.session.scalars(select(Resource).where(Resource.request_id == request_id).order_by(Resource.id)))


def standing_on(work: Work, ids: Sequence[UUID]) -> list[str]:
    """Numbers of live resources outside ``ids`` that stand on or are attached to one of them."""
    statement = select(Resource.number).where(
        or_(Resource.network_id.in_(ids), Resource.server_id.in_(ids)),
        Resource.id.not_in(ids),
        Resource.state.in_(("planned", "building", "ready", "active", "stopped")),
    )
    return list(work.session.scalars(statement))
