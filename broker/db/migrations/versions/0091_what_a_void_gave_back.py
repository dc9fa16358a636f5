"""A void tells what it gave back: its function answers otherwise, and stands with the others of today."""

from __future__ import annotations

from alembic import op

revision = "0091_what_a_void_gave_back"
down_revision = "0072_open_gaps"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP FUNCTION IF EXISTS quotas.void(uuid)")
