"""The share of a unit's and of a cloud's resources that may be suspended at once: a wrong policy takes no city down.

Called by: the step that admits a case to its suspension; the board. Must not: decide what a case is about.

Admissions take one lock, and count after they have it: two that run at the same time see each other. A unit counts with
the tree below it, and so does each unit above it but the region itself: fifty counties are one city.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from broker.lifecycle import CASE_HOLDS
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import Room
from broker.settings import Settings
from broker.tenancy.work import Work

_LOCK = 0x7265_636C

_ROOMS = text("""
WITH scope AS (
  SELECT 'unit' AS scope, a.id AS unit_id, NULL::uuid AS cloud_id
  FROM broker.unit_period up CROSS JOIN LATERAL unnest(up.ancestors) AS a(id) JOIN broker.unit u ON u.id = a.id
  WHERE up.unit_id = :unit AND up.during @> CAST(:now AS timestamptz) AND u.kind <> 'region'
  UNION ALL SELECT 'cloud', NULL, :cloud
), inside AS (
  SELECT s.scope, s.unit_id, s.cloud_id, p.unit_id AS member
  FROM scope s LEFT JOIN broker.unit_period p
    ON p.ancestors @> ARRAY[s.unit_id] AND p.during @> CAST(:now AS timestamptz)
)
SELECT s.scope,
  (SELECT count(*) FROM broker.resource r WHERE r.state IN ('active', 'stopped')
    AND (r.sub_cloud_id = s.cloud_id
      OR r.unit_id IN (SELECT member FROM inside i WHERE i.unit_id = s.unit_id))) AS live,
  (SELECT count(*) FROM broker.reclaim_case c JOIN broker.reclaim_case_resource cr ON cr.case_id = c.id
    WHERE c.state = ANY(CAST(:holds AS text[])) AND c.id IS DISTINCT FROM CAST(:case AS uuid)
    AND (c.sub_cloud_id = s.cloud_id
      OR c.unit_id IN (SELECT member FROM inside i WHERE i.unit_id = s.unit_id))) AS held
FROM scope s
""")


def rooms(work: Work, settings: Settings, unit_id: UUID, sub_cloud_id: UUID, *, but: UUID | None = None) -> list[Room]:
    """What is live and held in every scope that a unit's resources in a cloud count in, without the case ``but``."""
    values = {"unit": unit_id, "cloud": sub_cloud_id, "case": but, "now": work.now}
    percent = {"unit": settings.reclaim_unit_percent, "cloud": settings.reclaim_cloud_percent}
    rows = work.session.execute(_ROOMS, values | {"holds": sorted(CASE_HOLDS)})
    return [Room(row.scope, row.live, row.held, percent[row.scope]) for row in rows]


def full(work: Work, settings: Settings, case: ReclaimCase, count: int) -> str:
    """The scope that has no room for this case (``unit``, ``cloud``); empty when it may go on.

    Until the caller's transaction ends no other case is admitted.
    """
    work.session.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _LOCK})
    work.session.flush()
    for room in rooms(work, settings, case.unit_id, case.sub_cloud_id, but=case.id):
        if not room.fits(count):
            return room.scope
    return ""
