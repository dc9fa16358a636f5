"""What detection found: one row a resource and policy for as long as it lasts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014_findings"
down_revision = "0007_disputes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idle_finding",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("object_ref", sa.String(), nullable=False, server_default=""),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), nullable=False),
        sa.Column("monthly_fen", sa.BigInteger(), nullable=True),
        sa.Column("scanned_on", sa.Date(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cleared_because", sa.String(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('idle', 'off', 'unattached_volume', 'empty_segment', 'unbound_address', 'unused_snapshot')",
            name=op.f("ck_idle_finding_kind"),
        ),
        sa.CheckConstraint(
            "first_day <= last_day AND days BETWEEN 1 AND last_day - first_day + 1", name=op.f("ck_idle_finding_days")
        ),
        sa.CheckConstraint("monthly_fen >= 0", name=op.f("ck_idle_finding_monthly_fen")),
        sa.CheckConstraint(
            "(kind IN ('unbound_address', 'unused_snapshot')) = (object_ref <> '')",
            name=op.f("ck_idle_finding_object_ref"),
        ),
        sa.CheckConstraint("(cleared_at IS NULL) = (cleared_because IS NULL)", name=op.f("ck_idle_finding_cleared")),
        sa.ForeignKeyConstraint(["resource_id"], ["broker.resource.id"], name=op.f("fk_idle_finding_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idle_finding")),
        schema="broker",
    )
    op.create_index(
        "ux_idle_finding_open",
        "idle_finding",
        ["resource_id", "policy", "object_ref"],
        unique=True,
        schema="broker",
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_GRANTS)


_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.idle_finding FROM guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON broker.idle_finding TO guiyun_app;
  END IF;
END $$
"""


def downgrade() -> None:
    op.drop_table("idle_finding", schema="broker")
