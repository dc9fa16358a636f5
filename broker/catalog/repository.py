"""Reads sub-clouds: as candidates for placement, and for the region's page.

Called by: assessment, the API's region page, dispatch (health). Must not: decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud, SubCloudAuthority, SubCloudOperator, SubCloudStatus
from broker.catalog.values import Candidate, Offered
from broker.db.base import AnyRow

STATUS_VALID = timedelta(minutes=10)

_CANDIDATES = text("""
SELECT c.id, c.code, c.name, c.tier, c.position, c.mlps_level, c.zones, c.accredited_at IS NOT NULL AS accredited,
  (SELECT jsonb_object_agg(a.duty, a.unit_id) FROM broker.sub_cloud_authority a
    WHERE a.sub_cloud_id = c.id AND a.during @> CAST(:now AS timestamptz)) AS authorities,
  (SELECT jsonb_agg(jsonb_build_array(o.kind, o.cpu_arch, o.block_class, o.max_vcpu, o.max_memory_gib, o.max_disk_gib))
    FROM broker.offering o WHERE o.sub_cloud_id = c.id) AS offers,
  (SELECT array_agg(i.code) FROM broker.image i WHERE i.sub_cloud_id = c.id) AS images,
  CASE WHEN s.checked_at > CAST(:stale AS timestamptz) THEN s.healthy END AS healthy, coalesce(s.detail, '') AS detail,
  s.uplinks,
  (SELECT array_agg(DISTINCT r.spec->>'zone') FROM broker.resource r
    JOIN broker.project j ON j.id = r.project_id AND j.unit_id = r.unit_id  -- servers stand on their own project's
    WHERE r.sub_cloud_id = c.id AND r.unit_id = :unit AND r.kind = 'segment' AND r.state = 'active') AS segment_zones,
  c.id = (SELECT h.sub_cloud_id FROM broker.unit_period up
    CROSS JOIN LATERAL unnest(up.ancestors) WITH ORDINALITY a(id, depth)
    JOIN broker.home_cloud h ON h.unit_id = a.id AND h.during @> CAST(:now AS timestamptz)
    WHERE up.unit_id = :unit AND up.during @> CAST(:now AS timestamptz) ORDER BY a.depth DESC LIMIT 1) AS is_home
FROM broker.sub_cloud c LEFT JOIN broker.sub_cloud_status s ON s.sub_cloud_id = c.id
WHERE c.retired_at IS NULL ORDER BY c.position
""")


def candidates(session: Session, *, unit_id: UUID, now: datetime) -> tuple[list[Candidate], UUID | None]:
    """Every sub-cloud in service as placement sees it for a unit, and the unit's home cloud. One statement."""
    rows = session.execute(_CANDIDATES, {"now": now, "unit": unit_id, "stale": now - STATUS_VALID}).all()
    home = next((row.id for row in rows if row.is_home), None)
    return [_candidate(row) for row in rows], home


def _candidate(row: Any) -> Candidate:
    return Candidate(
        id=row.id,
        code=row.code,
        name=row.name,
        tier=row.tier,
        position=row.position,
        mlps_level=row.mlps_level,
        zones=frozenset(row.zones),
        accredited=row.accredited,
        authorities={duty: UUID(unit) for duty, unit in (row.authorities or {}).items()},
        offers=tuple(Offered(*o) for o in row.offers or ()),
        images=frozenset(row.images or ()),
        healthy=row.healthy,
        health_detail=row.detail,
        segment_zones=frozenset(row.segment_zones or ()),
        uplinks=None if row.uplinks is None else frozenset(row.uplinks),
    )


def in_service(session: Session) -> list[SubCloud]:
    """The sub-clouds in service, in the region's order."""
    return list(session.scalars(select(SubCloud).where(SubCloud.retired_at.is_(None)).order_by(SubCloud.position)))


def by_id(session: Session, sub_cloud_ids: Iterable[UUID]) -> list[SubCloud]:
    """These sub-clouds, retired ones too, in the region's order; unknown ids are left out."""
    wanted = list(sub_cloud_ids)
    found = select(SubCloud).where(SubCloud.id.in_(wanted)).order_by(SubCloud.position, SubCloud.code)
    return list(session.scalars(found)) if wanted else []


def names(session: Session, sub_cloud_ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """What sub-clouds are called. One statement; unknown ids are left out."""
    wanted = {cloud for cloud in sub_cloud_ids if cloud is not None}
    rows = session.execute(select(SubCloud.id, SubCloud.name).where(SubCloud.id.in_(wanted))) if wanted else ()
    return {row.id: row.name for row in rows}


def operators(session: Session, at: datetime) -> dict[UUID, str]:
    """Who operates each sub-cloud at an instant. One statement."""
    rows = session.execute(
        select(SubCloudOperator.sub_cloud_id, SubCloudOperator.operator).where(SubCloudOperator.during.contains(at))
    )
    return {row.sub_cloud_id: row.operator for row in rows}


def with_status(session: Session) -> list[AnyRow]:
    """The sub-clouds in service with what they last said: rows of ``(SubCloud, SubCloudStatus | None)``."""
    statement = (
        select(SubCloud, SubCloudStatus)
        .outerjoin(SubCloudStatus, SubCloudStatus.sub_cloud_id == SubCloud.id)
        .where(SubCloud.retired_at.is_(None))
        .order_by(SubCloud.position)
    )
    return list(session.execute(statement).all())


def delivering_unit(session: Session, sub_cloud_id: UUID, now: datetime) -> UUID | None:
    """The unit that delivers for a sub-cloud at ``now``."""
    return session.scalar(
        select(SubCloudAuthority.unit_id).where(
            SubCloudAuthority.sub_cloud_id == sub_cloud_id,
            SubCloudAuthority.duty == "deliver",
            SubCloudAuthority.during.contains(now),
        )
    )


def main_authority(session: Session, duty: str, now: datetime) -> UUID | None:
    """The unit that has a duty for the main cloud at ``now``: for ``decide`` the Bureau (Art. 14)."""
    return session.scalar(
        select(SubCloudAuthority.unit_id)
        .join(SubCloud, SubCloud.id == SubCloudAuthority.sub_cloud_id)
        .where(SubCloud.tier == "main", SubCloudAuthority.duty == duty, SubCloudAuthority.during.contains(now))
        .order_by(SubCloud.position)
        .limit(1)
    )


def note_status(
    session: Session,
    sub_cloud_id: UUID,
    *,
    healthy: bool,
    detail: str,
    capacity: dict[str, Any],
    at: datetime,
    uplinks: Iterable[str] | None = None,
) -> None:
    """Write down what a sub-cloud said of itself; ``uplinks`` None: nothing new of them."""
    values: dict[str, Any] = {"healthy": healthy, "detail": detail[:500], "capacity": capacity, "checked_at": at}
    if uplinks is not None:
        values["uplinks"] = sorted(uplinks)
    statement = insert(SubCloudStatus).values(sub_cloud_id=sub_cloud_id, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["sub_cloud_id"], set_=values))
