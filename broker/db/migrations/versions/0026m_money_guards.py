"""Guards of money: a meter has one source, months close in order from a stated beginning, what a decision was about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026m_money_guards"
down_revision = "0026_reclaim_guards"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "books_beginning",
        sa.Column("single", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("set_by", sa.Uuid(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_books_beginning_single")),
        sa.CheckConstraint("extract(day from month) = 1", name=op.f("ck_books_beginning_month")),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f("ck_books_beginning_reason")),
        sa.ForeignKeyConstraint(["set_by"], ["broker.account.id"], name=op.f("fk_books_beginning_set_by")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_books_beginning")),
        schema="broker",
    )
    op.add_column("adjustment", sa.Column("line_fen", sa.BigInteger(), nullable=True), schema="broker")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_GUARDS)
    op.alter_column("adjustment", "line_fen", nullable=False, schema="broker")


_OTHER_METERS = "meter <> '' AND meter !~ '^(vcpu_.*|memory_gib|block_gib_.*|ipv6_segment)$'"

# The month that may be closed now: after the last closed one, else the first that ever was, else the stated beginning,
# else that of the first usage. NULL: nothing was used and nothing stated.
_GUARDS = f"""
UPDATE broker.adjustment a SET line_fen = c.amount_fen FROM broker.charge c WHERE c.id = a.charge_id;
ALTER TABLE broker.usage_record ADD CONSTRAINT ck_usage_record_meter CHECK ({_OTHER_METERS});
ALTER TABLE broker.one_off_item ADD CONSTRAINT ck_one_off_item_meter CHECK ({_OTHER_METERS});
CREATE FUNCTION broker.month_to_close() RETURNS date LANGUAGE sql STABLE SET search_path = broker, pg_temp AS $$
SELECT coalesce(
    (SELECT CAST(max(month) + interval '1 month' AS date) FROM month_close WHERE reopened_at IS NULL),
    (SELECT min(month) FROM month_close),
    (SELECT month FROM books_beginning),
    CAST(date_trunc('month', least(
        (SELECT min(lower(during)) FROM resource_period
         WHERE vcpu > 0 OR memory_gib > 0 OR block_gib > 0 OR segments > 0),
        (SELECT min(lower(during)) FROM usage_record WHERE quantity > 0),
        (SELECT min(at) FROM one_off_item)
    ) AT TIME ZONE 'Asia/Shanghai') AS date))
$$;
CREATE FUNCTION broker.closed_in_order() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
    expected date := month_to_close();
BEGIN
    IF NEW.month IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'month % cannot be closed, % is next', NEW.month, expected
            USING ERRCODE = 'check_violation', CONSTRAINT = 'closed_in_order';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER closed_in_order BEFORE INSERT ON broker.month_close
    FOR EACH ROW WHEN (NEW.reopened_at IS NULL) EXECUTE FUNCTION broker.closed_in_order();
CREATE FUNCTION broker.begun_once() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM month_close HAVING min(month) <> NEW.month) THEN
        RAISE EXCEPTION 'the books began with another month than %', NEW.month
            USING ERRCODE = 'check_violation', CONSTRAINT = 'begun_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER begun_once BEFORE INSERT OR UPDATE ON broker.books_beginning
    FOR EACH ROW EXECUTE FUNCTION broker.begun_once();
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.books_beginning FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.books_beginning TO guiyun_app;
  END IF;
END $$
"""
