"""A decision notes its transaction: of two at one instant a recount could not tell whether the close saw the decision."""

from __future__ import annotations

from alembic import op

revision = "0097_decided_in"
down_revision = "0096_numbers_of_lines"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Two steps: the default is for decisions to come, those that stand were not made in this transaction.
    op.execute("ALTER TABLE broker.adjustment ADD COLUMN decided_in VARCHAR")
    op.execute("ALTER TABLE broker.adjustment ALTER COLUMN decided_in SET DEFAULT CAST(pg_current_xact_id() AS text)")
