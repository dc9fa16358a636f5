"""Where the books begin is asked for by one person and agreed to by another: what was used before is never charged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036_books_proposal"
down_revision = "0056_parted_cases"
branch_labels = None
depends_on = None

_T = "books_proposal"


def upgrade() -> None:
    op.create_table(
        _T,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.String(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("extract(day from month) = 1", name=op.f(f"ck_{_T}_month")),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f(f"ck_{_T}_reason")),
        sa.CheckConstraint("decision IN ('agreed', 'dropped')", name=op.f(f"ck_{_T}_decision")),
        sa.CheckConstraint("num_nonnulls(decision, decided_by, decided_at) IN (0, 3)", name=op.f(f"ck_{_T}_decided")),
        sa.CheckConstraint("decision <> 'agreed' OR decided_by <> asked_by", name=op.f(f"ck_{_T}_two_people")),
        sa.ForeignKeyConstraint(["asked_by"], ["broker.account.id"], name=op.f(f"fk_{_T}_asked_by")),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f(f"fk_{_T}_decided_by")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{_T}")),
        schema="broker",
    )
    op.create_index(
        f"ux_{_T}_open", _T, ["month"], unique=True, schema="broker", postgresql_where=sa.text("decision IS NULL")
    )
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_GRANTS)


_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.books_proposal FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.books_proposal TO guiyun_app;
    GRANT UPDATE (decision, decided_by, decided_at) ON broker.books_proposal TO guiyun_app;
  END IF;
END $$
"""
