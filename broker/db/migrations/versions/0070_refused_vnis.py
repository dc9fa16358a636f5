"""When a router said that something of others has a segment's VNI or VLAN; it is given to nobody for a while."""

from __future__ import annotations

from alembic import op

revision = "0070_refused_vnis"
down_revision = "0041_units_followed"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE broker.segment_attachment ADD COLUMN refused_at TIMESTAMP WITH TIME ZONE")
