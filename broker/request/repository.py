"""Reads and locks requests, as an actor may see them.

Called by: the services of every stage and the API's pages. Must not: change a state.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud
from broker.db.base import AnyRow, AnySelect
from broker.errors import NotFound, Stale
from broker.inventory.models import InformationSystem
from broker.lifecycle import Role
from broker.request.models import RequestItem, RequestRevision, ServiceRequest
from broker.tenancy.models import UnitPeriod
from broker.tenancy.values import Actor

_DUTY_COLUMNS = {
    Role.APPROVER: ServiceRequest.deciding_unit_id,
    Role.ASSESSOR: ServiceRequest.assessing_unit_id,
    Role.OPERATOR: ServiceRequest.delivering_unit_id,
}


def visible(actor: Actor) -> ColumnElement[bool]:
    """Which requests an actor may know of: its unit's tree, and those it has a duty on. Join ``UnitPeriod`` first."""
    if actor.sees_everything:
        return true()
    conditions: list[ColumnElement[bool]] = [UnitPeriod.ancestors.contains([actor.unit_id])]
    for role, column in _DUTY_COLUMNS.items():
        units = {actor.unit_id} if role in actor.roles else set()
        units |= {p.unit_id for p in actor.deputy_for.get(role, ())}
        if units:
            conditions.append(and_(column.in_(units), ServiceRequest.submitted_at.is_not(None)))
    return or_(*conditions)


def _current_unit() -> ColumnElement[bool]:
    return and_(UnitPeriod.unit_id == ServiceRequest.unit_id, func.upper_inf(UnitPeriod.during))


def load(
    session: Session, actor: Actor, request_id: UUID, *, lock: bool = False, version: int | None = None
) -> ServiceRequest:
    """One request. Raises NotFound (also when it may not be seen) and Stale ``version.stale`` (If-Match differs)."""
    statement = select(ServiceRequest).where(ServiceRequest.id == request_id)
    if not actor.sees_everything:
        statement = statement.join(UnitPeriod, _current_unit()).where(visible(actor))
    if lock:
        statement = statement.with_for_update(of=ServiceRequest)
    request = session.scalar(statement)
    if request is None:
        raise NotFound("request.not_found")
    if version is not None and request.version != version:
        raise Stale("version.stale", seen=version, current=request.version)
    return request


def revision(session: Session, request: ServiceRequest) -> RequestRevision:
    """The revision in force. Raises NotFound ``revision.none`` for a draft that was never submitted."""
    found = session.get(RequestRevision, request.revision_id) if request.revision_id else None
    if found is None:
        raise NotFound("revision.none")
    return found


def items(session: Session, request: ServiceRequest) -> list[RequestItem]:
    """The items of the revision in force, in the form's order, as they stand now (statements move their states)."""
    statement = select(RequestItem).where(RequestItem.revision_id == request.revision_id).order_by(RequestItem.ordinal)
    return list(session.scalars(statement.execution_options(populate_existing=True)))


def listing(
    session: Session,
    actor: Actor,
    *,
    states: list[str] | None = None,
    duty: Role | None = None,
    search: str = "",
    after: UUID | None = None,
    by_due: bool = False,
    limit: int = 20,
) -> list[AnyRow]:
    """A page of requests in one statement: ``(ServiceRequest, unit_name, system_name, cloud_name)``.

    Newest first, or by what is due first (a desk). ``duty`` keeps those on which the actor has that duty;
    ``after`` is the last id of the page before (newest first only).
    """
    statement: AnySelect = (
        select(
            ServiceRequest,
            UnitPeriod.name.label("unit_name"),
            InformationSystem.name.label("system_name"),
            SubCloud.name.label("cloud_name"),
        )
        .join(UnitPeriod, _current_unit())
        .outerjoin(InformationSystem, InformationSystem.id == ServiceRequest.system_id)
        .outerjoin(SubCloud, SubCloud.id == ServiceRequest.target_cloud_id)
        .where(visible(actor))
        .limit(limit)
    )
    if states:
        statement = statement.where(ServiceRequest.state.in_(states))
    if duty is not None:
        units = {actor.unit_id} | {p.unit_id for p in actor.deputy_for.get(duty, ())}
        statement = statement.where(_DUTY_COLUMNS[duty].in_(units))
    if search:
        like = f"%{search.replace('%', '').replace('_', '')}%"
        statement = statement.where(or_(ServiceRequest.number.like(like), ServiceRequest.purpose.like(like)))
    if by_due:
        return list(session.execute(statement.order_by(ServiceRequest.due_at.nulls_last(), ServiceRequest.id)).all())
    if after is not None:
        statement = statement.where(ServiceRequest.id < after)
    return list(session.execute(statement.order_by(ServiceRequest.id.desc())).all())
