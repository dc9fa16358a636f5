"""The table of notices: outbox for channels and inbox for people at once.

Used by: ``notify.service``. A notice is for one account, or for everybody who holds a role in a unit.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, CreatedAt, Id, Moment
from broker.db.together import Together
from broker.tenancy.models import Account, Unit


class Notice(Together, Base):
    """Something somebody should know. ``code`` names the text; ``dedupe`` makes a reminder happen once."""

    __tablename__ = "notice"

    id: Mapped[Id]
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    unit_id: Mapped[UUID | None] = mapped_column(ForeignKey(Unit.id))
    role: Mapped[str | None]
    code: Mapped[str]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    subject_type: Mapped[str]
    subject_id: Mapped[UUID]
    dedupe: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("(account_id IS NULL) = (unit_id IS NOT NULL AND role IS NOT NULL)", name="audience"),
        Index("ix_notice_account_id_id", "account_id", "id"),
        Index("ix_notice_unit_id_role_id", "unit_id", "role", "id"),
    )


class NoticeRead(Base):
    """Who has read a notice."""

    __tablename__ = "notice_read"

    id: Mapped[Id]
    notice_id: Mapped[UUID] = mapped_column(ForeignKey(Notice.id))
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    read_at: Mapped[Moment]

    __table_args__ = (UniqueConstraint("notice_id", "account_id"),)
