"""Writing audit events: gathered during a use-case, inserted in its transaction with one statement.

Called by: every service that changes something. Must not: chain (the sealer does), commit, or take personal data.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from broker.audit.models import AuditEvent


def record(
    session: Session,
    *,
    at: datetime,
    actor_id: UUID | None,
    action: str,
    subject_type: str,
    subject_id: UUID,
    request_id: UUID | None = None,
    on_behalf_of: UUID | None = None,
    article: str = "",
    trace_id: str = "",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Add one event to the session; it is written with the next flush, together with the others of its kind.

    ``actor_id`` is ``None`` for the system itself. ``data`` holds codes, ids and numbers that JSON can carry.
    """
    session.add(
        AuditEvent(
            at=at,
            actor_id=actor_id,
            on_behalf_of=on_behalf_of,
            action=action,
            subject_type=subject_type,
            subject_id=subject_id,
            request_id=request_id,
            article=article,
            data=dict(data or {}),
            trace_id=trace_id,
        )
    )
