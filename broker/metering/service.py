"""Usage spans: read from the resources' periods and from what came by file, stored nowhere a second time.

Called by: reclamation (last reading), the console. Must not: know prices.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.metering import usage_sql
from broker.metering.values import Span
from broker.tenancy.work import Work

_SPANS = text("""
SELECT resource_id, meter, quantity, state,
       greatest(start_at, :start) AS start_at,
       least(end_at, :end) AS end_at,
       end_at IS NULL AS open
FROM broker.usage_span
WHERE start_at < :end AND (end_at IS NULL OR end_at > :start)
  AND (CAST(:resource_ids AS uuid[]) IS NULL OR resource_id = ANY (CAST(:resource_ids AS uuid[])))
ORDER BY resource_id, meter, start_at
""")


def spans(
    session: Session, *, start: datetime, end: datetime, resource_ids: Collection[UUID] | None = None
) -> tuple[Span, ...]:
    """Usage with any time in [start, end), cut to it; of all resources or of some, by resource, meter and time."""
    ids = None if resource_ids is None else list(resource_ids)
    return tuple(Span(*row) for row in session.execute(_SPANS, {"start": start, "end": end, "resource_ids": ids}))


def go_on(work: Work, resource_ids: Collection[UUID]) -> None:
    """Resources stay after all: what ended with them goes on, of a lost one from now. Before ``inventory.keep``."""
    usage_sql.go_on(work.session, resource_ids, work.now)


def end(work: Work, resource_ids: Collection[UUID]) -> None:
    """Resources are given back: what is recorded beside their size ends now, as their periods do."""
    usage_sql.end(work.session, resource_ids, work.now)
