"""Who operates a sub-cloud has dates: another operator neither takes the whole open month nor reaches a closed one.

Whoever a closed month was settled with had the cloud then; what is there has been so since, or from the beginning. At
every time there is exactly one, checked when a transaction ends.
"""

from __future__ import annotations

from alembic import op

revision = "0135_operators_dated"
down_revision = "0125_closed_is_priced"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_TABLE + _GUARDS)


_TABLE = """
CREATE TABLE broker.sub_cloud_operator (
  id UUID NOT NULL,
  sub_cloud_id UUID NOT NULL,
  operator VARCHAR NOT NULL,
  during TSTZRANGE NOT NULL,
  CONSTRAINT pk_sub_cloud_operator PRIMARY KEY (id),
  CONSTRAINT fk_sub_cloud_operator_sub_cloud_id FOREIGN KEY (sub_cloud_id) REFERENCES broker.sub_cloud (id),
  CONSTRAINT ck_sub_cloud_operator_whole_seconds CHECK (
    lower(during) = date_trunc('second', lower(during), 'UTC') IS NOT FALSE
    AND upper(during) = date_trunc('second', upper(during), 'UTC') IS NOT FALSE),
  CONSTRAINT ex_sub_cloud_operator EXCLUDE USING gist (sub_cloud_id WITH =, during WITH &&)
);
WITH settled AS (
  SELECT DISTINCT l.sub_cloud_id, m.month, s.operator
  FROM broker.settlement_line l
  JOIN broker.settlement s ON s.id = l.settlement_id
  JOIN broker.month_close m ON m.id = s.close_id AND m.reopened_at IS NULL
  WHERE l.usage_month = m.month
  UNION ALL
  SELECT c.id, CAST(m.month + interval '1 month' AS date), c.operator
  FROM broker.sub_cloud c
  CROSS JOIN (SELECT coalesce(max(month), '1970-01-01') AS month FROM broker.month_close WHERE reopened_at IS NULL) AS m
), begun AS (
  SELECT *, lag(operator) OVER (PARTITION BY sub_cloud_id ORDER BY month) AS before FROM settled
)
INSERT INTO broker.sub_cloud_operator (id, sub_cloud_id, operator, during)
SELECT gen_random_uuid(), sub_cloud_id, operator,
       tstzrange(CASE WHEN before IS NOT NULL THEN CAST(month AS timestamp) AT TIME ZONE 'Asia/Shanghai' END,
                 lead(CAST(month AS timestamp) AT TIME ZONE 'Asia/Shanghai')
                   OVER (PARTITION BY sub_cloud_id ORDER BY month))
FROM begun WHERE before IS DISTINCT FROM operator;
ALTER TABLE broker.sub_cloud DROP COLUMN operator;
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.sub_cloud_operator FROM guiyun_app;
    GRANT SELECT, INSERT, UPDATE (operator, during) ON broker.sub_cloud_operator TO guiyun_app;
  END IF;
END $$;
"""

# A closed month counts where a standing close has a line of its usage on the cloud: another operator there would change
# what late usage of it costs, and who was owed. A cloud without any may be brought in with its past.
_GUARDS = """
CREATE FUNCTION broker.reoperates_closed(p broker.sub_cloud_operator, touched tstzmultirange) RETURNS boolean
LANGUAGE sql STABLE SET search_path = broker, pg_temp AS $$
SELECT NOT isempty(touched * tstzmultirange(closed_time())) AND EXISTS (
    SELECT FROM month_close m
    JOIN statement s ON s.close_id = m.id
    JOIN statement_sum l ON l.statement_id = s.id
    WHERE m.reopened_at IS NULL AND l.sub_cloud_id = p.sub_cloud_id
      AND tstzrange(CAST(l.usage_month AS timestamp) AT TIME ZONE 'Asia/Shanghai',
                    (CAST(l.usage_month AS timestamp) + interval '1 month') AT TIME ZONE 'Asia/Shanghai') && touched
)
$$;
CREATE TRIGGER closed_is_priced BEFORE INSERT OR UPDATE ON broker.sub_cloud_operator
    FOR EACH ROW EXECUTE FUNCTION broker.closed_is_priced('reoperates_closed');
CREATE FUNCTION broker.operated_always() RETURNS trigger
LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
    cloud uuid;
BEGIN
    IF TG_TABLE_NAME = 'sub_cloud' THEN
        cloud := NEW.id;
    ELSIF TG_OP = 'DELETE' THEN
        cloud := OLD.sub_cloud_id;
    ELSE
        cloud := NEW.sub_cloud_id;
    END IF;
    IF EXISTS (SELECT FROM sub_cloud WHERE id = cloud)
        AND (SELECT range_agg(during) FROM sub_cloud_operator WHERE sub_cloud_id = cloud)
            IS DISTINCT FROM tstzmultirange '{(,)}' THEN
        RAISE EXCEPTION 'sub-cloud % has no operator at some time', cloud
            USING ERRCODE = 'check_violation', CONSTRAINT = 'operated_always';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER operated_always AFTER INSERT ON broker.sub_cloud
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION broker.operated_always();
CREATE CONSTRAINT TRIGGER operated_always AFTER INSERT OR UPDATE OR DELETE ON broker.sub_cloud_operator
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION broker.operated_always()
"""
