"""The table of approvals: one row a decision, insert-only."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Id, Moment
from broker.db.together import Together
from broker.request.models import RequestRevision, ServiceRequest
from broker.tenancy.models import Account


class Approval(Together, Base):
    """A decision on one revision, by whom (and for whom, when a deputy acts), why and when."""

    __tablename__ = "approval"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    revision_id: Mapped[UUID] = mapped_column(ForeignKey(RequestRevision.id))
    decision: Mapped[str]
    reason: Mapped[str]
    article: Mapped[str]
    decided_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    on_behalf_of: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment]
    late: Mapped[bool]

    __table_args__ = (CheckConstraint("decision IN ('approve', 'return', 'refuse')", name="decision"),)
