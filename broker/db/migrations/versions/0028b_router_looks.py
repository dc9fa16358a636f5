"""What the last audit heard from each router of the extranet: for the map, which asks no router."""

from __future__ import annotations

from alembic import op

revision = "0028b_router_looks"
down_revision = "0028_extranet_vlans"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_TABLE + _GRANTS)


_TABLE = """
CREATE TABLE broker.router_look (
  router VARCHAR NOT NULL,
  looked_at TIMESTAMP WITH TIME ZONE NOT NULL,
  silent BOOLEAN NOT NULL,
  down JSONB NOT NULL,
  CONSTRAINT pk_router_look PRIMARY KEY (router)
);
"""

_GRANTS = """
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.router_look FROM guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON broker.router_look TO guiyun_app;
  END IF;
END $$;
"""
