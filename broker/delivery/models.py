"""Tables of deliveries, their steps, the operator's desk and handovers.

Used by: ``delivery.service`` and the workflow's steps. One delivery is what one request gets from one sub-cloud: a dead
cloud holds up its own delivery and no other.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, CreatedAt, Id, Moment
from broker.db.together import Together
from broker.inventory.models import Project, Resource
from broker.request.models import ServiceRequest
from broker.tenancy.models import Account, Person


class Delivery(Base):
    """Waits as ``queued``, is carried by a short workflow whose id is this row's, ends handed over or on a desk.

    ``run`` counts how often the workflow was started (an operator's retry starts it again), ``mode`` whether it builds
    or undoes. ``public_key`` gets into the servers; where the applicant gave none, ``secret`` is the private half,
    encrypted with the key from the settings, shown once and then erased.
    """

    __tablename__ = "delivery"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    project_id: Mapped[UUID] = mapped_column(ForeignKey(Project.id))
    hold_id: Mapped[UUID]
    state: Mapped[str]
    run: Mapped[int] = mapped_column(server_default="1")
    mode: Mapped[str] = mapped_column(server_default="build")
    public_key: Mapped[str | None]
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    secret_shown_at: Mapped[Moment | None]
    ordered_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    queued_at: Mapped[Moment]
    finished_at: Mapped[Moment | None]

    __table_args__ = (
        UniqueConstraint("request_id", "sub_cloud_id", "hold_id"),
        CheckConstraint("mode IN ('build', 'undo')", name="mode"),
        CheckConstraint(
            "state IN ('queued', 'running', 'needs_operator', 'delivered', 'partly_delivered', 'undone', 'expired')",
            name="state",
        ),
        Index("ix_delivery_open", "queued_at", postgresql_where=column("state").in_(["queued", "running"])),
    )


class DeliveryStep(Base):
    """One step of a delivery or a release as people see it: live progress, and what went wrong."""

    __tablename__ = "delivery_step"

    id: Mapped[Id]
    subject_id: Mapped[UUID]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    run: Mapped[int]
    name: Mapped[str]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="1")
    started_at: Mapped[Moment]
    finished_at: Mapped[Moment | None]
    detail: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (
        UniqueConstraint("subject_id", "run", "name"),
        CheckConstraint("state IN ('running', 'done', 'failed', 'undone')", name="state"),
    )


class DeskCase(Base):
    """What a machine could not finish, on an operator's desk: retry, adopt, or give up with a reason."""

    __tablename__ = "desk_case"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    subject_type: Mapped[str]
    subject_id: Mapped[UUID]
    resource_id: Mapped[UUID | None] = mapped_column(ForeignKey(Resource.id))
    unit_id: Mapped[UUID]
    step: Mapped[str]
    code: Mapped[str]
    detail: Mapped[str]
    opened_at: Mapped[CreatedAt]
    action: Mapped[str | None]
    reason: Mapped[str | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    closed_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("action IN ('retry', 'adopt', 'give_up')", name="action"),
        CheckConstraint("subject_type IN ('delivery', 'release')", name="subject_type"),
        CheckConstraint("(closed_at IS NULL) = (action IS NULL)", name="closed"),
        Index(
            "uq_desk_case_open",
            "subject_id",
            "step",
            "resource_id",
            unique=True,
            postgresql_where=column("closed_at").is_(None),
            postgresql_nulls_not_distinct=True,
        ),
    )


class Handover(Together, Base):
    """What was handed over in one run of a delivery: what, where, addresses, how to get in."""

    __tablename__ = "handover"

    id: Mapped[Id]
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey(Delivery.id))
    run: Mapped[int]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    contact_id: Mapped[UUID] = mapped_column(ForeignKey(Person.id))
    record: Mapped[dict[str, Any]] = mapped_column(JSONB)
    handed_over_at: Mapped[Moment]

    __table_args__ = (UniqueConstraint("delivery_id", "run"),)


class CapacityDecision(Base):
    """What an operator decided where a sub-cloud's total is not ours (``delivery.capacity``). Rows are only added.

    ``ours`` and ``reported`` are the totals that were seen; null: no such class on that side.
    """

    __tablename__ = "capacity_decision"

    id: Mapped[Id]
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    resource_class: Mapped[str]
    decision: Mapped[str]
    ours: Mapped[int | None] = mapped_column(BigInteger)
    reported: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str]
    decided_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment]

    __table_args__ = (
        CheckConstraint("decision IN ('accept', 'leave')", name="decision"),
        Index(None, "sub_cloud_id", "resource_class", "id"),
    )
