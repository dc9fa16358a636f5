"""Tables of audit events and their seals. Both insert-only: the runtime role may neither update nor delete.

Events hold ids and codes, never names or telephone numbers.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, CreatedAt, Id, Moment
from broker.db.together import Together


class AuditEvent(Together, Base):
    """Who did what to what, when, by which rule. Written in the use-case's own transaction, not yet chained."""

    __tablename__ = "audit_event"

    id: Mapped[Id]
    at: Mapped[Moment]
    actor_id: Mapped[UUID | None]
    on_behalf_of: Mapped[UUID | None]
    action: Mapped[str]
    subject_type: Mapped[str]
    subject_id: Mapped[UUID]
    request_id: Mapped[UUID | None] = mapped_column(index=True)
    article: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    trace_id: Mapped[str]

    __table_args__ = (Index("ix_audit_event_subject_id", "subject_id"),)


class AuditSeal(Base):
    """The chain: ``hash`` = SM3(previous hash, sequence number, canonical event)."""

    __tablename__ = "audit_seal"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[UUID] = mapped_column(ForeignKey(AuditEvent.id), unique=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[CreatedAt]
