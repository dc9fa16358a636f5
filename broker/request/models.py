"""Tables of requests, their immutable revisions, items, attachments and clocks.

Used by: ``request.repository`` and read by later stages. A revision is never updated (the runtime role may not); a
decision names the revision it saw.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, column, text
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, CreatedAt, During, Id, Moment
from broker.db.together import Together
from broker.inventory.models import InformationSystem
from broker.tenancy.models import Account, Person, Unit


class ServiceRequest(Base):
    """What a unit asks for, and how far it has come. ``version`` is the ETag: it grows with every change."""

    __tablename__ = "service_request"

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(
        unique=True,
        server_default=text(
            "'GX-' || to_char(clock_timestamp() AT TIME ZONE 'Asia/Shanghai', 'YYYY') || '-'"
            " || lpad(nextval('broker.request_number')::text, 6, '0')"
        ),
    )
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    applicant_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    state: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    draft: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey(Person.id))
    revision_id: Mapped[UUID | None]
    purpose: Mapped[str]
    system_id: Mapped[UUID | None] = mapped_column(ForeignKey(InformationSystem.id))
    target_cloud_id: Mapped[UUID | None] = mapped_column(ForeignKey(SubCloud.id))
    deciding_unit_id: Mapped[UUID | None] = mapped_column(ForeignKey(Unit.id))
    assessing_unit_id: Mapped[UUID | None] = mapped_column(ForeignKey(Unit.id))
    delivering_unit_id: Mapped[UUID | None] = mapped_column(ForeignKey(Unit.id))
    due_at: Mapped[Moment | None]
    created_at: Mapped[CreatedAt]
    submitted_at: Mapped[Moment | None]
    closed_at: Mapped[Moment | None]

    __table_args__ = (
        Index("ix_service_request_unit_id_id", "unit_id", "id"),
        Index("ix_service_request_state_due_at", "state", "due_at"),
        Index("ix_service_request_deciding", "deciding_unit_id", "state"),
        Index("ix_service_request_delivering", "delivering_unit_id", "state"),
    )


class RequestRevision(Together, Base):
    """One submission as it was, with the quote it saw. Insert-only.

    ``form`` holds no personal data: the contact is ``contact_id``. ``digest`` is SM3 (GB/T 32905) over the form.
    """

    __tablename__ = "request_revision"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id))
    ordinal: Mapped[int]
    form: Mapped[dict[str, Any]] = mapped_column(JSONB)
    contact_id: Mapped[UUID] = mapped_column(ForeignKey(Person.id))
    digest: Mapped[str]
    quote: Mapped[dict[str, Any]] = mapped_column(JSONB)
    quote_fen: Mapped[int] = mapped_column(BigInteger)
    submitted_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    submitted_at: Mapped[Moment]

    __table_args__ = (UniqueConstraint("request_id", "ordinal"),)


class RequestItem(Together, Base):
    """One line of a revision: servers, volumes or segments, with a state of its own."""

    __tablename__ = "request_item"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    revision_id: Mapped[UUID] = mapped_column(ForeignKey(RequestRevision.id))
    ordinal: Mapped[int]
    kind: Mapped[str]
    count: Mapped[int]
    spec: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[str]

    __table_args__ = (
        UniqueConstraint("revision_id", "ordinal"),
        CheckConstraint("kind IN ('server', 'volume', 'segment')", name="kind"),
        CheckConstraint("count > 0", name="count"),
    )


class Attachment(Base):
    """A document of a request (the official letter with its 文号). The bytes are stored behind ``url``."""

    __tablename__ = "attachment"

    id: Mapped[Id]
    request_id: Mapped[UUID | None] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    uploaded_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    document_number: Mapped[str]
    file_name: Mapped[str]
    media_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sm3: Mapped[str]
    url: Mapped[str]
    created_at: Mapped[CreatedAt]


class StageClock(Together, Base):
    """How long a stage may take and has taken (Art. 17): working days from receipt; stands still with the applicant."""

    __tablename__ = "stage_clock"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id))
    stage: Mapped[str]
    round: Mapped[int]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    workdays: Mapped[int]
    received_at: Mapped[Moment]
    due_at: Mapped[Moment]
    provisional: Mapped[bool]
    calendar_version: Mapped[str]
    finished_at: Mapped[Moment | None]

    __table_args__ = (
        UniqueConstraint("request_id", "stage", "round"),
        CheckConstraint("stage IN ('approval', 'assessment', 'delivery')", name="stage"),
        Index("ix_stage_clock_open", "due_at", postgresql_where=column("finished_at").is_(None)),
    )


class ClockStop(Base):
    """A stretch during which a stage's clock stood still because the request was with the applicant."""

    __tablename__ = "clock_stop"

    id: Mapped[Id]
    clock_id: Mapped[UUID] = mapped_column(ForeignKey(StageClock.id))
    during: Mapped[During]

    __table_args__ = (
        ExcludeConstraint((column("clock_id"), "="), (column("during"), "&&"), using="gist", name="ex_clock_stop"),
    )


class NetworkException(Base):
    """A recorded exception to Art. 10 (no new dedicated networks): granted by a named person, with a reason."""

    __tablename__ = "network_exception"

    id: Mapped[Id]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id), index=True)
    granted_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    document_number: Mapped[str]
    reason: Mapped[str]
    during: Mapped[During]
    created_at: Mapped[CreatedAt]
