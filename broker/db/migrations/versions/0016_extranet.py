"""The extranet: its topology, as often as it was loaded, and where each segment is attached."""

from __future__ import annotations

from alembic import op

revision = "0016_extranet"
down_revision = "0012b_quota_claims"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_TABLES + _GRANTS)


_TABLES = """
CREATE TABLE broker.extranet_topology (
  id UUID NOT NULL,
  document JSONB NOT NULL,
  digest VARCHAR NOT NULL,
  loaded_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_extranet_topology PRIMARY KEY (id)
);
CREATE TABLE broker.segment_attachment (
  id UUID NOT NULL,
  resource_id UUID NOT NULL,
  unit VARCHAR NOT NULL,
  vrf VARCHAR NOT NULL,
  router VARCHAR NOT NULL,
  vni INTEGER NOT NULL,
  prefix CIDR NOT NULL,
  attached_at TIMESTAMP WITH TIME ZONE NOT NULL,
  verified_at TIMESTAMP WITH TIME ZONE,
  withdrawn_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_segment_attachment PRIMARY KEY (id),
  CONSTRAINT fk_segment_attachment_resource_id FOREIGN KEY(resource_id) REFERENCES broker.resource (id),
  CONSTRAINT ck_segment_attachment_vni CHECK (vni BETWEEN 1 AND 16777215)
);
CREATE UNIQUE INDEX ux_segment_attachment_resource ON broker.segment_attachment (resource_id) WHERE withdrawn_at IS NULL;
CREATE UNIQUE INDEX ux_segment_attachment_vni ON broker.segment_attachment (vni) WHERE withdrawn_at IS NULL;
CREATE UNIQUE INDEX ux_segment_attachment_prefix ON broker.segment_attachment (vrf, prefix) WHERE withdrawn_at IS NULL;
"""

_GRANTS = """
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.extranet_topology, broker.segment_attachment FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.extranet_topology TO guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON broker.segment_attachment TO guiyun_app;
  END IF;
END $$;
"""
