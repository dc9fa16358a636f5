"""Servers and volumes that the regular comparison does not find at their cloud, or finds again: charged or not, told.

Called by: the regular comparison (``workflows.drift``, ``guiyun reconcile``), the API, the first page. Must not:
release anything (the unit gives it back, or a case does: two people), or call a cloud.

The rule is that of ``lost``. A cloud that misses very many at once has more likely lost its listing than its servers:
then nothing is written down before an operator says that they are gone (ours).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.db.base import AnyRow, AnySelect
from broker.delivery.reconcile import Drift, DriftKind
from broker.inventory import service as inventory
from broker.inventory.models import Resource, ResourcePeriod
from broker.lifecycle import CASE_MACHINE, CaseEvent, CaseState, ResourceState, Role
from broker.notify import service as notify
from broker.reclamation import board, history, lost, started
from broker.reclamation.models import CaseResource, ReclaimCase, Release, ReleaseResource
from broker.settings import Settings
from broker.tenancy.models import UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.work import Work, WorkFactory

log = structlog.get_logger(__name__)

FEW, PERCENT = 3, 10
"""More than so many at once, which are more than this share of a cloud's, are not believed without a person (ours)."""
_OFFICES = (Role.OPERATOR, Role.CLOUD_OPERATOR)
_GOING = ("queued", "running", "needs_operator")
"""States of a release in which the machine takes back what it finds."""


def take_note(
    works: WorkFactory, settings: Settings, sub_cloud: str, drifts: Iterable[Drift], *, believed: bool = False
) -> int:
    """Write down what is gone and what is back; returns how many were news.

    ``believed``: an operator says that what the cloud does not show is gone, however much it is.
    """
    drifts = list(drifts)
    gone = [d for d in drifts if d.metered_loss and d.row_state != ResourceState.RELEASING.value]
    if gone and not believed and _too_many(works, sub_cloud, len(gone)):
        gone = []
    count = 0
    for drift in [*gone, *(d for d in drifts if d.kind is DriftKind.FOUND)]:
        with works.begin() as work:
            count += _write_down(work, settings, drift)
    if count:
        log.warning("servers or volumes are gone or back", sub_cloud=sub_cloud, count=count)
    return count


def _too_many(works: WorkFactory, sub_cloud: str, count: int) -> bool:
    """Whether so many cannot be gone at once; its operators are told, once a day."""
    if count <= FEW:
        return False
    with works.begin() as work:
        cloud_id = work.session.scalars(select(SubCloud.id).where(SubCloud.code == sub_cloud)).one()
        metered = select(func.count()).where(
            Resource.sub_cloud_id == cloud_id,
            Resource.kind.in_(("server", "volume")),
            Resource.state.in_([state.value for state in inventory.METERED]),
        )
        if count * 100 <= (work.session.scalar(metered) or 0) * PERCENT:
            return False
        day = work.now.astimezone(work.calendar.zone).date()
        deliver = catalog.delivering_unit(work.session, cloud_id, work.now)
        params = {"sub_cloud": sub_cloud, "count": count}
        notify.remind(work, [_many(cloud_id, (deliver, role), str(day), params) for role in _OFFICES])
        log.warning("too many are missing to be gone", sub_cloud=sub_cloud, count=count)
        return True


def _many(cloud_id: UUID, audience: tuple[UUID | None, Role], day: str, params: dict[str, Any]) -> dict[str, Any]:
    unit_id, role = audience
    return {
        "code": "resource.many_missing",
        "params": params,
        "subject_type": "sub_cloud",
        "subject_id": cloud_id,
        "account_id": None,
        "unit_id": unit_id,
        "role": role.value,
        "dedupe": f"missing/{cloud_id}/{day}/{role.value}",
    }


def _write_down(work: Work, settings: Settings, drift: Drift) -> bool:
    """One that is gone or back. What the machine is at is its own to find out, and not touched."""
    case = _case_over(work, drift.key.id)
    if case is not None and CaseState(case.state) in CASE_MACHINE:
        if case.trouble is None:
            return False
        if case.state == CaseState.RELEASING.value:
            return drift.kind is DriftKind.FOUND and _ask_to_retry(work, case, drift.key.id)
    return _gone(work, case, drift.key.id) if drift.kind is DriftKind.LOST else _back(work, settings, case, drift)


def _case_over(work: Work, resource_id: UUID) -> ReclaimCase | None:
    """The open case, locked, as the machine locks it."""
    return work.session.scalar(
        select(ReclaimCase)
        .join(CaseResource, CaseResource.case_id == ReclaimCase.id)
        .where(CaseResource.resource_id == resource_id, CaseResource.closed_at.is_(None))
        .with_for_update(of=ReclaimCase)
    )


def _gone(work: Work, case: ReclaimCase | None, resource_id: UUID) -> bool:
    if case is not None:
        return lost.mark(work, case, [resource_id])
    news = lost.missed(work, [resource_id])
    _tell(work, news, "resource.lost")
    return bool(news)


def _back(work: Work, settings: Settings, case: ReclaimCase | None, drift: Drift) -> bool:
    row = work.session.get(Resource, drift.key.id, with_for_update=True, populate_existing=True)
    if row is None or row.state != ResourceState.RELEASING.value or row.error_code != inventory.LOST:
        return False  # somebody was quicker
    if _being_released(work, row.id):
        return False
    if case is None:
        lost.found(work, [row.id], ResourceState.ACTIVE)
        _tell(work, [row.id], "resource.turned_up")
        return True
    lost.turn_up(work, case, [row.id], work.now + timedelta(days=settings.reclaim_keep_days))
    if drift.key.kind.value == "server" and drift.found.get("power") == "on":
        started.running(work, [row.id])
    return True


def _ask_to_retry(work: Work, case: ReclaimCase, resource_id: UUID) -> bool:
    """A release is stuck, and what it had lost is there: the look at its next attempt keeps it. Told once a run.

    Not put right here: what else of the case is gone by now was deleted by that very release.
    """
    row = work.session.get(Resource, resource_id, populate_existing=True)
    if row is None or row.error_code != inventory.LOST:
        return False
    audience = (case.delivering_unit_id, Role.OPERATOR)
    once = f"back/{case.id}/{case.run}/{resource_id}"
    told = notify.remind(work, [history.reminder(case, audience, "reclaim.back", once, resource=row.number)])
    if told:
        history.write(work, case, CaseEvent.TURN_UP.value, note=row.number)
    return bool(told)


def _being_released(work: Work, resource_id: UUID) -> bool:
    """Whether the unit has given it back: it is deleted there, wherever it was meanwhile."""
    going = (
        select(Release.id)
        .join(ReleaseResource, ReleaseResource.release_id == Release.id)
        .where(ReleaseResource.resource_id == resource_id, Release.state.in_(_GOING))
    )
    return work.session.scalar(going.limit(1)) is not None


def _tell(work: Work, ids: Sequence[UUID], code: str) -> None:
    """The unit with its cloud chief, and who delivers and runs the cloud."""
    for resource in work.session.scalars(select(Resource).where(Resource.id.in_(ids)).order_by(Resource.id)):
        deliver = catalog.delivering_unit(work.session, resource.sub_cloud_id, work.now)
        audiences = [*history.owners(work, resource.unit_id), *((deliver, r) for r in _OFFICES if deliver is not None)]
        params = {"resource": resource.number, "seen_at": work.now.isoformat()}
        for audience in audiences:
            notify.tell_role(work, audience, code, ("resource", resource.id), **params)


def listed(work: Work, *, limit: int = 100) -> list[AnyRow]:
    """What is lost, in no case, at clouds that the actor delivers for, by number.

    Rows of ``(Resource, unit_name, sub_cloud, sub_cloud_name, lost_at)``, the last: when its metering ended.
    """
    clouds = board.clouds_to_open_in(work)
    lost_at = select(func.max(func.upper(ResourcePeriod.during))).where(ResourcePeriod.resource_id == Resource.id)
    statement: AnySelect = (
        select(
            Resource,
            UnitPeriod.name.label("unit_name"),
            SubCloud.code.label("sub_cloud"),
            SubCloud.name.label("sub_cloud_name"),
            lost_at.correlate(Resource).scalar_subquery().label("lost_at"),
        )
        .join(SubCloud, SubCloud.id == Resource.sub_cloud_id)
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == Resource.unit_id) & holds(UnitPeriod.during, work.now))
        .outerjoin(CaseResource, (CaseResource.resource_id == Resource.id) & CaseResource.closed_at.is_(None))
        .where(
            Resource.state == ResourceState.RELEASING.value,
            Resource.error_code == inventory.LOST,
            SubCloud.code.in_(clouds),
            CaseResource.id.is_(None),
        )
        .order_by(Resource.number)
        .limit(limit)
    )
    return list(work.session.execute(statement).all())
