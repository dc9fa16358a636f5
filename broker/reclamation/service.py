"""Stage 7's use-cases for people: the unit asks to give resources back, the authority confirms (Art. 14).

Called by: the API. Must not: call a cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from broker.db.base import AnyRow, new_id
from broker.delivery import service as delivery
from broker.delivery.cases import open_cases
from broker.delivery.models import DeskCase
from broker.delivery.service import Action
from broker.errors import Conflict, Invalid, NotFound, Problem
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import CaseEvent, RequestEvent, RequestState, ResourceState, Role, after
from broker.notify import service as notify
from broker.reclamation import history
from broker.reclamation.models import CaseResource, ReclaimCase, Release, ReleaseResource
from broker.request import repository
from broker.request.models import ServiceRequest
from broker.tenancy.repository import accounts_of_one
from broker.tenancy.rules import mandate
from broker.tenancy.work import Work

_GIVEABLE = (ResourceState.ACTIVE.value, ResourceState.STOPPED.value)


def ask(work: Work, request_id: UUID, *, reason: str) -> list[Release]:
    """The unit gives back everything a request brought: one release for each sub-cloud.

    Raises Conflict ``state.refused``, ``release.unsettled`` (part of the delivery still waits on the operator's desk),
    Invalid ``reason.missing``, ``release.in_use`` (a segment others stand on).
    """
    request = repository.load(work.session, work.actor, request_id, lock=True)
    state = after(RequestState(request.state), RequestEvent.RELEASE, work.actor.roles)
    if not reason.strip():
        raise Invalid([Problem("reason.missing", "reason")])
    if any(case.closed_at is None for case in delivery.cases_of(work, request_id)):
        raise Conflict("release.unsettled")
    resources = _unoccupied(work, request_id)
    if others := inventory.standing_on(work, [r.id for r in resources]):
        raise Invalid([Problem("release.in_use", "resources", params={"resources": "、".join(others)})])
    request.state = state.value
    request.version += 1
    assert work.actor.account_id is not None
    releases = []
    for sub_cloud_id in sorted({r.sub_cloud_id for r in resources}):
        release = Release(
            id=new_id(),
            request_id=request.id,
            sub_cloud_id=sub_cloud_id,
            delivering_unit_id=request.delivering_unit_id,
            state="asked",
            reason=reason.strip(),
            asked_by=work.actor.account_id,
            asked_at=work.now,
        )
        work.session.add(release)
        work.session.flush()
        for resource in resources:
            if resource.sub_cloud_id == sub_cloud_id:
                work.session.add(ReleaseResource(release_id=release.id, resource_id=resource.id))
        releases.append(release)
    audience = (request.delivering_unit_id, Role.OPERATOR)
    notify.tell_role(work, audience, "release.asked", ("request", request.id), number=request.number)
    work.record("request.releasing", "request", request.id, request_id=request.id, article="Art. 14")
    return releases


def _unoccupied(work: Work, request_id: UUID) -> list[Resource]:
    """What can be given back, locked, with no case over it any more.

    Cases first, as the machine locks them; then the resources, so that no other case is opened; then what was opened
    in between, of which nobody knows yet.
    """
    ids = [r.id for r in inventory.of_request(work, request_id)]
    _end_cases(work, ids)
    lock = select(Resource).where(Resource.id.in_(ids)).order_by(Resource.id)
    locked = work.session.scalars(lock.with_for_update().execution_options(populate_existing=True)).all()
    _end_cases(work, ids)
    return [r for r in locked if r.state in _GIVEABLE or r.error_code == inventory.LOST]


def _end_cases(work: Work, resource_ids: Sequence[UUID]) -> None:
    """Cases over what the unit gives back itself end here. Raises Conflict ``reclaim.state`` once it is stopped."""
    its = select(CaseResource.case_id).where(
        CaseResource.resource_id.in_(resource_ids), CaseResource.closed_at.is_(None)
    )
    cases = select(ReclaimCase).where(ReclaimCase.id.in_(its)).order_by(ReclaimCase.id).with_for_update()
    for case in work.session.scalars(cases):
        history.go(work, case, CaseEvent.GIVE_BACK, work.actor.roles)


def confirm(work: Work, release_id: UUID) -> Release:
    """The delivering authority confirms; the worker takes the resources back. Raises NotFound, Forbidden, Conflict."""
    release = work.session.get(Release, release_id)
    if release is None:
        raise NotFound("release.not_found")
    request = repository.load(work.session, work.actor, release.request_id, lock=True)
    work.session.refresh(release, with_for_update=True)
    excepted = accounts_of_one(work.session, release.asked_by)
    by = mandate(work.actor, Role.OPERATOR, release.delivering_unit_id, except_for=excepted)
    if release.state != "asked":
        raise Conflict("release.not_asked", state=release.state)
    release.state, release.confirmed_by, release.confirmed_at = "queued", by.account_id, work.now
    work.record("release.confirmed", "release", release.id, request_id=request.id, mandate=by, article="Art. 14")
    return release


def decide_case(work: Work, case_id: UUID, action: Action, *, reason: str = "") -> DeskCase:
    """Close a desk case of a delivery or a release and set in motion what follows. See ``delivery.service``.

    A release goes on once none of its cases is left open, whatever was decided: after a retry the cloud is asked once
    more; after giving up the operator has removed the thing by hand, and the next run finds nothing there.
    """
    case = delivery.decide_case(work, case_id, action, reason=reason)
    if case.subject_type == "release":
        release = work.session.get_one(Release, case.subject_id, with_for_update=True)
        if release.state in {"queued", "running"}:
            raise Conflict("case.on_its_way")
        if release.state == "needs_operator" and not open_cases(work, release.id):
            release.state = "queued"
            release.run += 1
    return case


def of_request(work: Work, request_id: UUID) -> list[Release]:
    """The releases of a request, oldest first."""
    return list(work.session.scalars(select(Release).where(Release.request_id == request_id).order_by(Release.id)))


def waiting(work: Work, *, limit: int = 100) -> Sequence[AnyRow]:
    """Releases that the actor's authority has to confirm, oldest first: rows of ``(Release, number)``."""
    statement = (
        select(Release, ServiceRequest.number)
        .join(ServiceRequest, ServiceRequest.id == Release.request_id)
        .where(Release.state == "asked")
        .order_by(Release.id)
        .limit(limit)
    )
    if not work.actor.sees_everything:
        units = {work.actor.unit_id} | {p.unit_id for p in work.actor.deputy_for.get(Role.OPERATOR, ())}
        statement = statement.where(Release.delivering_unit_id.in_(units))
    return list(work.session.execute(statement).all())
