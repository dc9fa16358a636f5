"""The machine steps of a release: last reading, delete, give back, close. Each may run any number of times.

Called by: ``workflows.steps``. Must not: keep a transaction open across a call to a cloud.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import CTE, func, select, update

from broker.delivery import cases, keys, progress
from broker.delivery.remove import remove
from broker.delivery.tools import Pace, Tools
from broker.delivery.values import Job
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import ItemState, RequestEvent, RequestState, ResourceState, Role, after
from broker.metering import service as metering
from broker.notify import service as notify
from broker.reclamation import giving_back
from broker.reclamation.models import Release, ReleaseResource
from broker.request.models import RequestItem, ServiceRequest
from broker.tenancy.work import Work


def last_reading(tools: Tools, job: Job) -> bool:
    """Metering ends here: the periods are closed at this instant, before anything is deleted. False: not to be done."""
    with tools.works.begin() as work:
        _, release = _locked(work, job)
        if release.run != job.run or release.state not in {"queued", "running"}:
            return False
        release.state = "running"
        resources = _resources(work, job, progress.done_at_once(work, job, "last_reading"))
        metering.end(work, inventory.move(work, [r.id for r in resources], ResourceState.RELEASING))
        return True


def delete(tools: Tools, job: Job, pace: Pace) -> bool:
    """Delete everything in the cloud; what cannot be deleted goes to the operator's desk. True: all is gone."""
    with tools.works.begin() as work:
        release = work.session.get_one(Release, job.id)
        if release.state != "running":
            return release.state == "released"
        resources = _resources(work, job, progress.begun(work, job, "delete"))
    going = [r for r in resources if r.state == ResourceState.RELEASING.value]
    stuck = remove(tools, job.sub_cloud, going, pace)
    with tools.works.begin() as work:
        progress.end(work, job, "delete", failed=" ".join(sorted(set(stuck.values()))))
        if stuck:
            _to_the_desk(work, job, stuck)
    return not stuck


def break_off(tools: Tools, job: Job) -> None:
    """Deleting broke on its last attempt, and nothing says why: the release waits on the desk as a whole."""
    with tools.works.begin() as work:
        progress.end(work, job, "delete", failed=cases.STEP_FAILED)
        _to_the_desk(work, job, {None: cases.STEP_FAILED})


def give_back(tools: Tools, job: Job) -> str:
    """Quota and prefixes go back (prefixes rest first), the resources are released, the request is closed."""
    with tools.works.begin() as work:
        request, release = _locked(work, job)
        if release.state != "running":
            return release.state
        resources = _resources(work, job, progress.done_at_once(work, job, "give_back"))
        resources = [r for r in resources if r.state == ResourceState.RELEASING.value]
        days = tools.settings.quarantine_days
        giving_back.give_back(work, release.id, release.sub_cloud_id, resources, quarantine_days=days)
        release.state, release.finished_at = "released", work.now
        work.record(
            "release.done",
            "release",
            release.id,
            request_id=request.id,
            article="Art. 14",
            data={"resources": [str(r.id) for r in resources]},
        )
        work.session.flush()
        _close(work, request, release)
        return release.state


def _close(work: Work, request: ServiceRequest, last: Release) -> None:
    """The request is released when none of its releases is still on its way."""
    open_ones = select(func.count()).where(Release.request_id == request.id, Release.state != "released")
    if work.session.scalar(open_ones):
        return
    request.state = after(RequestState(request.state), RequestEvent.CLOSE, frozenset({Role.SYSTEM})).value
    request.version += 1
    request.closed_at = work.now
    work.session.execute(
        update(RequestItem)
        .where(RequestItem.revision_id == request.revision_id, RequestItem.state != ItemState.UNDELIVERED.value)
        .values(state=ItemState.RELEASED.value)
        .add_cte(keys.forgotten(request.id))
    )
    about = ("request", request.id)
    notify.tell_account(work, last.asked_by, "release.done", about, number=request.number)
    work.record("request.released", "request", request.id, request_id=request.id)


def _locked(work: Work, job: Job) -> tuple[ServiceRequest, Release]:
    """The request and its release, locked in the order in which people's decisions lock them."""
    row = work.session.execute(
        select(ServiceRequest, Release)
        .select_from(ServiceRequest)
        .join(Release, Release.request_id == ServiceRequest.id)
        .where(Release.id == job.id)
        .with_for_update(of=(ServiceRequest, Release))
    ).one()
    return row[0], row[1]


def _resources(work: Work, job: Job, step: CTE) -> Sequence[Resource]:
    """What the release takes back; the same statement writes the step."""
    statement = (
        select(Resource)
        .join(ReleaseResource, ReleaseResource.resource_id == Resource.id)
        .where(ReleaseResource.release_id == job.id)
        .order_by(Resource.id)
    )
    return work.session.scalars(statement.add_cte(step)).all()


def _to_the_desk(work: Work, job: Job, stuck: Mapping[UUID, str] | Mapping[None, str]) -> None:
    """What could not be deleted, once each, and a word to the operators."""
    request, release = _locked(work, job)
    if release.state != "running":
        return
    release.state = "needs_operator"
    for resource_id, code in stuck.items():
        cases.put(work, job, "delete", code, resource_id, of="release")
    audience = (release.delivering_unit_id, Role.OPERATOR)
    notify.tell_role(work, audience, "release.needs_operator", ("request", request.id), number=request.number)
