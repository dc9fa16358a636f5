"""Scans of idleness and of zombies are kept as long as samples are; what a case or a decision rests on stays."""

from __future__ import annotations

from alembic import op

revision = "0047_forgetting_scans"
down_revision = "0051_network_probes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_FORGET)


# The runtime role may not delete from these tables: it may only ask for this, with the owner's rights. Whatever instant
# it names, the last twelve months before the newest scan stay.
_FORGET = """
CREATE FUNCTION broker.forget_scans(kept_since timestamptz) RETURNS TABLE (what text, gone bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = broker, pg_temp AS $$
DECLARE
  newest timestamptz := greatest((SELECT max(finished_at) FROM idle_scan), (SELECT max(at) FROM zombie_scan));
  since timestamptz := least(kept_since, newest - interval '12 months');
BEGIN
  IF since IS NULL THEN
    RETURN;
  END IF;
  what := 'idle_finding';
  DELETE FROM idle_finding f WHERE f.cleared_at < since
    AND NOT EXISTS (SELECT FROM reclaim_case c WHERE c.finding_id = f.id);
  GET DIAGNOSTICS gone = ROW_COUNT; RETURN NEXT;
  what := 'idle_scan';
  DELETE FROM idle_scan s WHERE s.day < CAST(since AT TIME ZONE 'Asia/Shanghai' AS date);
  GET DIAGNOSTICS gone = ROW_COUNT; RETURN NEXT;
  -- A night on which nothing changed leaves no scan: the newest one holds, however old it is.
  what := 'zombie_finding';
  DELETE FROM zombie_finding f USING zombie_scan s
    WHERE s.id = f.scan_id AND s.at < since AND s.id <> (SELECT id FROM zombie_scan ORDER BY at DESC, id DESC LIMIT 1)
    AND NOT EXISTS (SELECT FROM zombie_decision d WHERE d.finding_id = f.id);
  GET DIAGNOSTICS gone = ROW_COUNT; RETURN NEXT;
  what := 'zombie_scan';
  DELETE FROM zombie_scan s
    WHERE s.at < since AND s.id <> (SELECT id FROM zombie_scan ORDER BY at DESC, id DESC LIMIT 1)
    AND NOT EXISTS (SELECT FROM zombie_finding f WHERE f.scan_id = s.id);
  GET DIAGNOSTICS gone = ROW_COUNT; RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION broker.forget_scans(timestamptz) FROM PUBLIC;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT EXECUTE ON FUNCTION broker.forget_scans(timestamptz) TO guiyun_app;
  END IF;
END $$;
"""
