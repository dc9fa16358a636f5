"""A price or payer that would change what closed months cost is refused, also where it is a key of its own.

A nearer price (of a class of units, a cloud, a term) or payer takes its time from the farther: one that begins in the
past changes lines that were closed under the other. Until now only ``verify`` found that, afterwards.
"""

from __future__ import annotations

from alembic import op

revision = "0125_closed_is_priced"
down_revision = "0110_sums_in_64_bits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_GUARDS)


# What no price was ever for could not be used in a closed month (the close stops): the first prices of a meter, those of
# one transaction, may begin in the past. Those of a settlement only with them: an operator without a price was settled
# with zero. A payer counts for what stands in closed statements of its clouds.
_GUARDS = """
CREATE FUNCTION broker.closed_time() RETURNS tstzrange
LANGUAGE sql STABLE SET search_path = broker, pg_temp AS $$
SELECT CASE WHEN count(*) = 0 THEN tstzrange 'empty'
       ELSE tstzrange(CAST(min(month) AS timestamp) AT TIME ZONE 'Asia/Shanghai', max(covers_until)) END
FROM month_close WHERE reopened_at IS NULL
$$;
CREATE FUNCTION broker.reprices_closed(p broker.tariff_price, touched tstzmultirange) RETURNS boolean
LANGUAGE sql STABLE SET search_path = broker, pg_temp AS $$
SELECT EXISTS (
    SELECT FROM tariff_price o
    WHERE o.side = 'charge' AND o.meter = p.meter AND o.id <> p.id
      AND o.during && (touched * tstzmultirange(closed_time()))
      AND age(o.xmin) > 0  -- it was there before this transaction
)
$$;
CREATE FUNCTION broker.repays_closed(p broker.payer, touched tstzmultirange) RETURNS boolean
LANGUAGE sql STABLE SET search_path = broker, pg_temp AS $$
SELECT NOT isempty(touched * tstzmultirange(closed_time())) AND EXISTS (
    SELECT FROM month_close m
    JOIN statement s ON s.close_id = m.id
    JOIN statement_sum l ON l.statement_id = s.id
    JOIN sub_cloud c ON c.id = l.sub_cloud_id
    WHERE m.reopened_at IS NULL AND c.tier = p.tier AND (p.sub_cloud_id IS NULL OR p.sub_cloud_id = c.id)
      AND tstzrange(CAST(m.month AS timestamp) AT TIME ZONE 'Asia/Shanghai', m.covers_until) && touched
)
$$;
-- Its argument: the function that says whether a row and the time it touches would change a closed month.
CREATE FUNCTION broker.closed_is_priced() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
    touched tstzmultirange := tstzmultirange(NEW.during);
    refused boolean;
BEGIN
    -- Whoever closes reads prices and payers first, and its close only afterwards says that it did.
    PERFORM pg_advisory_xact_lock_shared(hashtext('broker.month_close'));
    IF TG_OP = 'UPDATE' THEN
        touched := touched + tstzmultirange(OLD.during);
        IF to_jsonb(OLD) - 'during' = to_jsonb(NEW) - 'during' THEN
            touched := touched - tstzmultirange(OLD.during * NEW.during);
        END IF;
    END IF;
    EXECUTE format('SELECT broker.%I($1, $2)', TG_ARGV[0]) INTO refused USING NEW, touched;
    IF TG_TABLE_NAME = 'tariff_price' AND TG_OP = 'UPDATE' THEN
        refused := refused OR NOT isempty(touched * tstzmultirange(closed_time()));
    END IF;
    IF refused THEN
        RAISE EXCEPTION '% % would change closed months', TG_TABLE_NAME, NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'closed_is_priced';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER closed_is_priced BEFORE INSERT OR UPDATE ON broker.tariff_price
    FOR EACH ROW EXECUTE FUNCTION broker.closed_is_priced('reprices_closed');
CREATE TRIGGER closed_is_priced BEFORE INSERT OR UPDATE ON broker.payer
    FOR EACH ROW EXECUTE FUNCTION broker.closed_is_priced('repays_closed')
"""
