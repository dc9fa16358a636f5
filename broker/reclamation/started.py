"""Servers that a case has stopped and somebody else has started: charged from the instant they were seen, and told.

Called by: the regular comparison with the clouds (``workflows.drift``, ``guiyun reconcile``), the last look before a
deletion. Must not: move a case (``dates`` does), or call a cloud.

When it was started nobody can prove to the payer; that it ran when we looked we can. So usage begins at the look, at
most an hour after the start, and the audit event, the notices and the period all bear that one instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import structlog
from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.delivery.reconcile import Drift, DriftKind
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import CaseState, ResourceState, Role
from broker.notify import service as notify
from broker.reclamation import history
from broker.reclamation.models import CaseResource, ReclaimCase
from broker.tenancy.work import Work, WorkFactory

log = structlog.get_logger(__name__)


def take_note(works: WorkFactory, drifts: Iterable[Drift]) -> int:
    """Write down which of the differences are servers that run; returns how many were news."""
    count = 0
    for drift in drifts:
        if drift.kind is DriftKind.POWER:
            with works.begin() as work:
                count += 0 if _being_started(work, drift.key.id) else len(running(work, [drift.key.id]))
    if count:
        log.warning("stopped servers run", count=count)
    return count


def _being_started(work: Work, server_id: UUID) -> bool:
    """Whether the machine is at it; its case is locked, as the machine locks it."""
    case = work.session.scalar(
        select(ReclaimCase)
        .join(CaseResource, CaseResource.case_id == ReclaimCase.id)
        .where(CaseResource.resource_id == server_id, CaseResource.closed_at.is_(None))
        .with_for_update(of=ReclaimCase)
    )
    return case is not None and case.state == CaseState.RESUMING.value and case.trouble is None


def running(work: Work, server_ids: Sequence[UUID]) -> list[UUID]:
    """Servers that have just been seen running: in use and charged in full from now on. Returns those that stood still.

    Told are their unit with its cloud chief, and who delivers and runs the cloud.
    """
    moved = inventory.move(work, server_ids, ResourceState.ACTIVE)
    for server in work.session.scalars(select(Resource).where(Resource.id.in_(moved)).order_by(Resource.id)):
        deliver = catalog.delivering_unit(work.session, server.sub_cloud_id, work.now)
        audiences = history.owners(work, server.unit_id)
        audiences += [(deliver, role) for role in (Role.OPERATOR, Role.CLOUD_OPERATOR) if deliver is not None]
        params = {"resource": server.number, "seen_at": work.now.isoformat()}
        for audience in audiences:
            notify.tell_role(work, audience, "resource.started_outside", ("resource", server.id), **params)
        work.record("resource.started_outside", "resource", server.id, data=params)
    return moved
