"""A case whose servers somebody started at their cloud is heard anew: its resuming ends in a notice."""

from __future__ import annotations

from alembic import op

revision = "0045_started_outside"
down_revision = "0040_resource_owners"
branch_labels = None
depends_on = None

ENDINGS = "ending IN ('dropped', 'exempted', 'renewed', 'noticed')"


def upgrade() -> None:
    op.execute("ALTER TABLE broker.reclaim_case DROP CONSTRAINT ck_reclaim_case_ending")
    op.execute(f"ALTER TABLE broker.reclaim_case ADD CONSTRAINT ck_reclaim_case_ending CHECK ({ENDINGS})")
