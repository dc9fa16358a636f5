"""A case larger than its share is parted; the database lets only a single thing pass the share, as the first one."""

from __future__ import annotations

from alembic import op

revision = "0056_parted_cases"
down_revision = "0047_forgetting_scans"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_PARTS)


# A unit with one server could lose none: so one thing, a server with its disks, may pass an empty share. A system of
# twelve servers is no such thing.
_PARTS = """
ALTER TABLE broker.reclaim_case
  ADD COLUMN split_from UUID,
  ADD CONSTRAINT fk_reclaim_case_split_from FOREIGN KEY (split_from) REFERENCES broker.reclaim_case (id);
CREATE INDEX ix_reclaim_case_split_from ON broker.reclaim_case (split_from);

CREATE OR REPLACE FUNCTION broker.admit_within_share() RETURNS trigger LANGUAGE plpgsql
SET search_path = broker, pg_temp AS $$
DECLARE
  wants bigint;
  things bigint;
  full_scope text;
BEGIN
  IF NEW.admitted_at IS NULL THEN
    RAISE EXCEPTION 'case % is suspended without a share', NEW.number
      USING ERRCODE = 'check_violation', CONSTRAINT = 'reclaim_share', TABLE = TG_TABLE_NAME;
  END IF;
  PERFORM pg_advisory_xact_lock(x'7265636c'::int);
  SELECT count(*), count(*) FILTER (WHERE r.server_id IS NULL OR NOT EXISTS (
      SELECT FROM reclaim_case_resource s WHERE s.case_id = NEW.id AND s.resource_id = r.server_id))
    INTO wants, things
    FROM reclaim_case_resource c JOIN resource r ON r.id = c.resource_id WHERE c.case_id = NEW.id;
  SELECT r.scope INTO full_scope FROM reclaim_rooms(NEW.unit_id, NEW.sub_cloud_id, NEW.id, NEW.admitted_at) r
  WHERE (r.held > 0 OR things > 1) AND r.held + wants > r.live
    * CASE r.scope WHEN 'unit' THEN NEW.share_unit_percent ELSE NEW.share_cloud_percent END / 100
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the share of the % is full', full_scope
      USING ERRCODE = 'check_violation', CONSTRAINT = 'reclaim_share', TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NEW;
END $$;
"""
