"""An open case is its resources' unit's, also when it is opened while they go to another, or written by hand."""

from __future__ import annotations

from alembic import op

revision = "0042_cases_with_owners"
down_revision = "0046_policies_on_a_page"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE OR REPLACE FUNCTION broker.case_with_its_owner() RETURNS trigger LANGUAGE plpgsql
SET search_path = broker, pg_temp AS $$
DECLARE
    one jsonb := to_jsonb(NEW);
    its_case uuid := CASE WHEN TG_TABLE_NAME = 'reclaim_case' THEN one->>'id' END;
    its_resource uuid := CASE TG_TABLE_NAME WHEN 'resource' THEN one->>'id'
                                            WHEN 'reclaim_case_resource' THEN one->>'resource_id' END;
    stray text;
BEGIN
    SELECT c.number INTO stray
    FROM reclaim_case_resource x JOIN reclaim_case c ON c.id = x.case_id JOIN resource r ON r.id = x.resource_id
    WHERE (x.case_id = its_case OR x.resource_id = its_resource) AND x.closed_at IS NULL AND c.unit_id <> r.unit_id
    LIMIT 1;
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'the open case % is not with the unit that has its resources', stray
            USING ERRCODE = 'check_violation', CONSTRAINT = 'case_with_its_owner';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER case_with_its_owner AFTER INSERT ON broker.reclaim_case_resource
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION broker.case_with_its_owner();
CREATE CONSTRAINT TRIGGER case_with_its_owner AFTER UPDATE OF unit_id ON broker.reclaim_case
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.unit_id <> NEW.unit_id)
    EXECUTE FUNCTION broker.case_with_its_owner();
"""


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(UPGRADE)
