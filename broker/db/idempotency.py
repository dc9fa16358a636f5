"""Remembered answers to POSTs (``Idempotency-Key``): written in the use-case's own transaction.

Called by: the API's unit of work. Must not: know what the answers mean.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary, delete
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from broker.db.base import Base, CreatedAt
from broker.db.together import Together


class IdempotencyKey(Together, Base):
    """The answer once given to a POST, kept so that the same key gives the same answer and acts once."""

    __tablename__ = "idempotency_key"

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int]
    body: Mapped[Any] = mapped_column(JSONB)
    created_at: Mapped[CreatedAt]


KEPT = timedelta(days=7)


def forget(session: Session, now: datetime) -> None:
    """Forget answers that nobody will ask for again."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now - KEPT))
