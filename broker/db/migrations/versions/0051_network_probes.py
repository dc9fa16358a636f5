"""A reported connection is looked at by probes before it counts; one at a time, kept with what they said."""

from __future__ import annotations

from alembic import op

revision = "0051_network_probes"
down_revision = "0055_words_that_end"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_TABLE + _GRANTS)


_TABLE = """
CREATE TABLE broker.network_probe (
  id UUID NOT NULL,
  network_id UUID NOT NULL,
  segments UUID[] NOT NULL,
  done_on DATE NOT NULL,
  evidence VARCHAR NOT NULL,
  asked_by UUID NOT NULL,
  asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
  tries INTEGER NOT NULL,
  answered_at TIMESTAMP WITH TIME ZONE,
  code VARCHAR,
  CONSTRAINT pk_network_probe PRIMARY KEY (id),
  CONSTRAINT ck_network_probe_segments CHECK (cardinality(segments) > 0),
  CONSTRAINT ck_network_probe_evidence CHECK (btrim(evidence) <> ''),
  CONSTRAINT ck_network_probe_answered CHECK (num_nonnulls(answered_at, code) IN (0, 2)),
  CONSTRAINT fk_network_probe_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_probe_asked_by FOREIGN KEY(asked_by) REFERENCES broker.account (id)
);
CREATE INDEX ix_network_probe_network_id ON broker.network_probe (network_id);
CREATE UNIQUE INDEX ux_network_probe_open ON broker.network_probe (network_id) WHERE answered_at IS NULL;
"""

_GRANTS = """
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.network_probe FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.network_probe TO guiyun_app;
    GRANT UPDATE (tries, answered_at, code) ON broker.network_probe TO guiyun_app;
  END IF;
END $$;
"""
