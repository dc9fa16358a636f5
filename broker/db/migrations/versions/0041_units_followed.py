"""Units are merged into others, and what belongs to a unit that moved or was merged follows it on the day."""

from __future__ import annotations

from alembic import op

revision = "0041_units_followed"
down_revision = "0045_started_outside"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE broker.unit_period
  ADD COLUMN merged_into_id UUID,
  ADD COLUMN followed_at TIMESTAMP WITH TIME ZONE,
  ADD CONSTRAINT fk_unit_period_merged_into_id FOREIGN KEY (merged_into_id) REFERENCES broker.unit (id),
  ADD CONSTRAINT ck_unit_period_merged CHECK (merged_into_id = parent_id);
-- Limits did not follow units until now, and operators have put nodes where they wanted them: those stay.
UPDATE broker.unit_period SET followed_at = now() WHERE lower(during) <= now();
ALTER TABLE broker.network_revision DROP CONSTRAINT ck_network_revision_source;
ALTER TABLE broker.network_revision
  ADD CONSTRAINT ck_network_revision_source CHECK (source IN ('form', 'import', 'move'));
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT UPDATE (unit_id) ON broker.dedicated_network TO guiyun_app;
  END IF;
END $$;
"""


def upgrade() -> None:
    op.execute(UPGRADE)
