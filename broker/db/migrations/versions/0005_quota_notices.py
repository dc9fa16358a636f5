"""What people were told of quotas that fill up, and what operators decided about a cloud whose totals differ."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_quota_notices"
down_revision = "0004_prefix_plan"
branch_labels = None
depends_on = None

_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.quota_mark, broker.capacity_decision FROM guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON broker.quota_mark TO guiyun_app;
    GRANT SELECT, INSERT ON broker.capacity_decision TO guiyun_app;
  END IF;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "quota_mark",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=True),
        sa.Column("pool_id", sa.Uuid(), nullable=True),
        sa.Column("resource_class", sa.String(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("crossings", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("percent BETWEEN 0 AND 100", name=op.f("ck_quota_mark_percent")),
        sa.CheckConstraint("node_id IS NOT NULL OR pool_id IS NOT NULL", name=op.f("ck_quota_mark_counter")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_mark")),
        sa.UniqueConstraint(
            "node_id",
            "pool_id",
            "resource_class",
            name=op.f("uq_quota_mark_node_id_pool_id_resource_class"),
            postgresql_nulls_not_distinct=True,
        ),
        schema="broker",
    )
    op.create_table(
        "capacity_decision",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("resource_class", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("ours", sa.BigInteger(), nullable=True),
        sa.Column("reported", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("decision IN ('accept', 'leave')", name=op.f("ck_capacity_decision_decision")),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f("fk_capacity_decision_decided_by")),
        sa.ForeignKeyConstraint(
            ["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_capacity_decision_sub_cloud_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capacity_decision")),
        schema="broker",
    )
    op.create_index(
        op.f("ix_capacity_decision_sub_cloud_id_resource_class_id"),
        "capacity_decision",
        ["sub_cloud_id", "resource_class", "id"],
        schema="broker",
    )
    op.execute(_GRANTS)


def downgrade() -> None:
    op.drop_table("capacity_decision", schema="broker")
    op.drop_table("quota_mark", schema="broker")
