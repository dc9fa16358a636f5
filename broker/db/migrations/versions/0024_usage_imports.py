"""Usage that no period tells comes by file: imports, and which of them wrote a row; an item can be taken back to zero."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024_usage_imports"
down_revision = "0026m_money_guards"
branch_labels = None
depends_on = None

FACTS = ("usage_record", "one_off_item", "resource_term")


def upgrade() -> None:
    op.create_table(
        "usage_import",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('records', 'items', 'terms')", name=op.f("ck_usage_import_kind")),
        sa.CheckConstraint("lines >= 0", name=op.f("ck_usage_import_lines")),
        sa.ForeignKeyConstraint(["created_by"], ["broker.account.id"], name=op.f("fk_usage_import_created_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_import")),
        schema="broker",
    )
    for table in FACTS:
        op.add_column(table, sa.Column("import_id", sa.Uuid(), nullable=True), schema="broker")
        op.create_foreign_key(
            op.f(f"fk_{table}_import_id"),
            table,
            "usage_import",
            ["import_id"],
            ["id"],
            source_schema="broker",
            referent_schema="broker",
        )
    for statement in (_ITEM, _USAGE_SPAN, _GRANTS):
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statement)


_ITEM = """
ALTER TABLE broker.one_off_item
    DROP CONSTRAINT ck_one_off_item_quantity,
    ADD CONSTRAINT ck_one_off_item_quantity CHECK (quantity BETWEEN 0 AND 1000000000000)
"""

_USAGE_SPAN = """
CREATE OR REPLACE VIEW broker.usage_span AS
SELECT p.resource_id, m.meter, m.quantity, p.state,
       date_trunc('second', lower(p.during)) AS start_at, date_trunc('second', upper(p.during)) AS end_at,
       'resource_period' AS source, p.id AS row_id
FROM broker.resource_period p CROSS JOIN LATERAL broker.meters_of(p) AS m
UNION ALL
SELECT resource_id, meter, quantity, state, date_trunc('second', lower(during)), date_trunc('second', upper(during)),
       'usage_record', id
FROM broker.usage_record WHERE quantity > 0
UNION ALL
SELECT resource_id, meter, quantity, 'active', at, at + interval '1 second', 'one_off_item', id
FROM broker.one_off_item WHERE quantity > 0
"""

_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.usage_import FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.usage_import TO guiyun_app;
    GRANT UPDATE (applied_at) ON broker.usage_import TO guiyun_app;
  END IF;
END $$
"""
