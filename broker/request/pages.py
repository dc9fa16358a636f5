"""What a request's page shows of its past: the revisions, each with its form and its quote.

Called by: the console. Must not: change anything; whoever calls has loaded the request as the actor may see it.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud
from broker.db.base import AnyRow, AnySelect
from broker.inventory.models import InformationSystem
from broker.request.models import RequestRevision, ServiceRequest
from broker.tenancy.models import UnitPeriod


def revisions(session: Session, request_id: UUID) -> list[RequestRevision]:
    """The submissions of a request, newest first."""
    statement = (
        select(RequestRevision).where(RequestRevision.request_id == request_id).order_by(RequestRevision.ordinal.desc())
    )
    return list(session.scalars(statement))


def surroundings(session: Session, request: ServiceRequest) -> AnyRow:
    """Names of what a request refers to: ``(unit_name, system, cloud)``; the last two are rows or None."""
    statement: AnySelect = (
        select(UnitPeriod.name.label("unit_name"), InformationSystem, SubCloud)
        .select_from(ServiceRequest)
        .join(UnitPeriod, (UnitPeriod.unit_id == ServiceRequest.unit_id) & func.upper_inf(UnitPeriod.during))
        .outerjoin(InformationSystem, InformationSystem.id == ServiceRequest.system_id)
        .outerjoin(SubCloud, SubCloud.id == ServiceRequest.target_cloud_id)
        .where(ServiceRequest.id == request.id)
    )
    return session.execute(statement).one()
