"""The detection of each day: when it is due, what it found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014c_idle_scans"
down_revision = "0016_extranet"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idle_scan",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("policy_version", sa.String(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(), nullable=True),
        sa.Column("heat", postgresql.JSONB(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idle_scan")),
        sa.UniqueConstraint("day", name=op.f("uq_idle_scan_day")),
        schema="broker",
    )
    op.create_index(
        "ix_idle_scan_due_at", "idle_scan", ["due_at"], schema="broker", postgresql_where=sa.text("finished_at IS NULL")
    )
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_GRANTS)


_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.idle_scan FROM guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON broker.idle_scan TO guiyun_app;
  END IF;
END $$
"""


def downgrade() -> None:
    op.drop_table("idle_scan", schema="broker")
