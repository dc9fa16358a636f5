"""The table of notices: outbox for channels and inbox for people at once.

Used by: ``notify.service``. A notice is for one account, or for everybody who holds a role in a unit.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
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
    expanded_at: Mapped[Moment | None]
    """When it was decided to whom it is sent by the channels there were."""

    __table_args__ = (
        Index("ix_notice_new", "id", postgresql_where=text("expanded_at IS NULL")),
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


class NoticeSending(Base):
    """A notice on its way to one address: an account's e-mail, or a group's webhook. The address itself is not here.

    Claimed with a lease; ``handing`` is committed just before the content is handed over. What was being handed over
    when its worker was lost has an unknown outcome: a person decides, it is never sent twice by itself.
    """

    __tablename__ = "notice_sending"

    id: Mapped[Id]
    notice_id: Mapped[UUID] = mapped_column(ForeignKey(Notice.id))
    channel: Mapped[str]
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    webhook: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_at: Mapped[Moment]
    leased_until: Mapped[Moment | None]
    code: Mapped[str] = mapped_column(server_default="")
    sent_at: Mapped[Moment | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))

    __table_args__ = (
        CheckConstraint("channel IN ('email', 'webhook')", name="channel"),
        CheckConstraint("(channel = 'email') = (account_id IS NOT NULL)", name="account"),
        CheckConstraint("(channel = 'webhook') = (webhook <> '')", name="webhook"),
        CheckConstraint("state IN ('waiting', 'sending', 'handing', 'sent', 'unknown', 'failed')", name="state"),
        CheckConstraint("(leased_until IS NOT NULL) = (state IN ('sending', 'handing'))", name="lease"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent"),
        UniqueConstraint("notice_id", "channel", "account_id", "webhook", postgresql_nulls_not_distinct=True),
        Index("ix_notice_sending_open", "next_at", postgresql_where=text("state IN ('waiting', 'sending', 'handing')")),
    )
