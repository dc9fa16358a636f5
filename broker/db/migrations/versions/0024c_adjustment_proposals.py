"""Finance puts a closed line right by itself, and it takes two: the database says so too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024c_adjustment_proposals"
down_revision = "0024b_operators"
branch_labels = None
depends_on = None

_T = "adjustment_proposal"


def upgrade() -> None:
    op.create_table(
        _T,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("charge_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("proposed_by", sa.Uuid(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.String(), nullable=True),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("adjustment_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("amount_fen <> 0", name=op.f(f"ck_{_T}_amount")),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f(f"ck_{_T}_reason")),
        sa.CheckConstraint("decision IN ('confirmed', 'dropped')", name=op.f(f"ck_{_T}_decision")),
        sa.CheckConstraint("num_nonnulls(decision, decided_by, decided_at) IN (0, 3)", name=op.f(f"ck_{_T}_decided")),
        sa.CheckConstraint("decision <> 'confirmed' OR decided_by <> proposed_by", name=op.f(f"ck_{_T}_two_people")),
        sa.CheckConstraint(
            "(decision IS NOT DISTINCT FROM 'confirmed') = (adjustment_id IS NOT NULL)",
            name=op.f(f"ck_{_T}_adjustment"),
        ),
        sa.ForeignKeyConstraint(["charge_id"], ["broker.charge.id"], name=op.f(f"fk_{_T}_charge_id")),
        sa.ForeignKeyConstraint(["proposed_by"], ["broker.account.id"], name=op.f(f"fk_{_T}_proposed_by")),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f(f"fk_{_T}_decided_by")),
        sa.ForeignKeyConstraint(["adjustment_id"], ["broker.adjustment.id"], name=op.f(f"fk_{_T}_adjustment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{_T}")),
        sa.UniqueConstraint("adjustment_id", name=op.f(f"uq_{_T}_adjustment_id")),
        schema="broker",
    )
    op.create_index(
        f"ux_{_T}_open",
        _T,
        ["charge_id"],
        unique=True,
        schema="broker",
        postgresql_where=sa.text("decision IS NULL"),
    )
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_ONCE + _GRANTS)


# Whoever writes past the service, the owner included: what was proposed does not change, and is decided once.
_ONCE = """
CREATE FUNCTION broker.proposal_decided_once() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
    decided text[] := '{decision,note,decided_by,decided_at,adjustment_id}';
BEGIN
    IF TG_OP = 'INSERT' AND NEW.decision IS NULL OR TG_OP = 'UPDATE' AND OLD.decision IS NULL
       AND to_jsonb(OLD) - decided = to_jsonb(NEW) - decided
       AND (NEW.adjustment_id IS NULL OR EXISTS (
           SELECT FROM adjustment a WHERE a.id = NEW.adjustment_id AND a.charge_id = NEW.charge_id
             AND a.amount_fen = NEW.amount_fen AND a.decided_by = NEW.decided_by)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'adjustment_proposal % is made first and decided once, as it was proposed', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'proposal_decided_once';
END $$;
CREATE TRIGGER proposal_decided_once BEFORE INSERT OR UPDATE ON broker.adjustment_proposal
    FOR EACH ROW EXECUTE FUNCTION broker.proposal_decided_once();
"""

_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.adjustment_proposal FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.adjustment_proposal TO guiyun_app;
    GRANT UPDATE (decision, note, decided_by, decided_at, adjustment_id) ON broker.adjustment_proposal TO guiyun_app;
  END IF;
END $$
"""
