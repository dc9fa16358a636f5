"""A system's entry may go to another unit: a source of revisions of its own."""

from __future__ import annotations

from alembic import op

revision = "0026d_system_moves"
down_revision = "0026c_zombie_nights"
branch_labels = None
depends_on = None

SOURCES = "source IN ('form', 'import', 'region', 'proposal', 'end', 'move')"


def upgrade() -> None:
    op.execute("ALTER TABLE broker.system_revision DROP CONSTRAINT ck_system_revision_source")
    op.execute(f"ALTER TABLE broker.system_revision ADD CONSTRAINT ck_system_revision_source CHECK ({SOURCES})")
