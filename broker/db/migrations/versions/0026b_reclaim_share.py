"""The share of a unit's and a cloud's resources that may be suspended at once is kept by the database."""

from __future__ import annotations

from alembic import op

revision = "0026b_reclaim_share"
down_revision = "0027_dedicated_networks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_SHARE)


# A case is admitted by shares that stand in its own row, under one lock: two that come together see each other, whoever
# admits them. The units' tree is read at the instant of the admission; a unit that has ended still counts by its last.
_SHARE = """
ALTER TABLE broker.reclaim_case
  ADD COLUMN admitted_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN share_unit_percent INTEGER,
  ADD COLUMN share_cloud_percent INTEGER,
  ADD CONSTRAINT ck_reclaim_case_admitted
    CHECK (num_nonnulls(admitted_at, share_unit_percent, share_cloud_percent) IN (0, 3)),
  ADD CONSTRAINT ck_reclaim_case_share
    CHECK (share_unit_percent BETWEEN 1 AND 100 AND share_cloud_percent BETWEEN 1 AND 100);

CREATE FUNCTION broker.case_holds(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT state IN ('suspending', 'suspended', 'contested', 'proposed', 'resuming', 'releasing')
$$;

CREATE FUNCTION broker.reclaim_rooms(unit uuid, cloud uuid, but uuid, at timestamptz)
RETURNS TABLE (scope text, live bigint, held bigint) LANGUAGE sql STABLE SET search_path = broker, pg_temp AS $$
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
  SELECT s.scope,
    (SELECT count(*) FROM resource r WHERE r.state IN ('active', 'stopped') AND (r.sub_cloud_id = s.cloud_id
      OR r.unit_id IN (SELECT member FROM inside i WHERE i.unit_id = s.unit_id))),
    (SELECT count(*) FROM reclaim_case c JOIN reclaim_case_resource cr ON cr.case_id = c.id
      WHERE case_holds(c.state) AND c.id IS DISTINCT FROM but AND (c.sub_cloud_id = s.cloud_id
        OR c.unit_id IN (SELECT member FROM inside i WHERE i.unit_id = s.unit_id)))
  FROM scopes s
$$;

CREATE FUNCTION broker.admit_within_share() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
  wants bigint;
  full_scope text;
BEGIN
  IF NEW.admitted_at IS NULL THEN
    RAISE EXCEPTION 'case % is suspended without a share', NEW.number
      USING ERRCODE = 'check_violation', CONSTRAINT = 'reclaim_share', TABLE = TG_TABLE_NAME;
  END IF;
  PERFORM pg_advisory_xact_lock(x'7265636c'::int);
  SELECT count(*) INTO wants FROM reclaim_case_resource WHERE case_id = NEW.id;
  -- The first case always fits, whatever its size: a unit with one server could lose none.
  SELECT r.scope INTO full_scope FROM reclaim_rooms(NEW.unit_id, NEW.sub_cloud_id, NEW.id, NEW.admitted_at) r
  WHERE r.held > 0 AND r.held + wants > r.live
    * CASE r.scope WHEN 'unit' THEN NEW.share_unit_percent ELSE NEW.share_cloud_percent END / 100
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the share of the % is full', full_scope
      USING ERRCODE = 'check_violation', CONSTRAINT = 'reclaim_share', TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER within_share BEFORE INSERT OR UPDATE OF state ON broker.reclaim_case
  FOR EACH ROW WHEN (NEW.state = 'suspending') EXECUTE FUNCTION broker.admit_within_share();
"""
