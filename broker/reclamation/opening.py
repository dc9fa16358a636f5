"""Opens reclaim cases: for what a policy found, what a person names, what a term or a zombie system leaves behind.

Called by: the API and the console (a person), dispatch (policies, terms). Must not: tell anybody (dates do), or call
a cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, or_, select

from broker.catalog.models import SubCloudAuthority
from broker.db.base import new_id
from broker.errors import Conflict, Invalid, NotFound, Problem
from broker.inventory import service as inventory
from broker.inventory.models import InformationSystem, Resource
from broker.lifecycle import CaseState, ResourceState, Role
from broker.reclamation import history, protection, rules
from broker.reclamation.models import CaseResource, ReclaimCase, Release, ReleaseResource
from broker.reclamation.values import Cause, Opening
from broker.tenancy.rules import mandate
from broker.tenancy.work import Work
from broker.utilisation import policy_words
from broker.utilisation.findings import Finding
from broker.utilisation.values import PolicySet

LIVE = (ResourceState.ACTIVE.value, ResourceState.STOPPED.value)
"""States of what is there, and in use or stopped by us."""
_ON_ITS_WAY = ("asked", "queued", "running", "needs_operator")
ARTICLE = {Cause.IDLE: "Art. 14", Cause.ZOMBIE: "Art. 28", Cause.TERM: "Art. 13", Cause.PERSON: "Art. 14"}


def open_case(work: Work, opening: Opening) -> ReclaimCase:
    """Open a case over resources of one unit in one sub-cloud, with the disks that hang on their servers.

    The system may, and an operator of the delivering authority. Raises NotFound ``resource.not_found``, Forbidden,
    Conflict ``reclaim.case_open``, ``reclaim.exempt``, ``reclaim.release_open``, ``reclaim.protected``; Invalid with
    all of ``reason.missing``, ``reclaim.mixed``, ``reclaim.not_live``, ``release.in_use`` (a segment others stand on).
    """
    resources = _lock(work, opening.resource_ids)
    decide, deliver = _authorities(work, resources[0].sub_cloud_id)
    by = None
    if Role.SYSTEM not in work.actor.roles:
        by = mandate(work.actor, Role.OPERATOR, deliver)
    _check(work, opening, resources)
    system_id = opening.system_id or resources[0].system_id
    case = ReclaimCase(
        id=new_id(),
        cause=opening.cause.value,
        unit_id=resources[0].unit_id,
        sub_cloud_id=resources[0].sub_cloud_id,
        system_id=system_id,
        deciding_unit_id=decide,
        delivering_unit_id=deliver,
        reason=opening.reason.strip(),
        policy=opening.policy,
        policy_version=opening.policy_version,
        policy_content=dict(opening.policy_content),
        evidence=dict(opening.evidence),
        finding_id=opening.finding_id,
        state=CaseState.FOUND.value,
        opened_by=None if by is None else by.account_id,
        opened_at=work.now,
        grace_workdays=rules.grace(_mlps_level(work, resources), opening.grace),
    )
    work.session.add(case)
    work.session.flush()
    for resource in resources:
        work.session.add(CaseResource(case_id=case.id, resource_id=resource.id))
    history.write(work, case, "open", note=case.reason, by=by, article=ARTICLE[opening.cause])
    return case


def check(work: Work, opening: Opening) -> None:
    """Whether a case could be opened. Raises what ``open_case`` raises for the resources."""
    resources = _lock(work, opening.resource_ids)
    _authorities(work, resources[0].sub_cloud_id)
    _check(work, opening, resources)


def by_hand(policies: PolicySet, ids: Sequence[UUID], reason: str) -> Opening:
    """A case over what a person names: anything but what the policies protect by its name, its system's, its unit's."""
    return Opening(Cause.PERSON, tuple(ids), reason, protected=protection.of_all(policies))


def of_finding(found: Finding, policies: PolicySet, reason: str | None = None) -> Opening:
    """A case over what detection found: its evidence as it stands today, its policy and the grace that this gives.

    ``reason`` is the policy's title unless a person says more. Raises Conflict ``reclaim.not_whole`` for a snapshot or
    an address (there is no resource of ours to take back), ``reclaim.finding_stale`` when it was found by another
    content of the policy than today's (whatever its file calls its version), or is no finding any more.
    """
    if not found.whole_resource:
        raise Conflict("reclaim.not_whole")
    policy = next((p for p in policies.policies if p.name == found.policy), None)
    if policy is None or found.policy_digest != policy_words.digest(policy, policies) or found.cleared_at is not None:
        raise Conflict("reclaim.finding_stale")
    return Opening(
        Cause.IDLE,
        (found.resource_id,),
        policy.title if reason is None else reason,
        policy=found.policy,
        policy_version=found.policy_version,
        policy_content=policy_words.written(policy),
        evidence={
            "kind": found.kind.value,
            "first_day": found.first_day.isoformat(),
            "last_day": found.last_day.isoformat(),
            "days": found.days,
            "monthly_fen": found.monthly_fen,
            "evidence": [{"code": e.code, "params": dict(e.params)} for e in found.evidence],
        },
        grace=policy.grace_working_days,
        finding_id=found.id,
        protected=protection.of_policy(policy, policies),
    )


def ids_of(work: Work, numbers: Sequence[str]) -> tuple[UUID, ...]:
    """The resources with these numbers.

    Raises Invalid ``field.missing`` when none is named, ``reclaim.resource_unknown`` with all that there are not.
    """
    wanted = {number.strip().upper() for number in numbers if number.strip()}
    found = {row.number: row.id for row in work.session.execute(
        select(Resource.id, Resource.number).where(Resource.number.in_(wanted)))}  # fmt: skip
    missing = sorted(wanted - found.keys())
    if not wanted:
        raise Invalid([Problem("field.missing", "resources")])
    if missing:
        raise Invalid([Problem("reclaim.resource_unknown", "resources", params={"resources": "、".join(missing)})])
    return tuple(found[number] for number in sorted(wanted))


def together(work: Work, ids: Sequence[UUID]) -> list[Resource]:
    """The resources named and the disks attached to them: what a case over these would be about."""
    return list(work.session.scalars(_together(ids)))


def can_be_taken_up(resource: Resource) -> bool:
    """In use, or lost: what its cloud does not have any more is released by a case like all else."""
    return resource.state in LIVE or resource.error_code == inventory.LOST


def _together(ids: Sequence[UUID]) -> Select[Resource]:
    live = or_(Resource.state.in_(LIVE), Resource.error_code == inventory.LOST)
    return select(Resource).where(or_(Resource.id.in_(ids), Resource.server_id.in_(ids) & live)).order_by(Resource.id)


def _lock(work: Work, ids: Sequence[UUID]) -> list[Resource]:
    """These, locked in one order, as they are then: their system may just have gone to another unit.

    Raises NotFound ``resource.not_found``.
    """
    locked = _together(ids).with_for_update().execution_options(populate_existing=True)
    found = list(work.session.scalars(locked))
    if not ids or not set(ids) <= {r.id for r in found}:
        raise NotFound("resource.not_found")
    return found


def _authorities(work: Work, sub_cloud_id: UUID) -> tuple[UUID, UUID]:
    """Who answers objections and who takes back (Art. 14). Raises Conflict ``cloud.without_authority``."""
    rows = work.session.execute(
        select(SubCloudAuthority.duty, SubCloudAuthority.unit_id).where(
            SubCloudAuthority.sub_cloud_id == sub_cloud_id, SubCloudAuthority.during.contains(work.now)
        )
    )
    units = {row.duty: row.unit_id for row in rows}
    if not {"decide", "deliver"} <= units.keys():
        raise Conflict("cloud.without_authority", article="Art. 14")
    return units["decide"], units["deliver"]


def _check(work: Work, opening: Opening, resources: Sequence[Resource]) -> None:
    ids = [r.id for r in resources]
    taken = work.session.scalar(
        select(ReclaimCase.number)
        .join(CaseResource, CaseResource.case_id == ReclaimCase.id)
        .where(CaseResource.resource_id.in_(ids), CaseResource.closed_at.is_(None))
        .limit(1)
    )
    if taken is not None:
        raise Conflict("reclaim.case_open", case=taken)
    if _released(work, ids):
        raise Conflict("reclaim.release_open")
    until = exempt_until(work, ids)
    if until is not None and opening.cause is not Cause.TERM:  # a renewed term is told of before it ends
        raise Conflict("reclaim.exempt", until=until.astimezone(work.calendar.zone).date().isoformat())
    problems = []
    if not opening.reason.strip():
        problems.append(Problem("reason.missing", "reason"))
    if len({(r.unit_id, r.sub_cloud_id) for r in resources}) > 1:
        problems.append(Problem("reclaim.mixed", "resources"))
    if dead := [r.number for r in resources if not can_be_taken_up(r)]:
        problems.append(Problem("reclaim.not_live", "resources", params={"resources": "、".join(dead)}))
    if others := inventory.standing_on(work, ids):
        problems.append(Problem("release.in_use", "resources", params={"resources": "、".join(others)}))
    if problems:
        raise Invalid(problems)
    protection.check(work, opening.protected, resources)


def _released(work: Work, ids: Sequence[UUID]) -> bool:
    """Whether the unit is giving one of them back already."""
    asked = (
        select(Release.id)
        .join(ReleaseResource, ReleaseResource.release_id == Release.id)
        .where(ReleaseResource.resource_id.in_(ids), Release.state.in_(_ON_ITS_WAY))
        .limit(1)
    )
    return work.session.scalar(asked) is not None


def exempt_until(work: Work, ids: Sequence[UUID]) -> datetime | None:
    """Until when one of these may not be taken up again; None: it may."""
    return work.session.scalar(
        select(func.max(ReclaimCase.exempt_until))
        .join(CaseResource, CaseResource.case_id == ReclaimCase.id)
        .where(CaseResource.resource_id.in_(ids), ReclaimCase.exempt_until > work.now)
    )


def _mlps_level(work: Work, resources: Sequence[Resource]) -> int | None:
    """The highest level of the information systems concerned."""
    systems = {r.system_id for r in resources if r.system_id is not None}
    return work.session.scalar(select(func.max(InformationSystem.mlps_level)).where(InformationSystem.id.in_(systems)))
