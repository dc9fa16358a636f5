"""Looks up, in one statement, everything a form names, so that the rules can be pure.

Called by: ``request.service``. Must not: decide.
"""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text

from broker.request.rules import Facts, TargetCloud
from broker.request.values import RequestForm, ServerItem
from broker.tenancy.work import Work

LOCAL = ZoneInfo("Asia/Shanghai")

_FACTS = text("""
WITH u AS (
    SELECT un.id, up.ancestors
    FROM broker.unit un JOIN broker.unit_period up ON up.unit_id = un.id AND up.during @> CAST(:now AS timestamptz)
      AND up.merged_into_id IS NULL
    WHERE un.code = :unit AND (:all_units OR up.ancestors @> ARRAY[CAST(:actor_unit AS uuid)])
), home AS (
    SELECT h.sub_cloud_id
    FROM u CROSS JOIN LATERAL unnest(u.ancestors) WITH ORDINALITY a(id, depth)
    JOIN broker.home_cloud h ON h.unit_id = a.id AND h.during @> CAST(:now AS timestamptz)
    ORDER BY a.depth DESC LIMIT 1
), cloud AS (
    SELECT c.id, c.code, c.tier FROM broker.sub_cloud c
    WHERE c.retired_at IS NULL
      AND CASE WHEN :target = '' THEN c.id = (SELECT sub_cloud_id FROM home) ELSE c.code = :target END
), sys AS (
    SELECT s.id, s.mlps_level, up.ancestors @> ARRAY[(SELECT id FROM u)] AS in_tree
    FROM broker.information_system s
    JOIN broker.unit_period up ON up.unit_id = s.unit_id AND up.during @> CAST(:now AS timestamptz)
    WHERE s.code = :system AND s.retired_at IS NULL
)
SELECT
  (SELECT id FROM u) AS unit_id,
  (SELECT id FROM sys) AS system_id,
  (SELECT in_tree FROM sys) AS system_in_tree,
  (SELECT mlps_level FROM sys) AS mlps_level,
  (SELECT id FROM cloud) AS cloud_id,
  (SELECT code FROM cloud) AS cloud_code,
  (SELECT tier FROM cloud) AS cloud_tier,
  (SELECT jsonb_object_agg(a.duty, a.unit_id) FROM broker.sub_cloud_authority a, cloud
    WHERE a.sub_cloud_id = cloud.id AND a.during @> CAST(:now AS timestamptz)) AS authorities,
  (SELECT jsonb_object_agg(i.code, i.cpu_arch) FROM broker.image i
    WHERE i.code = ANY(CAST(:images AS text[]))) AS images,
  EXISTS (SELECT FROM broker.network_exception x, u WHERE x.unit_id = ANY(u.ancestors)
    AND x.during @> CAST(:now AS timestamptz)) AS network_exception,
  (SELECT count(*) FROM broker.attachment t, u WHERE t.id = ANY(CAST(:attachments AS uuid[]))
    AND t.unit_id = ANY(u.ancestors)) AS attachments,
  (SELECT array_agg(DISTINCT r.spec->>'zone') FROM u JOIN broker.resource r ON r.unit_id = u.id
    JOIN broker.project j ON j.id = r.project_id AND j.unit_id = u.id
    WHERE r.kind = 'segment' AND r.state = 'active') AS zones
""")


def look_up(work: Work, form: RequestForm) -> Facts:
    """The facts behind a form, as the actor may see them, today in Asia/Shanghai."""
    row: Any = work.session.execute(
        _FACTS,
        {
            "now": work.now,
            "unit": form.unit_code,
            "all_units": work.actor.sees_everything,
            "actor_unit": work.actor.unit_id or UUID(int=0),
            "target": form.target_cloud,
            "system": form.system_code,
            "images": sorted({i.image for i in form.items if isinstance(i, ServerItem)}),
            "attachments": list(form.attachment_ids),
        },
    ).one()
    cloud = None
    if row.cloud_id is not None:
        authorities = {duty: UUID(unit) for duty, unit in (row.authorities or {}).items()}
        cloud = TargetCloud(row.cloud_id, row.cloud_code, row.cloud_tier, authorities)
    return Facts(
        today=today(work),
        unit_id=row.unit_id,
        system_id=row.system_id,
        system_unit_in_tree=bool(row.system_in_tree),
        mlps_level=row.mlps_level or 0,
        cloud=cloud,
        image_archs=row.images or {},
        network_exception=row.network_exception,
        attachments_found=row.attachments,
        segment_zones=frozenset(row.zones or ()),
    )


def today(work: Work) -> date:
    """The calendar day it is in Guangxi."""
    return work.now.astimezone(LOCAL).date()
