"""Tables of assessments and of where each item was placed, with a reason for every candidate."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, Id, Moment
from broker.db.together import Together
from broker.request.models import RequestItem, RequestRevision, ServiceRequest
from broker.tenancy.models import Account


class Assessment(Together, Base):
    """A confirmed or returned assessment of one revision. Insert-only."""

    __tablename__ = "assessment"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    revision_id: Mapped[UUID] = mapped_column(ForeignKey(RequestRevision.id))
    outcome: Mapped[str]
    reason: Mapped[str]
    hold_expires_at: Mapped[Moment | None]
    quote: Mapped[dict[str, Any]] = mapped_column(JSONB)
    monthly_fen: Mapped[int] = mapped_column(BigInteger)
    decided_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    on_behalf_of: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment]
    late: Mapped[bool]

    __table_args__ = (CheckConstraint("outcome IN ('confirm', 'return')", name="outcome"),)


class Placement(Together, Base):
    """Which sub-cloud an item goes to, in which size; ``candidates`` keeps for each one why (not). Insert-only."""

    __tablename__ = "placement"

    id: Mapped[Id]
    assessment_id: Mapped[UUID] = mapped_column(ForeignKey(Assessment.id))
    item_id: Mapped[UUID] = mapped_column(ForeignKey(RequestItem.id))
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    overridden: Mapped[bool]
    spec: Mapped[dict[str, Any]] = mapped_column(JSONB)
    candidates: Mapped[list[Any]] = mapped_column(JSONB)

    __table_args__ = (UniqueConstraint("assessment_id", "item_id"),)
