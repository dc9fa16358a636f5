"""Resources go from a unit to another, dated: what they used is billed to who had them then; closed months stay."""

from __future__ import annotations

from alembic import op

revision = "0040_resource_owners"
down_revision = "0050_cloud_uplinks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_OWNER + _TRIGGERS + _CASES + _GRANTS)


_OWNER = """
CREATE TABLE broker.resource_owner (
  id UUID NOT NULL,
  resource_id UUID NOT NULL,
  unit_id UUID NOT NULL,
  during TSTZRANGE NOT NULL,
  CONSTRAINT pk_resource_owner PRIMARY KEY (id),
  CONSTRAINT fk_resource_owner_resource_id FOREIGN KEY(resource_id) REFERENCES broker.resource (id),
  CONSTRAINT fk_resource_owner_unit_id FOREIGN KEY(unit_id) REFERENCES broker.unit (id),
  CONSTRAINT ck_resource_owner_during CHECK (
    NOT isempty(during) AND date_trunc('second', lower(during), 'UTC') IS NOT DISTINCT FROM lower(during)
    AND date_trunc('second', upper(during), 'UTC') IS NOT DISTINCT FROM upper(during)),
  CONSTRAINT ex_resource_owner EXCLUDE USING gist (resource_id WITH =, during WITH &&)
);
CREATE INDEX ix_resource_owner_unit_id ON broker.resource_owner (unit_id);
"""

_TRIGGERS = """
-- What a closed month charged rests on who had a resource then.
CREATE FUNCTION broker.owner_after_closed_months() RETURNS trigger LANGUAGE plpgsql
SET search_path = broker, pg_temp AS $$
DECLARE
    since timestamptz := CASE WHEN TG_OP = 'INSERT' THEN lower(NEW.during) ELSE least(upper(OLD.during),
                                                                                     upper(NEW.during)) END;
BEGIN
    IF since < (SELECT max(covers_until) FROM month_close WHERE reopened_at IS NULL) THEN
        RAISE EXCEPTION 'a month that is closed says who had resource % then', NEW.resource_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'owner_after_closed_months';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER owner_after_closed_months AFTER INSERT OR UPDATE ON broker.resource_owner
    FOR EACH ROW EXECUTE FUNCTION broker.owner_after_closed_months();

-- Two ways of saying whose a resource is now: they say the same at every commit.
CREATE FUNCTION broker.owner_on_record() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
BEGIN
    IF (SELECT r.unit_id FROM resource r WHERE r.id = NEW.id) IS DISTINCT FROM
       (SELECT o.unit_id FROM resource_owner o WHERE o.resource_id = NEW.id AND upper_inf(o.during)) THEN
        RAISE EXCEPTION 'resource % goes to another unit only with a row that says since when', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'owner_on_record';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER owner_on_record AFTER UPDATE OF unit_id ON broker.resource
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.unit_id <> NEW.unit_id)
    EXECUTE FUNCTION broker.owner_on_record();
"""

_CASES = """
-- An open case is heard by who has the resources: its unit is theirs at every commit.
CREATE FUNCTION broker.case_with_its_owner() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM reclaim_case_resource x JOIN reclaim_case c ON c.id = x.case_id
               JOIN resource r ON r.id = x.resource_id
               WHERE x.resource_id = NEW.id AND x.closed_at IS NULL AND c.unit_id <> r.unit_id) THEN
        RAISE EXCEPTION 'an open case over resource % stayed with another unit', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'case_with_its_owner';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER case_with_its_owner AFTER UPDATE OF unit_id ON broker.resource
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.unit_id <> NEW.unit_id)
    EXECUTE FUNCTION broker.case_with_its_owner();
"""

_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.resource_owner FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.resource_owner TO guiyun_app;
    GRANT UPDATE (during) ON broker.resource_owner TO guiyun_app;
  END IF;
END $$;
"""
