"""Collectors: when each sub-cloud's samples are read next, and what the last reading did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014b_collectors"
down_revision = "0014_findings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "collector",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.String(), nullable=False, server_default=""),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", postgresql.JSONB(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_collector_failures")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_collector_sub_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collector")),
        sa.UniqueConstraint("sub_cloud_id", name=op.f("uq_collector_sub_cloud_id")),
        schema="broker",
    )
    op.create_index("ix_collector_due_at", "collector", ["due_at"], schema="broker")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_GRANTS)


_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.collector FROM guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON broker.collector TO guiyun_app;
  END IF;
END $$
"""


def downgrade() -> None:
    op.drop_table("collector", schema="broker")
