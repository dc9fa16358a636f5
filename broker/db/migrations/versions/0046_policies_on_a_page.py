"""Who switched a policy off, and of which unit or cloud each share is: what the page of policies shows."""

from __future__ import annotations

from alembic import op

revision = "0046_policies_on_a_page"
down_revision = "0035_finance_offices"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_ROOMS)


_ROOMS = """
ALTER TABLE broker.reclaim_policy
  ADD COLUMN switched_off_by UUID,
  ADD CONSTRAINT fk_reclaim_policy_switched_off_by FOREIGN KEY (switched_off_by) REFERENCES broker.account (id),
  ADD CONSTRAINT ck_reclaim_policy_switched_off_by CHECK (switched_off_by IS NULL OR switched_off_at IS NOT NULL);

DROP FUNCTION broker.reclaim_rooms(uuid, uuid, uuid, timestamptz);
CREATE FUNCTION broker.reclaim_rooms(unit uuid, cloud uuid, but uuid, at timestamptz)
RETURNS TABLE (scope text, scope_id uuid, live bigint, held bigint)
LANGUAGE sql STABLE SET search_path = broker, pg_temp AS $$
  WITH home AS (
    SELECT ancestors FROM unit_period WHERE unit_id = unit ORDER BY during @> at DESC, lower(during) DESC LIMIT 1
  ), scopes AS (
    SELECT 'unit' AS scope, a.id AS unit_id, NULL::uuid AS cloud_id
    FROM home CROSS JOIN LATERAL unnest(ancestors) AS a(id) JOIN unit u ON u.id = a.id WHERE u.kind <> 'region'
    UNION ALL SELECT 'cloud', NULL, cloud
  ), inside AS (
    SELECT s.unit_id, p.unit_id AS member FROM scopes s JOIN unit_period p
      ON p.ancestors @> ARRAY[s.unit_id] AND p.during @> at
    UNION SELECT s.unit_id, unit FROM scopes s
  )
  SELECT s.scope, coalesce(s.unit_id, s.cloud_id),
    (SELECT count(*) FROM resource r WHERE r.state IN ('active', 'stopped') AND (r.sub_cloud_id = s.cloud_id
      OR r.unit_id IN (SELECT member FROM inside i WHERE i.unit_id = s.unit_id))),
    (SELECT count(*) FROM reclaim_case c JOIN reclaim_case_resource cr ON cr.case_id = c.id
      WHERE case_holds(c.state) AND c.id IS DISTINCT FROM but AND (c.sub_cloud_id = s.cloud_id
        OR c.unit_id IN (SELECT member FROM inside i WHERE i.unit_id = s.unit_id)))
  FROM scopes s
$$;

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT UPDATE (switched_off_by) ON broker.reclaim_policy TO guiyun_app;
  END IF;
END $$
"""
