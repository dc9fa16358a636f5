"""What lenders claim back of their nominal share, and a mark of its own for a limit at which nothing more is to be had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012b_quota_claims"
down_revision = "0018_hold_groups"
branch_labels = None
depends_on = None

_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.quota_claim FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.quota_claim TO guiyun_app;
    GRANT UPDATE (wanted, amount, times, made_at, closed_at) ON broker.quota_claim TO guiyun_app;
  END IF;
END $$
"""


def upgrade() -> None:
    op.add_column(
        "quota_mark",
        sa.Column("full", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="broker",
    )
    op.execute('UPDATE broker.quota_mark SET "full" = percent = 100')
    op.create_check_constraint(op.f("ck_quota_mark_full"), "quota_mark", 'percent = 100 OR NOT "full"', schema="broker")
    op.create_table(
        "quota_claim",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("lender_id", sa.Uuid(), nullable=False),
        sa.Column("borrower_id", sa.Uuid(), nullable=False),
        sa.Column("resource_class", sa.String(), nullable=False),
        sa.Column("pool_id", sa.Uuid(), nullable=True),
        sa.Column("wanted", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("wanted > 0 AND amount > 0", name=op.f("ck_quota_claim_amounts")),
        sa.CheckConstraint("lender_id <> borrower_id", name=op.f("ck_quota_claim_two_nodes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_claim")),
        sa.UniqueConstraint(
            "owner",
            "lender_id",
            "borrower_id",
            "resource_class",
            "pool_id",
            name=op.f("uq_quota_claim_owner_lender_id_borrower_id_resource_class_pool_id"),
            postgresql_nulls_not_distinct=True,
        ),
        schema="broker",
    )
    op.create_index(
        op.f("ix_quota_claim_open"),
        "quota_claim",
        ["borrower_id"],
        schema="broker",
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.execute(_GRANTS)


def downgrade() -> None:
    op.drop_table("quota_claim", schema="broker")
    op.drop_constraint(op.f("ck_quota_mark_full"), "quota_mark", schema="broker")
    op.drop_column("quota_mark", "full", schema="broker")
