"""What pages show of assessments: every one of a request, and each placement with the item and the cloud it names.

Called by: the console. Must not: change anything; whoever calls has loaded the request as the actor may see it.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from broker.assessment.models import Assessment, Placement
from broker.catalog.models import SubCloud
from broker.db.base import AnyRow, AnySelect
from broker.request.models import RequestItem


def history(session: Session, request_id: UUID) -> list[Assessment]:
    """The assessments of a request, confirmed and returned, oldest first."""
    return list(session.scalars(select(Assessment).where(Assessment.request_id == request_id).order_by(Assessment.id)))


def placements(session: Session, assessment_id: UUID) -> list[AnyRow]:
    """Where each item went, in the form's order: rows of ``(Placement, RequestItem, cloud_name)``."""
    statement: AnySelect = (
        select(Placement, RequestItem, SubCloud.name.label("cloud_name"))
        .join(RequestItem, RequestItem.id == Placement.item_id)
        .join(SubCloud, SubCloud.id == Placement.sub_cloud_id)
        .where(Placement.assessment_id == assessment_id)
        .order_by(RequestItem.ordinal)
    )
    return list(session.execute(statement).all())
