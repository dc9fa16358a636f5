"""Scans for zombie systems also run by night: one a night at most."""

from __future__ import annotations

from alembic import op

revision = "0026c_zombie_nights"
down_revision = "0026b_reclaim_share"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE broker.zombie_scan ADD COLUMN night DATE")
    op.execute("ALTER TABLE broker.zombie_scan ADD CONSTRAINT uq_zombie_scan_night UNIQUE (night)")
