"""The operator's desk as the machine fills it: what failed for good, at which step, with which code.

Called by: the steps of delivery and reclamation. Must not: decide what is done about a case (people do).

One open case a thing: what hangs on something that failed (a disk on its server) has no case of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from broker.db.base import new_id
from broker.delivery.models import DeskCase
from broker.delivery.values import Job
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from broker.request.models import ServiceRequest
from broker.tenancy.work import Work

BASE_FAILED = "base_failed"
"""A resource that could not be made because what it stands on failed."""
GIVEN_UP = "given_up"
"""A failed resource that the operator has given up: it is undone once nothing of it is left in the cloud."""
STEP_FAILED = "step_failed"
"""A step that broke on its last attempt, without an answer of the cloud's that would say why."""


def fail(work: Work, job: Job, step: str, failed: Mapping[UUID, str]) -> None:
    """Resources have failed for good, each alone: mark them, and put what is the cause of it on the desk."""
    for resource_id, code in failed.items():
        moved = inventory.move(work, [resource_id], ResourceState.FAILED, error_code=code)
        if moved and code != BASE_FAILED:
            put(work, job, step, code, resource_id)


def put(work: Work, job: Job, step: str, code: str, resource_id: UUID | None, *, of: str = "delivery") -> None:
    """Put a thing on the desk, once. If it lies there already, the later trouble is what stands in the way."""
    there = work.session.scalars(
        select(DeskCase).where(
            DeskCase.subject_id == job.id,
            DeskCase.resource_id.is_not_distinct_from(resource_id),
            DeskCase.closed_at.is_(None),
        )
    ).first()
    if there is not None:
        if (there.step, there.code) != (step, code):
            there.detail = f"{there.detail} {there.step}: {there.code}".strip()[:500]
            there.step, there.code = step, code
        return
    unit = select(ServiceRequest.delivering_unit_id).where(ServiceRequest.id == job.request_id)
    work.session.execute(
        insert(DeskCase)
        .values(
            id=new_id(),
            request_id=job.request_id,
            subject_type=of,
            subject_id=job.id,
            resource_id=resource_id,
            unit_id=unit.scalar_subquery(),
            step=step,
            code=code,
            detail="",
        )
        .on_conflict_do_nothing()
    )


def open_cases(work: Work, subject_id: UUID) -> set[UUID | None]:
    """What of a delivery or a release lies on the desk: ids of resources, None for the whole."""
    statement = select(DeskCase.resource_id).where(DeskCase.subject_id == subject_id, DeskCase.closed_at.is_(None))
    return set(work.session.scalars(statement))


def uncovered(failed: Iterable[Resource], on_desk: set[UUID | None]) -> list[Resource]:
    """Of the failed resources those that no open case speaks for, neither their own nor that of what they stand on."""
    failed = list(failed)
    ids = {r.id for r in failed}

    def covered(resource: Resource) -> bool:
        if resource.id in on_desk:
            return True
        stands_on_failed = None in on_desk or bool({resource.server_id, resource.network_id} & ids)
        return resource.error_code == BASE_FAILED and stands_on_failed

    return [r for r in failed if not covered(r)]
