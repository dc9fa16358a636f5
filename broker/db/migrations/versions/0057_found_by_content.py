"""A finding keeps the digest of the policy that it was found by: a file whose version was left as it was is seen."""

from __future__ import annotations

from alembic import op

revision = "0057_found_by_content"
down_revision = "0087_two_persons_of_money"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # What was found before has none: the next night's detection writes it, and until then no case is opened over it.
    op.execute("ALTER TABLE broker.idle_finding ADD COLUMN policy_digest VARCHAR NOT NULL DEFAULT ''")
