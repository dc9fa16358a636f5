"""Which calendars workers count by: two at once recount each other's deadlines for ever, and nobody would know."""

from __future__ import annotations

from alembic import op

revision = "0090_calendars_in_use"
down_revision = "0080_hold_with_its_events"
branch_labels = None
depends_on = None

_SQL = """
CREATE TABLE broker.calendar_in_use (
  version VARCHAR NOT NULL,
  first_at TIMESTAMP WITH TIME ZONE NOT NULL,
  last_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_calendar_in_use PRIMARY KEY (version)
);
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.calendar_in_use FROM guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON broker.calendar_in_use TO guiyun_app;
  END IF;
END $$;
"""


def upgrade() -> None:
    op.execute(_SQL)
