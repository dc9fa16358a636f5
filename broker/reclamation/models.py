"""Tables of releases and which resources each takes back."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, column
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, Id, Moment
from broker.inventory.models import Resource
from broker.request.models import ServiceRequest
from broker.tenancy.models import Account, Unit


class Release(Base):
    """Asked for by the unit, confirmed by the delivering authority, carried by a workflow whose id is this row's."""

    __tablename__ = "release"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    delivering_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    state: Mapped[str]
    run: Mapped[int] = mapped_column(server_default="1")
    reason: Mapped[str]
    asked_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    asked_at: Mapped[Moment]
    confirmed_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    confirmed_at: Mapped[Moment | None]
    finished_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('asked', 'queued', 'running', 'needs_operator', 'released', 'declined')", name="state"
        ),
        Index("ix_release_open", "confirmed_at", postgresql_where=column("state").in_(["queued", "running"])),
    )


class ReleaseResource(Base):
    """A resource a release takes back."""

    __tablename__ = "release_resource"

    id: Mapped[Id]
    release_id: Mapped[UUID] = mapped_column(ForeignKey(Release.id))
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))

    __table_args__ = (UniqueConstraint("release_id", "resource_id"),)
