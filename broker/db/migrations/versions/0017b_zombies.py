"""Zombie systems: scans, what each said of each system, and what people decided. All insert-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017b_zombies"
down_revision = "0019_prefix_empty_hands"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "zombie_scan",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Uuid(), nullable=True),
        sa.Column("rules_version", sa.String(), nullable=False),
        sa.Column("systems", sa.Integer(), nullable=False),
        sa.Column("measured_until", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["by"], ["broker.account.id"], name=op.f("fk_zombie_scan_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zombie_scan")),
        schema="broker",
    )
    op.create_table(
        "zombie_finding",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scan_id", sa.Uuid(), nullable=False),
        sa.Column("system_id", sa.Uuid(), nullable=False),
        sa.Column("score_hundredths", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("known", sa.Integer(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("signs", postgresql.JSONB(), nullable=False),
        sa.Column("cautions", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("score_hundredths BETWEEN 0 AND 10000", name=op.f("ck_zombie_finding_score_hundredths")),
        sa.CheckConstraint("level IN ('likely', 'suspected', 'none')", name=op.f("ck_zombie_finding_level")),
        sa.CheckConstraint("known BETWEEN 0 AND 5", name=op.f("ck_zombie_finding_known")),
        sa.ForeignKeyConstraint(["scan_id"], ["broker.zombie_scan.id"], name=op.f("fk_zombie_finding_scan_id")),
        sa.ForeignKeyConstraint(
            ["system_id"], ["broker.information_system.id"], name=op.f("fk_zombie_finding_system_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zombie_finding")),
        sa.UniqueConstraint("scan_id", "system_id", name=op.f("uq_zombie_finding_scan_id_system_id")),
        schema="broker",
    )
    op.create_index(op.f("ix_zombie_finding_system_id"), "zombie_finding", ["system_id"], schema="broker")
    op.create_table(
        "zombie_decision",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("system_id", sa.Uuid(), nullable=False),
        sa.Column("finding_id", sa.Uuid(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("look_again_on", sa.Date(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("case_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.CheckConstraint("decision IN ('confirmed', 'not_zombie')", name=op.f("ck_zombie_decision_decision")),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f("ck_zombie_decision_reason")),
        sa.CheckConstraint(
            "(decision = 'not_zombie') = (look_again_on IS NOT NULL)", name=op.f("ck_zombie_decision_look_again_on")
        ),
        sa.CheckConstraint("decision = 'confirmed' OR case_ids = '{}'", name=op.f("ck_zombie_decision_case_ids")),
        sa.ForeignKeyConstraint(
            ["system_id"], ["broker.information_system.id"], name=op.f("fk_zombie_decision_system_id")
        ),
        sa.ForeignKeyConstraint(
            ["finding_id"], ["broker.zombie_finding.id"], name=op.f("fk_zombie_decision_finding_id")
        ),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f("fk_zombie_decision_decided_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zombie_decision")),
        schema="broker",
    )
    op.create_index(
        "ix_zombie_decision_system_id_decided_at", "zombie_decision", ["system_id", "decided_at"], schema="broker"
    )
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_GRANTS)


_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.zombie_scan, broker.zombie_finding, broker.zombie_decision FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.zombie_scan, broker.zombie_finding, broker.zombie_decision TO guiyun_app;
  END IF;
END $$
"""
