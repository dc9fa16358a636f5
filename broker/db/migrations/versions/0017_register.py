"""The register of information systems: what Art. 28 asks for, how a system ends, revisions, proposals, imported files."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017_register"
down_revision = "0015_reclaim_cases"
branch_labels = None
depends_on = None

_DATES = (
    "in_use_since",
    "last_business_on",
    "business_stopped_on",
    "last_maintained_on",
    "maintenance_until",
    "reported_on",
)


def upgrade() -> None:
    _extend()
    _revisions()
    _proposals()
    _imports()
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_FIRST + _GRANTS)


def _extend() -> None:
    def add(name: str, kind: sa.types.TypeEngine[Any], default: str | None = None) -> None:
        column = sa.Column(name, kind, server_default=default and sa.text(default), nullable=default is None)
        op.add_column("information_system", column, schema="broker")

    for name in _DATES:
        add(name, sa.Date())
    add("monthly_users", sa.Integer())
    add("replaceable_by_id", sa.Uuid())
    add("growth_reason", sa.String(), "''")
    add("registered_at", sa.DateTime(timezone=True), "clock_timestamp()")
    add("version", sa.Integer(), "1")
    add("ended_kind", sa.String())
    add("ended_reason", sa.String())
    add("merged_into_id", sa.Uuid())
    add("handed_to", sa.String())
    for name in ("replaceable_by_id", "merged_into_id"):
        op.create_foreign_key(
            op.f(f"fk_information_system_{name}"),
            "information_system",
            "information_system",
            [name],
            ["id"],
            source_schema="broker",
            referent_schema="broker",
        )
    op.create_index(
        op.f("ix_information_system_merged_into_id"), "information_system", ["merged_into_id"], schema="broker"
    )
    op.execute(
        "UPDATE broker.information_system SET ended_kind = 'shut_down', ended_reason = '—' WHERE retired_at IS NOT NULL"
    )
    for name, rule in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_information_system_{name}"), "information_system", rule, schema="broker")


_CHECKS = {
    "monthly_users": "monthly_users >= 0",
    "version": "version > 0",
    "ended_kind": "ended_kind IN ('merged', 'shut_down', 'handed_over')",
    "ended": "num_nonnulls(retired_at, ended_kind, ended_reason) IN (0, 3)",
    "ended_reason": "btrim(ended_reason) <> ''",
    "merged": "(ended_kind IS NOT DISTINCT FROM 'merged') = (merged_into_id IS NOT NULL)",
    "handed_to": "(ended_kind IS NOT DISTINCT FROM 'handed_over') = (handed_to IS NOT NULL)",
    "not_itself": "merged_into_id <> id AND replaceable_by_id <> id",
}


def _revisions() -> None:
    op.create_table(
        "system_revision",
        sa.Column("system_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Uuid(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("entry", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint(
            "source IN ('form', 'import', 'region', 'proposal', 'end')", name=op.f("ck_system_revision_source")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_system_revision_version")),
        sa.ForeignKeyConstraint(
            ["system_id"], ["broker.information_system.id"], name=op.f("fk_system_revision_system_id")
        ),
        sa.ForeignKeyConstraint(["by"], ["broker.account.id"], name=op.f("fk_system_revision_by")),
        sa.PrimaryKeyConstraint("system_id", "version", name=op.f("pk_system_revision")),
        schema="broker",
    )


def _proposals() -> None:
    op.create_table(
        "system_proposal",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("entry", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("proposed_by", sa.Uuid(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.String(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("system_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f("ck_system_proposal_reason")),
        sa.CheckConstraint("decision IN ('approved', 'refused')", name=op.f("ck_system_proposal_decision")),
        sa.CheckConstraint(
            "num_nonnulls(decision, answer, decided_by, decided_at) IN (0, 4)",
            name=op.f("ck_system_proposal_decided"),
        ),
        sa.CheckConstraint("decided_by <> proposed_by", name=op.f("ck_system_proposal_two_people")),
        sa.CheckConstraint(
            "(decision IS NOT DISTINCT FROM 'approved') = (system_id IS NOT NULL)",
            name=op.f("ck_system_proposal_system"),
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_system_proposal_unit_id")),
        sa.ForeignKeyConstraint(["proposed_by"], ["broker.account.id"], name=op.f("fk_system_proposal_proposed_by")),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f("fk_system_proposal_decided_by")),
        sa.ForeignKeyConstraint(
            ["system_id"], ["broker.information_system.id"], name=op.f("fk_system_proposal_system_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_proposal")),
        schema="broker",
    )
    op.create_index(op.f("ix_system_proposal_unit_id"), "system_proposal", ["unit_id"], schema="broker")
    op.create_index(
        "ux_system_proposal_open",
        "system_proposal",
        ["code"],
        unique=True,
        schema="broker",
        postgresql_where=sa.text("decision IS NULL"),
    )


def _imports() -> None:
    op.create_table(
        "system_import",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("lines >= 0", name=op.f("ck_system_import_lines")),
        sa.ForeignKeyConstraint(["created_by"], ["broker.account.id"], name=op.f("fk_system_import_created_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_import")),
        schema="broker",
    )


# Systems that are there already were registered when their id was made (UUIDv7), and what is known of them is their
# first revision. One that was retired by hand is taken as shut down: the old table kept no reason.
_FIRST = """
UPDATE broker.information_system
SET registered_at = to_timestamp((('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0);
INSERT INTO broker.system_revision (system_id, version, at, source, entry)
SELECT id, 1, registered_at, 'region', to_jsonb(s) FROM broker.information_system s;
"""

_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.system_revision, broker.system_proposal, broker.system_import FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.system_revision, broker.system_proposal, broker.system_import TO guiyun_app;
    GRANT UPDATE (decision, answer, decided_by, decided_at, system_id) ON broker.system_proposal TO guiyun_app;
    GRANT UPDATE (applied_at) ON broker.system_import TO guiyun_app;
  END IF;
END $$
"""
