"""Reads cases: what an actor may see, one case with all that belongs to it, the shares that are taken.

Called by: the API, the console, the use-cases of this room. Must not: change anything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, false, func, or_, select

from broker.catalog.models import SubCloud, SubCloudAuthority
from broker.db.base import AnyRow, AnySelect
from broker.errors import NotFound
from broker.inventory.models import InformationSystem, Resource, ServerSnapshot
from broker.lifecycle import CASE_HOLDS, CASE_OPEN, CaseEvent, CaseState, Role, case_possible
from broker.reclamation import share
from broker.reclamation.models import CaseAct, CaseObjection, CaseResource, ReclaimCase
from broker.reclamation.values import Cause, Room
from broker.settings import Settings
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.repository import accounts_of_one, holds, visible_units
from broker.tenancy.work import Work

_OFFICES = {Role.APPROVER: ReclaimCase.deciding_unit_id, Role.OPERATOR: ReclaimCase.delivering_unit_id}


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A case with its resources, objections, history and snapshots, oldest first."""

    case: ReclaimCase
    unit_name: str
    sub_cloud: str
    sub_cloud_name: str
    system_name: str
    resources: Sequence[AnyRow]
    """Rows of ``(Resource, was_active)``."""
    objections: Sequence[CaseObjection]
    acts: Sequence[CaseAct]
    snapshots: Sequence[ServerSnapshot]


def seen(work: Work) -> ColumnElement[bool]:
    """Cases of the actor's unit tree, and those that its unit (or one it is a deputy of) answers or carries out."""
    parts = [visible_units(work.actor, ReclaimCase.unit_id, work.now)]
    return or_(*parts, answered_here(work))


def answered_here(work: Work) -> ColumnElement[bool]:
    """Cases that the actor's unit (or one it is a deputy of) answers or carries out."""
    return or_(false(), *(column.in_(units) for role, column in _OFFICES.items() if (units := _acts_for(work, role))))


def _acts_for(work: Work, role: Role) -> set[UUID]:
    """The units for which the actor acts in a role: its own, and those it is a deputy of."""
    units = {p.unit_id for p in work.actor.deputy_for.get(role, ())}
    if role in work.actor.roles and work.actor.unit_id is not None:
        units.add(work.actor.unit_id)
    return units


def in_tree(work: Work, unit_id: UUID) -> bool:
    """Whether a unit lies in the tree of the actor's own."""
    found = select(Unit.id).where(Unit.id == unit_id, visible_units(work.actor, Unit.id, work.now))
    return work.session.scalar(found) is not None


def visible(work: Work, case_id: UUID) -> None:
    """Raises NotFound ``reclaim.not_found`` for a case that the actor may not see."""
    mine = select(ReclaimCase.id).where(ReclaimCase.id == case_id, seen(work))
    if work.session.scalar(mine) is None:
        raise NotFound("reclaim.not_found")


def _rows(work: Work) -> AnySelect:
    count = (
        select(func.count(CaseResource.id))
        .where(CaseResource.case_id == ReclaimCase.id)
        .correlate(ReclaimCase)
        .scalar_subquery()
    )
    return (
        select(
            ReclaimCase,
            UnitPeriod.name.label("unit_name"),
            SubCloud.code.label("sub_cloud"),
            SubCloud.name.label("sub_cloud_name"),
            InformationSystem.name.label("system_name"),
            count.label("resources"),
        )
        .join(SubCloud, SubCloud.id == ReclaimCase.sub_cloud_id)
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == ReclaimCase.unit_id) & holds(UnitPeriod.during, work.now))
        .outerjoin(InformationSystem, InformationSystem.id == ReclaimCase.system_id)
        .where(seen(work))
    )


def listing(
    work: Work,
    *,
    states: Sequence[str] = (),
    only_open: bool = False,
    number: str = "",
    resource_id: UUID | None = None,
    after: UUID | None = None,
    limit: int = 20,
) -> list[AnyRow]:
    """A page of cases, newest first: rows of ``(ReclaimCase, unit_name, sub_cloud, sub_cloud_name, system_name, …)``.

    ``resources``: how many the case is about.
    """
    statement = _rows(work).order_by(ReclaimCase.id.desc()).limit(limit)
    if states:
        statement = statement.where(ReclaimCase.state.in_(states))
    if only_open:
        statement = statement.where(ReclaimCase.state.in_(sorted(CASE_OPEN)))
    if number:
        statement = statement.where(ReclaimCase.number == number.strip().upper())
    if resource_id is not None:
        its = select(CaseResource.case_id).where(CaseResource.resource_id == resource_id)
        statement = statement.where(ReclaimCase.id.in_(its))
    if after is not None:
        statement = statement.where(ReclaimCase.id < after)
    return list(work.session.execute(statement).all())


def file(work: Work, case_id: UUID) -> CaseFile:
    """One case with everything. Raises NotFound ``reclaim.not_found``."""
    row = work.session.execute(_rows(work).where(ReclaimCase.id == case_id)).first()
    if row is None:
        raise NotFound("reclaim.not_found")
    session = work.session
    resources: AnySelect = (
        select(Resource, CaseResource.was_active)
        .join(CaseResource, CaseResource.resource_id == Resource.id)
        .where(CaseResource.case_id == case_id)
        .order_by(Resource.id)
    )
    return CaseFile(
        case=row[0],
        unit_name=row.unit_name or "",
        sub_cloud=row.sub_cloud,
        sub_cloud_name=row.sub_cloud_name,
        system_name=row.system_name or "",
        resources=session.execute(resources).all(),
        objections=session.scalars(
            select(CaseObjection).where(CaseObjection.case_id == case_id).order_by(CaseObjection.id)
        ).all(),
        acts=session.scalars(select(CaseAct).where(CaseAct.case_id == case_id).order_by(CaseAct.id)).all(),
        snapshots=session.scalars(
            select(ServerSnapshot).where(ServerSnapshot.subject_id == case_id).order_by(ServerSnapshot.id)
        ).all(),
    )


def siblings(work: Work, case: ReclaimCase) -> Sequence[ReclaimCase]:
    """The other parts of the whole that a case was opened as, of those the actor may see, oldest first."""
    whole = case.split_from or case.id
    parts = or_(ReclaimCase.id == whole, ReclaimCase.split_from == whole)
    statement = select(ReclaimCase).where(parts, ReclaimCase.id != case.id, seen(work)).order_by(ReclaimCase.id)
    return work.session.scalars(statement).all()


def open_cases(work: Work, resource_ids: Collection[UUID]) -> dict[UUID, ReclaimCase]:
    """Resource -> the open case that it is in (one at most), of the cases that the actor may see. One statement."""
    statement = (
        select(CaseResource.resource_id, ReclaimCase)
        .join(ReclaimCase, ReclaimCase.id == CaseResource.case_id)
        .where(CaseResource.resource_id.in_(resource_ids), CaseResource.closed_at.is_(None), seen(work))
    )
    return {row[0]: row[1] for row in work.session.execute(statement)}


def in_trouble(work: Work, *, limit: int = 100) -> Sequence[AnyRow]:
    """Cases that the machine could not carry on with and that the actor's authority carries out, oldest first.

    Rows of ``(ReclaimCase, stalled_at)``: when it last gave up.
    """
    stalled_at = (
        select(func.max(CaseAct.at))
        .where(CaseAct.case_id == ReclaimCase.id, CaseAct.event == "stall")
        .correlate(ReclaimCase)
        .scalar_subquery()
    )
    statement = (
        select(ReclaimCase, stalled_at.label("stalled_at"))
        .where(
            ReclaimCase.trouble.is_not(None),
            ReclaimCase.closed_at.is_(None),
            ReclaimCase.delivering_unit_id.in_(_acts_for(work, Role.OPERATOR)),
        )
        .order_by(ReclaimCase.id)
        .limit(limit)
    )
    return work.session.execute(statement).all()


def clouds_to_open_in(work: Work) -> frozenset[str]:
    """Codes of the sub-clouds that the actor delivers for as an operator: where it may open a case by hand."""
    units = _acts_for(work, Role.OPERATOR)
    if not units:
        return frozenset()
    statement = (
        select(SubCloud.code)
        .join(SubCloudAuthority, SubCloudAuthority.sub_cloud_id == SubCloud.id)
        .where(
            SubCloudAuthority.unit_id.in_(units),
            SubCloudAuthority.duty == "deliver",
            holds(SubCloudAuthority.during, work.now),
        )
    )
    return frozenset(work.session.scalars(statement))


def offers(work: Work, case: ReclaimCase) -> list[str]:
    """What the actor may do to a case now: what a page offers as buttons. The use-cases check again."""
    actor = work.actor
    roles: set[Role] = set()
    if in_tree(work, case.unit_id):
        roles |= actor.roles & {Role.APPLICANT, Role.UNIT_LEADER}
    for role, unit_id in ((Role.APPROVER, case.deciding_unit_id), (Role.OPERATOR, case.delivering_unit_id)):
        own = role in actor.roles and actor.unit_id == unit_id
        if own or any(p.unit_id == unit_id for p in actor.deputy_for.get(role, ())):
            roles.add(role)
    events = {e.value for e in case_possible(CaseState(case.state), frozenset(roles))} - _NOT_OFFERED
    if case.proposed_by is not None and actor.account_id in accounts_of_one(work.session, case.proposed_by):
        events.discard(CaseEvent.CONFIRM.value)
    if case.keep_until is not None and work.now < case.keep_until:
        events.discard(CaseEvent.PROPOSE.value)
    if case.state == CaseState.SUSPENDING.value and case.trouble is None:
        events -= {CaseEvent.RESUME.value, CaseEvent.OBJECT.value}
    if CaseEvent.OBJECT.value in events and case.cause == Cause.TERM.value:
        events.add("renewal")
    if case.state == CaseState.RESUMING.value and Role.APPROVER in roles and _unanswered(work, case):
        events |= {CaseEvent.ACCEPT.value, CaseEvent.REFUSE.value, CaseEvent.EXTEND.value}
    if Role.OPERATOR in roles:
        events |= {"retry"} if case.trouble else set()
        events |= {"waive"} if case.waits_for == "unmeasured" else set()
    return sorted(events)


def _unanswered(work: Work, case: ReclaimCase) -> bool:
    open_one = select(CaseObjection.id).where(CaseObjection.case_id == case.id, CaseObjection.answered_at.is_(None))
    return work.session.scalar(open_one) is not None


_NOT_OFFERED = {CaseEvent.GIVE_BACK.value, CaseEvent.RENEW.value}
"""What other pages do: giving back is a request's, renewing is an answer."""


def shares(work: Work, settings: Settings) -> list[tuple[str, list[Room]]]:
    """How much of each unit's and cloud's share is taken, for those of which something is: by unit's name."""
    held = (
        select(ReclaimCase.unit_id, ReclaimCase.sub_cloud_id, UnitPeriod.name)
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == ReclaimCase.unit_id) & holds(UnitPeriod.during, work.now))
        .where(ReclaimCase.state.in_(sorted(CASE_HOLDS)), seen(work))
        .distinct()
    )
    return [
        (name or "", share.rooms(work, settings, unit_id, cloud_id))
        for unit_id, cloud_id, name in work.session.execute(held).all()
    ]
