"""Lists audit events with the seal each has.

Called by: the API's audit routes, the console. Must not: change anything.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from broker.audit.models import AuditEvent, AuditSeal
from broker.db.base import AnyRow, AnySelect


def listing(
    session: Session,
    *,
    request_id: UUID | None = None,
    subject_id: UUID | None = None,
    actor_id: UUID | None = None,
    action: str = "",
    after: UUID | None = None,
    limit: int = 20,
) -> list[AnyRow]:
    """A page of events, newest first, in one statement: rows of ``(AuditEvent, seq, hash)``, no seal yet: None."""
    statement: AnySelect = (
        select(AuditEvent, AuditSeal.seq, AuditSeal.hash)
        .outerjoin(AuditSeal, AuditSeal.event_id == AuditEvent.id)
        .order_by(AuditEvent.id.desc())
        .limit(limit)
    )
    if request_id is not None:
        statement = statement.where(AuditEvent.request_id == request_id)
    if subject_id is not None:
        statement = statement.where(AuditEvent.subject_id == subject_id)
    if actor_id is not None:
        statement = statement.where(AuditEvent.actor_id == actor_id)
    if action:
        statement = statement.where(AuditEvent.action == action)
    if after is not None:
        statement = statement.where(AuditEvent.id < after)
    return list(session.execute(statement).all())
