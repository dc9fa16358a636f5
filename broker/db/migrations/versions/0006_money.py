"""Money: tariffs as they really are, other meters, closing a month, the ledger, adjustments, budgets.

What each table is for stands in the rooms' models; why it is so in ``docs/decisions/0008-closing-a-month.md``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006_money"
down_revision = "0005_quota_notices"
branch_labels = None
depends_on = None


def _run(statements: str) -> None:
    """Several statements at once, and no placeholders: ``%`` and ``:`` mean what they mean in SQL."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)


def upgrade() -> None:
    _tariffs()
    _tables()
    _charges()
    for statement in (_USAGE_SPAN, _NOTE_CORRECTION, _BALANCED, _REOPENED_BY_TWO, _GRANTS):
        _run(statement)
    for table, sizes in _NOTED.items():
        _run(
            f"CREATE TRIGGER note_correction AFTER INSERT OR UPDATE OR DELETE ON broker.{table}"
            f" FOR EACH ROW EXECUTE FUNCTION broker.note_correction({sizes})"
        )
    for table in ("ledger_posting", "ledger_entry"):
        _run(
            f"CREATE CONSTRAINT TRIGGER balanced AFTER INSERT OR UPDATE OR DELETE ON broker.{table}"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION broker.ledger_balanced()"
        )


def _tariffs() -> None:
    op.add_column("payer", sa.Column("sub_cloud_id", sa.Uuid(), nullable=True), schema="broker")
    op.create_foreign_key(
        op.f("fk_payer_sub_cloud_id"),
        "payer",
        "sub_cloud",
        ["sub_cloud_id"],
        ["id"],
        source_schema="broker",
        referent_schema="broker",
    )
    op.add_column(
        "tariff_price", sa.Column("side", sa.String(), server_default="charge", nullable=False), schema="broker"
    )
    op.add_column("tariff_price", sa.Column("operator", sa.String(), nullable=True), schema="broker")
    op.add_column("tariff_price", sa.Column("unit_class", sa.String(), nullable=True), schema="broker")
    op.add_column(
        "tariff_price", sa.Column("term_months", sa.Integer(), server_default="0", nullable=False), schema="broker"
    )
    op.add_column(
        "tariff_price",
        sa.Column("discount", sa.Numeric(precision=5, scale=4), server_default="1", nullable=False),
        schema="broker",
    )
    op.add_column(
        "tariff_price",
        sa.Column("free_quantity", sa.Numeric(precision=18, scale=4), server_default="0", nullable=False),
        schema="broker",
    )
    op.add_column("tariff_price", sa.Column("charged_when_stopped", sa.Boolean(), nullable=True), schema="broker")
    _run("ALTER TABLE broker.tariff_price DROP CONSTRAINT ck_tariff_price_per")
    for name, check in _TARIFF_CHECKS.items():
        _run(f"ALTER TABLE broker.tariff_price ADD CONSTRAINT ck_tariff_price_{name} CHECK ({check})")
    _run(_NO_OVERLAP)


_TARIFF_CHECKS = {
    "side": "side IN ('charge', 'settlement')",
    "per": "per IN ('hour', 'month', 'once')",
    "place": "sub_cloud_id IS NULL OR operator IS NULL",
    "term_months": "term_months BETWEEN 0 AND 1200",
    "discount": "discount > 0 AND discount <= 1",
    "free_quantity": "free_quantity >= 0 AND (free_quantity = 0 OR side = 'charge')",
    "whole_seconds": "lower(during) = date_trunc('second', lower(during), 'UTC') IS NOT FALSE"
    " AND upper(during) = date_trunc('second', upper(during), 'UTC') IS NOT FALSE",
}

_NO_OVERLAP = """
ALTER TABLE broker.tariff_price DROP CONSTRAINT ex_tariff_price, ADD CONSTRAINT ex_tariff_price EXCLUDE USING gist (
    side WITH =, meter WITH =, coalesce(sub_cloud_id, '00000000-0000-0000-0000-000000000000'::uuid) WITH =,
    coalesce(operator, ''::text) WITH =, coalesce(unit_class, ''::text) WITH =, term_months WITH =, during WITH &&);
ALTER TABLE broker.payer DROP CONSTRAINT ex_payer, ADD CONSTRAINT ex_payer EXCLUDE USING gist (
    unit_id WITH =, tier WITH =, coalesce(sub_cloud_id, '00000000-0000-0000-0000-000000000000'::uuid) WITH =,
    during WITH &&)
"""


def _tables() -> None:
    op.create_table(
        "usage_correction",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("row_id", sa.Uuid(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column(
            "noted_in",
            sa.String(),
            server_default=sa.text("CAST(pg_current_xact_id() AS text)"),
            nullable=False,
        ),
        sa.Column("noted_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_correction")),
        schema="broker",
    )
    op.create_index(
        "ix_usage_correction_resource_id", "usage_correction", ["resource_id"], unique=False, schema="broker"
    )
    op.create_table(
        "adjustment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("charge_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f("ck_adjustment_reason")),
        sa.CheckConstraint("amount_fen <> 0", name=op.f("ck_adjustment_amount")),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f("fk_adjustment_decided_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adjustment")),
        schema="broker",
    )
    op.create_index(op.f("ix_adjustment_charge_id"), "adjustment", ["charge_id"], unique=False, schema="broker")
    op.create_table(
        "budget",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payer_unit_id", sa.Uuid(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.Uuid(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_budget_amount")),
        sa.ForeignKeyConstraint(["payer_unit_id"], ["broker.unit.id"], name=op.f("fk_budget_payer_unit_id")),
        sa.ForeignKeyConstraint(["set_by"], ["broker.account.id"], name=op.f("fk_budget_set_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget")),
        sa.UniqueConstraint("payer_unit_id", "year", "version", name=op.f("uq_budget_payer_unit_id_year_version")),
        schema="broker",
    )
    op.create_table(
        "funding_step",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.Uuid(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_fen >= 0", name=op.f("ck_funding_step_amount")),
        sa.ForeignKeyConstraint(["set_by"], ["broker.account.id"], name=op.f("fk_funding_step_set_by")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_funding_step_sub_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_funding_step")),
        sa.UniqueConstraint("sub_cloud_id", "year", "version", name=op.f("uq_funding_step_sub_cloud_id_year_version")),
        schema="broker",
    )
    op.create_table(
        "month_close",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("covers_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("snapshot", sa.String(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("adjustments", sa.BigInteger(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("settled_fen", sa.BigInteger(), nullable=False),
        sa.Column("closed_by", sa.Uuid(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reopened_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("extract(day from month) = 1", name=op.f("ck_month_close_month")),
        sa.ForeignKeyConstraint(["closed_by"], ["broker.account.id"], name=op.f("fk_month_close_closed_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_month_close")),
        sa.UniqueConstraint("month", "version", name=op.f("uq_month_close_month_version")),
        schema="broker",
    )
    op.create_index(
        "ux_month_close_open",
        "month_close",
        ["month"],
        unique=True,
        schema="broker",
        postgresql_where=sa.text("reopened_at IS NULL"),
    )
    op.create_table(
        "budget_notice",
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("spent_fen", sa.BigInteger(), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("percent IN (80, 100)", name=op.f("ck_budget_notice_percent")),
        sa.ForeignKeyConstraint(["budget_id"], ["broker.budget.id"], name=op.f("fk_budget_notice_budget_id")),
        sa.PrimaryKeyConstraint("budget_id", "percent", name=op.f("pk_budget_notice")),
        schema="broker",
    )
    op.create_table(
        "month_reopening",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("close_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("agreed_by", sa.Uuid(), nullable=True),
        sa.Column("agreed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f("ck_month_reopening_reason")),
        sa.CheckConstraint("(agreed_by IS NULL) = (agreed_at IS NULL)", name=op.f("ck_month_reopening_agreed")),
        sa.CheckConstraint("agreed_by <> asked_by", name=op.f("ck_month_reopening_two_people")),
        sa.ForeignKeyConstraint(["agreed_by"], ["broker.account.id"], name=op.f("fk_month_reopening_agreed_by")),
        sa.ForeignKeyConstraint(["asked_by"], ["broker.account.id"], name=op.f("fk_month_reopening_asked_by")),
        sa.ForeignKeyConstraint(["close_id"], ["broker.month_close.id"], name=op.f("fk_month_reopening_close_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_month_reopening")),
        sa.UniqueConstraint("close_id", name=op.f("uq_month_reopening_close_id")),
        schema="broker",
    )
    op.create_table(
        "one_off_item",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("at = date_trunc('second', at, 'UTC')", name=op.f("ck_one_off_item_at")),
        sa.CheckConstraint("quantity BETWEEN 1 AND 1000000000000", name=op.f("ck_one_off_item_quantity")),
        sa.ForeignKeyConstraint(["resource_id"], ["broker.resource.id"], name=op.f("fk_one_off_item_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_off_item")),
        sa.UniqueConstraint("resource_id", "meter", "at", name=op.f("uq_one_off_item_resource_id_meter_at")),
        schema="broker",
    )
    op.create_table(
        "resource_term",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("term_months", sa.Integer(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        postgresql.ExcludeConstraint(
            (sa.column("resource_id"), "="), (sa.column("during"), "&&"), using="gist", name="ex_resource_term"
        ),
        sa.CheckConstraint("NOT isempty(during) AND NOT lower_inf(during)", name=op.f("ck_resource_term_during")),
        sa.CheckConstraint("term_months BETWEEN 1 AND 1200", name=op.f("ck_resource_term_term_months")),
        sa.ForeignKeyConstraint(["resource_id"], ["broker.resource.id"], name=op.f("fk_resource_term_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_term")),
        schema="broker",
    )
    op.create_table(
        "month_close_correction",
        sa.Column("close_id", sa.Uuid(), nullable=False),
        sa.Column("correction_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["close_id"], ["broker.month_close.id"], name=op.f("fk_month_close_correction_close_id")
        ),
        sa.ForeignKeyConstraint(
            ["correction_id"], ["broker.usage_correction.id"], name=op.f("fk_month_close_correction_correction_id")
        ),
        sa.PrimaryKeyConstraint("close_id", "correction_id", name=op.f("pk_month_close_correction")),
        schema="broker",
    )
    op.create_table(
        "settlement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("close_id", sa.Uuid(), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["close_id"], ["broker.month_close.id"], name=op.f("fk_settlement_close_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement")),
        sa.UniqueConstraint("close_id", "operator", name=op.f("uq_settlement_close_id_operator")),
        schema="broker",
    )
    op.create_table(
        "usage_record",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), server_default="active", nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        postgresql.ExcludeConstraint(
            (sa.column("resource_id"), "="),
            (sa.column("meter"), "="),
            (sa.column("during"), "&&"),
            using="gist",
            name="ex_usage_record",
        ),
        sa.CheckConstraint("state IN ('active', 'stopped')", name=op.f("ck_usage_record_state")),
        sa.CheckConstraint("NOT isempty(during) AND NOT lower_inf(during)", name=op.f("ck_usage_record_during")),
        sa.CheckConstraint("quantity BETWEEN 0 AND 1000000000000", name=op.f("ck_usage_record_quantity")),
        sa.ForeignKeyConstraint(["resource_id"], ["broker.resource.id"], name=op.f("fk_usage_record_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_record")),
        schema="broker",
    )
    op.create_table(
        "ledger_posting",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("close_id", sa.Uuid(), nullable=False),
        sa.Column("statement_id", sa.Uuid(), nullable=True),
        sa.Column("settlement_id", sa.Uuid(), nullable=True),
        sa.Column("reverses_id", sa.Uuid(), nullable=True),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("num_nonnulls(statement_id, settlement_id) = 1", name=op.f("ck_ledger_posting_cause")),
        sa.ForeignKeyConstraint(["close_id"], ["broker.month_close.id"], name=op.f("fk_ledger_posting_close_id")),
        sa.ForeignKeyConstraint(
            ["reverses_id"], ["broker.ledger_posting.id"], name=op.f("fk_ledger_posting_reverses_id")
        ),
        sa.ForeignKeyConstraint(
            ["settlement_id"], ["broker.settlement.id"], name=op.f("fk_ledger_posting_settlement_id")
        ),
        sa.ForeignKeyConstraint(["statement_id"], ["broker.statement.id"], name=op.f("fk_ledger_posting_statement_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_posting")),
        sa.UniqueConstraint("reverses_id", name=op.f("uq_ledger_posting_reverses_id")),
        schema="broker",
    )
    op.create_index(op.f("ix_ledger_posting_close_id"), "ledger_posting", ["close_id"], unique=False, schema="broker")
    op.create_index(
        "ux_ledger_posting_settlement",
        "ledger_posting",
        ["settlement_id"],
        unique=True,
        schema="broker",
        postgresql_where=sa.text("reverses_id IS NULL"),
    )
    op.create_index(
        "ux_ledger_posting_statement",
        "ledger_posting",
        ["statement_id"],
        unique=True,
        schema="broker",
        postgresql_where=sa.text("reverses_id IS NULL"),
    )
    op.create_table(
        "settlement_line",
        sa.Column("settlement_id", sa.Uuid(), nullable=False),
        sa.Column("usage_month", sa.Date(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("tariff_price_id", sa.Uuid(), nullable=False),
        sa.Column("quantity_seconds", sa.Numeric(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["settlement_id"], ["broker.settlement.id"], name=op.f("fk_settlement_line_settlement_id")
        ),
        sa.ForeignKeyConstraint(
            ["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_settlement_line_sub_cloud_id")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_price_id"], ["broker.tariff_price.id"], name=op.f("fk_settlement_line_tariff_price_id")
        ),
        sa.PrimaryKeyConstraint(
            "settlement_id", "usage_month", "sub_cloud_id", "meter", "tariff_price_id", name=op.f("pk_settlement_line")
        ),
        schema="broker",
    )
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("posting_id", sa.Uuid(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=True),
        sa.Column("operator", sa.String(), nullable=True),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(account = 'operator') = (operator IS NOT NULL)", name=op.f("ck_ledger_entry_operator")),
        sa.CheckConstraint("(account = 'payer') = (unit_id IS NOT NULL)", name=op.f("ck_ledger_entry_unit")),
        sa.CheckConstraint("account IN ('payer', 'income', 'operator', 'cost')", name=op.f("ck_ledger_entry_account")),
        sa.CheckConstraint("amount_fen <> 0", name=op.f("ck_ledger_entry_amount")),
        sa.ForeignKeyConstraint(["posting_id"], ["broker.ledger_posting.id"], name=op.f("fk_ledger_entry_posting_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_ledger_entry_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        schema="broker",
    )
    op.create_index(op.f("ix_ledger_entry_posting_id"), "ledger_entry", ["posting_id"], unique=False, schema="broker")
    op.create_index(op.f("ix_ledger_entry_unit_id"), "ledger_entry", ["unit_id"], unique=False, schema="broker")


def _charges() -> None:
    """A statement may be final; its lines have no foreign keys any more (see the model) and one key of their own."""
    op.add_column("statement", sa.Column("close_id", sa.Uuid(), nullable=True), schema="broker")
    op.create_index(op.f("ix_statement_close_id"), "statement", ["close_id"], unique=False, schema="broker")
    op.create_foreign_key(
        op.f("fk_statement_close_id"),
        "statement",
        "month_close",
        ["close_id"],
        ["id"],
        source_schema="broker",
        referent_schema="broker",
    )
    _run(_CHARGE)


_CHARGE = """
ALTER TABLE broker.charge
    DROP CONSTRAINT pk_charge,
    DROP CONSTRAINT uq_charge_statement_id_resource_id_meter_tariff_price_id,
    DROP CONSTRAINT fk_charge_statement_id,
    DROP CONSTRAINT fk_charge_unit_id,
    DROP CONSTRAINT fk_charge_resource_id,
    DROP CONSTRAINT fk_charge_sub_cloud_id,
    DROP CONSTRAINT fk_charge_tariff_price_id,
    DROP COLUMN id;
DROP INDEX broker.ix_charge_statement_id;
ALTER TABLE broker.charge
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_charge PRIMARY KEY,
    ADD COLUMN usage_month date,
    ADD COLUMN free_seconds numeric NOT NULL DEFAULT 0,
    ADD COLUMN adjustment_id uuid;
UPDATE broker.charge c SET usage_month = s.month FROM broker.statement s WHERE s.id = c.statement_id;
ALTER TABLE broker.charge
    ALTER COLUMN usage_month SET NOT NULL,
    ADD CONSTRAINT uq_charge_line UNIQUE NULLS NOT DISTINCT
        (statement_id, resource_id, meter, tariff_price_id, usage_month, adjustment_id)
"""

# A function, so that an older state of a period (``chargeback.known``) is metered as its present one; PostgreSQL puts
# its text into the view's.
_USAGE_SPAN = """
CREATE FUNCTION broker.meters_of(p broker.resource_period) RETURNS TABLE (meter text, quantity bigint)
LANGUAGE sql IMMUTABLE AS $$
SELECT m.meter, m.quantity FROM (VALUES
    ('vcpu_' || p.cpu_arch, CAST(p.vcpu AS bigint)),
    ('memory_gib', p.memory_gib),
    ('block_gib_' || p.block_class, p.block_gib),
    ('ipv6_segment', p.segments)
) AS m(meter, quantity)
WHERE m.quantity > 0
$$;
DROP VIEW broker.usage_span;
CREATE VIEW broker.usage_span AS
SELECT p.resource_id, m.meter, m.quantity, p.state,
       date_trunc('second', lower(p.during)) AS start_at, date_trunc('second', upper(p.during)) AS end_at,
       'resource_period' AS source, p.id AS row_id
FROM broker.resource_period p CROSS JOIN LATERAL broker.meters_of(p) AS m
UNION ALL
SELECT resource_id, meter, quantity, state, date_trunc('second', lower(during)), date_trunc('second', upper(during)),
       'usage_record', id
FROM broker.usage_record WHERE quantity > 0
UNION ALL
SELECT resource_id, meter, quantity, 'active', at, at + interval '1 second', 'one_off_item', id FROM broker.one_off_item
"""

# The lock is the one that a close holds exclusively until its commit: whoever writes usage before holds it shared until
# its own, so that a close sees it; whoever writes while a close is running cannot take it, and leaves a hint.
_NOTE_CORRECTION = """
CREATE FUNCTION broker.note_correction() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
    closed_until timestamptz := 'infinity';
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ELSE '{}' END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ELSE '{}' END;
    was tstzrange := 'empty';
    is_now tstzrange := 'empty';
    touched tstzmultirange;
BEGIN
    IF pg_try_advisory_xact_lock_shared(hashtext('broker.month_close')) THEN
        SELECT max(covers_until) INTO closed_until FROM month_close WHERE reopened_at IS NULL;
        IF closed_until IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_ARGV[0] = 'during' THEN
        was := coalesce(CAST(before->>'during' AS tstzrange), 'empty');
        is_now := coalesce(CAST(after->>'during' AS tstzrange), 'empty');
    ELSE
        was := coalesce(tstzrange(CAST(before->>'at' AS timestamptz), CAST(before->>'at' AS timestamptz), '[]'), 'empty');
        is_now := coalesce(tstzrange(CAST(after->>'at' AS timestamptz), CAST(after->>'at' AS timestamptz), '[]'), 'empty');
    END IF;
    touched := tstzmultirange(was) + tstzmultirange(is_now);
    IF before - 'during' = after - 'during' THEN
        touched := touched - tstzmultirange(was * is_now);
    END IF;
    touched := touched * tstzmultirange(tstzrange(NULL, closed_until));
    IF NOT isempty(touched) THEN
        INSERT INTO usage_correction (resource_id, during, source, row_id, before)
        SELECT DISTINCT CAST(r AS uuid), range_merge(touched), TG_TABLE_NAME,
               CAST(coalesce(before->>'id', after->>'id') AS uuid), nullif(before, '{}')
        FROM unnest(ARRAY[before->>'resource_id', after->>'resource_id']) AS r WHERE r IS NOT NULL;
    END IF;
    RETURN NULL;
END $$
"""

_NOTED = {
    "resource_period": "'during'",
    "usage_record": "'during'",
    "resource_term": "'during'",
    "one_off_item": "'at'",
}

_BALANCED = """
CREATE FUNCTION broker.ledger_balanced() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
    posting uuid := CAST(
        coalesce(to_jsonb(NEW), to_jsonb(OLD))->>CASE TG_TABLE_NAME WHEN 'ledger_posting' THEN 'id' ELSE 'posting_id' END
        AS uuid);
    entries bigint;
    total numeric;
BEGIN
    SELECT count(*), coalesce(sum(amount_fen), 0) INTO entries, total FROM ledger_entry WHERE posting_id = posting;
    IF total <> 0 OR (entries < 2 AND EXISTS (SELECT FROM ledger_posting WHERE id = posting)) THEN
        RAISE EXCEPTION 'posting % has % entries that sum to %', posting, entries, total
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balanced';
    END IF;
    RETURN NULL;
END $$
"""

# Whoever writes past the service, the owner included: a month opens again once, and only when two people said so.
_REOPENED_BY_TWO = """
CREATE FUNCTION broker.reopened_by_two() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.reopened_at IS NULL
       OR TG_OP = 'UPDATE' AND NEW.reopened_at IS NOT DISTINCT FROM OLD.reopened_at THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' OR OLD.reopened_at IS NOT NULL OR NOT EXISTS (
        SELECT FROM month_reopening WHERE close_id = NEW.id AND agreed_by <> asked_by
    ) THEN
        RAISE EXCEPTION 'month_close % is reopened once, after two people agreed', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reopened_by_two';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reopened_by_two BEFORE INSERT OR UPDATE ON broker.month_close
    FOR EACH ROW EXECUTE FUNCTION broker.reopened_by_two();
CREATE FUNCTION broker.agreed_once() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.agreed_by IS NULL OR TG_OP = 'UPDATE' AND OLD.agreed_by IS NULL
       AND to_jsonb(OLD) - '{agreed_by,agreed_at}'::text[] = to_jsonb(NEW) - '{agreed_by,agreed_at}'::text[] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'month_reopening % is asked for first and agreed to once', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'agreed_once';
END $$;
CREATE TRIGGER agreed_once BEFORE INSERT OR UPDATE ON broker.month_reopening
    FOR EACH ROW EXECUTE FUNCTION broker.agreed_once()
"""

_INSERT_ONLY = (
    "adjustment",
    "budget",
    "budget_notice",
    "charge",
    "funding_step",
    "ledger_entry",
    "ledger_posting",
    "month_close",
    "month_close_correction",
    "month_reopening",
    "settlement",
    "settlement_line",
    "statement",
    "usage_correction",
)

_GRANTS = f"""
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT SELECT, INSERT, UPDATE ON broker.one_off_item, broker.resource_term, broker.usage_record TO guiyun_app;
    REVOKE ALL ON {", ".join(f"broker.{t}" for t in _INSERT_ONLY)} FROM guiyun_app;
    GRANT SELECT, INSERT ON {", ".join(f"broker.{t}" for t in _INSERT_ONLY)} TO guiyun_app;
    GRANT UPDATE (reopened_at) ON broker.month_close TO guiyun_app;
    GRANT UPDATE (agreed_by, agreed_at) ON broker.month_reopening TO guiyun_app;
    GRANT SELECT ON broker.usage_span TO guiyun_app;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA broker TO guiyun_app;
  END IF;
END $$
"""
