"""What a step rests on: segments as the extranet has them, systems as inventory has them.

Called by: ``steps``, ``board``. Must not: call a router; a segment is as good as when its probes last saw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from broker.dedicated.models import DedicatedNetwork, NetworkRuling
from broker.dedicated.values import SegmentFacts, SystemFacts
from broker.tenancy.work import Work

# A segment is the network's own when its unit stands below the network's, or above it.
_SEGMENTS = text("""
SELECT r.id, r.number, r.spec->>'zone' AS zone, r.state IN ('active', 'stopped') AS delivered,
  EXISTS (SELECT FROM broker.unit_period p WHERE p.during @> CAST(:now AS timestamptz)
    AND ((p.unit_id = r.unit_id AND p.ancestors @> ARRAY[CAST(:unit AS uuid)])
      OR (p.unit_id = :unit AND p.ancestors @> ARRAY[r.unit_id]))) AS mine,
  EXISTS (SELECT FROM broker.segment_attachment a
    WHERE a.resource_id = r.id AND a.withdrawn_at IS NULL AND a.verified_at IS NOT NULL)
  AND NOT EXISTS (SELECT FROM broker.desk_case d WHERE d.resource_id = r.id AND d.closed_at IS NULL) AS verified
FROM broker.resource r
WHERE r.kind = 'segment' AND (r.number = ANY(CAST(:numbers AS text[]))
  OR r.id IN (SELECT resource_id FROM broker.network_segment WHERE network_id = :network))
ORDER BY r.number
""")

# A system that was merged is where its last head is.
_SYSTEMS = text("""
WITH RECURSIVE line AS (
  SELECT k.system_id AS listed, s.id, s.merged_into_id
  FROM broker.network_system k JOIN broker.information_system s ON s.id = k.system_id
  WHERE k.network_id = :network AND k.dropped_at IS NULL
  UNION
  SELECT line.listed, s.id, s.merged_into_id
  FROM line JOIN broker.information_system s ON s.id = line.merged_into_id
), tied AS (
  SELECT resource_id AS id FROM broker.network_segment WHERE network_id = :network
  UNION SELECT unnest(CAST(:more AS uuid[]))
)
SELECT s.id, s.code, s.name, h.retired_at IS NOT NULL AS ended,
  EXISTS (SELECT FROM broker.resource v JOIN broker.resource n ON n.id = v.network_id
    WHERE v.system_id = h.id AND v.kind = 'server' AND v.state IN ('active', 'stopped')
      AND n.state IN ('active', 'stopped') AND n.id IN (SELECT id FROM tied)) AS attached
FROM line JOIN broker.information_system s ON s.id = line.listed
JOIN broker.information_system h ON h.id = line.id AND line.merged_into_id IS NULL
ORDER BY s.code
""")


def segments(work: Work, network: DedicatedNetwork, numbers: Iterable[str] = ()) -> dict[str, SegmentFacts]:
    """The segments with these numbers and those the network is tied to already, by number."""
    wanted = {"now": work.now, "unit": network.unit_id, "network": network.id, "numbers": list(numbers)}
    rows = work.session.execute(_SEGMENTS, wanted)
    return {
        row.number: SegmentFacts(row.id, row.number, row.zone or "", row.mine, row.delivered, row.verified)
        for row in rows
    }


def systems(session: Session, network_id: UUID, more: Iterable[UUID] = ()) -> Sequence[SystemFacts]:
    """The systems a network carries; ``more``: segments that are about to be tied to it."""
    rows = session.execute(_SYSTEMS, {"network": network_id, "more": list(more)})
    return [SystemFacts(row.id, row.code, row.name, row.ended, row.attached) for row in rows]


def ruled(session: Session, network_id: UUID) -> bool:
    """Whether the Bureau has looked at what the network carries, and said so."""
    return bool(session.scalar(select(exists().where(NetworkRuling.network_id == network_id))))
