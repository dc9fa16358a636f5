"""Disputes: a payer objects to a line, finance answers once, an accepted one becomes an adjustment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_disputes"
down_revision = "0006_money"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dispute",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("statement_id", sa.Uuid(), nullable=False),
        sa.Column("charge_id", sa.BigInteger(), nullable=False),
        sa.Column("payer_unit_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("raised_by", sa.Uuid(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.String(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("answered_by", sa.Uuid(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("adjustment_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f("ck_dispute_reason")),
        sa.CheckConstraint("decision IN ('accepted', 'rejected')", name=op.f("ck_dispute_decision")),
        sa.CheckConstraint("answered_by <> raised_by", name=op.f("ck_dispute_two_people")),
        sa.CheckConstraint(
            "num_nonnulls(decision, answer, answered_by, answered_at) IN (0, 4)", name=op.f("ck_dispute_answered")
        ),
        sa.CheckConstraint("btrim(answer) <> ''", name=op.f("ck_dispute_answer")),
        sa.CheckConstraint(
            "(decision IS NOT DISTINCT FROM 'accepted') = (adjustment_id IS NOT NULL)",
            name=op.f("ck_dispute_adjustment"),
        ),
        sa.ForeignKeyConstraint(["statement_id"], ["broker.statement.id"], name=op.f("fk_dispute_statement_id")),
        sa.ForeignKeyConstraint(["charge_id"], ["broker.charge.id"], name=op.f("fk_dispute_charge_id")),
        sa.ForeignKeyConstraint(["payer_unit_id"], ["broker.unit.id"], name=op.f("fk_dispute_payer_unit_id")),
        sa.ForeignKeyConstraint(["raised_by"], ["broker.account.id"], name=op.f("fk_dispute_raised_by")),
        sa.ForeignKeyConstraint(["answered_by"], ["broker.account.id"], name=op.f("fk_dispute_answered_by")),
        sa.ForeignKeyConstraint(["adjustment_id"], ["broker.adjustment.id"], name=op.f("fk_dispute_adjustment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispute")),
        sa.UniqueConstraint("adjustment_id", name=op.f("uq_dispute_adjustment_id")),
        schema="broker",
    )
    op.create_index(op.f("ix_dispute_statement_id"), "dispute", ["statement_id"], schema="broker")
    op.create_index(op.f("ix_dispute_payer_unit_id"), "dispute", ["payer_unit_id"], schema="broker")
    op.create_index(
        "ux_dispute_open",
        "dispute",
        ["charge_id"],
        unique=True,
        schema="broker",
        postgresql_where=sa.text("decision IS NULL"),
    )
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_GRANTS)


_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.dispute FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.dispute TO guiyun_app;
    GRANT UPDATE (decision, answer, answered_by, answered_at, adjustment_id) ON broker.dispute TO guiyun_app;
  END IF;
END $$
"""
