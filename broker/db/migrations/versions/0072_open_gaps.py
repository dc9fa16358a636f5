"""What of a router still differs after the last audit, for the map; and when a reported connection is looked at next."""

from __future__ import annotations

from alembic import op

revision = "0072_open_gaps"
down_revision = "0057_found_by_content"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE broker.router_look ADD COLUMN gaps JSONB DEFAULT '[]' NOT NULL")
    op.execute("ALTER TABLE broker.network_probe ADD COLUMN next_at TIMESTAMP WITH TIME ZONE")
    op.execute("UPDATE broker.network_probe SET next_at = asked_at")
    op.execute("ALTER TABLE broker.network_probe ALTER COLUMN next_at SET NOT NULL")
    op.execute("""
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT UPDATE (next_at) ON broker.network_probe TO guiyun_app;
  END IF;
END $$;
""")
