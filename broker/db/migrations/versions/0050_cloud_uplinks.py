"""By what a sub-cloud's networks can meet a router of the extranet, as it last said; NULL: it was not asked yet."""

from __future__ import annotations

from alembic import op

revision = "0050_cloud_uplinks"
down_revision = "0029_first_month"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE broker.sub_cloud_status ADD COLUMN uplinks VARCHAR[]")
