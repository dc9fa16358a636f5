"""Reclaim policies: dry runs of each version, and who switched which version on."""

from __future__ import annotations

from alembic import op

revision = "0015b_reclaim_policies"
down_revision = "0014c_idle_scans"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_TABLES + _GRANTS)


_TABLES = """
CREATE TABLE broker.reclaim_policy (
  id UUID NOT NULL,
  name VARCHAR NOT NULL,
  version VARCHAR NOT NULL,
  digest VARCHAR NOT NULL,
  content JSONB NOT NULL,
  created_by UUID NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  dry_run_id UUID,
  switched_on_by UUID,
  switched_on_at TIMESTAMP WITH TIME ZONE,
  switched_off_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_reclaim_policy PRIMARY KEY (id),
  CONSTRAINT uq_reclaim_policy_name_digest UNIQUE (name, digest),
  CONSTRAINT ck_reclaim_policy_switched_on CHECK (num_nonnulls(dry_run_id, switched_on_by, switched_on_at) IN (0, 3)),
  CONSTRAINT ck_reclaim_policy_switched_off CHECK (switched_off_at IS NULL OR switched_on_at IS NOT NULL),
  CONSTRAINT fk_reclaim_policy_created_by FOREIGN KEY(created_by) REFERENCES broker.account (id),
  CONSTRAINT fk_reclaim_policy_switched_on_by FOREIGN KEY(switched_on_by) REFERENCES broker.account (id)
);
CREATE UNIQUE INDEX ux_reclaim_policy_on ON broker.reclaim_policy (name) WHERE switched_on_at IS NOT NULL AND switched_off_at IS NULL;
CREATE TABLE broker.reclaim_dry_run (
  id UUID NOT NULL,
  policy_id UUID NOT NULL,
  result JSONB NOT NULL,
  run_by UUID NOT NULL,
  run_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_reclaim_dry_run PRIMARY KEY (id),
  CONSTRAINT uq_reclaim_dry_run_id_policy_id UNIQUE (id, policy_id),
  CONSTRAINT fk_reclaim_dry_run_policy_id FOREIGN KEY(policy_id) REFERENCES broker.reclaim_policy (id),
  CONSTRAINT fk_reclaim_dry_run_run_by FOREIGN KEY(run_by) REFERENCES broker.account (id)
);
ALTER TABLE broker.reclaim_policy ADD CONSTRAINT fk_reclaim_policy_dry_run
  FOREIGN KEY (dry_run_id, id) REFERENCES broker.reclaim_dry_run (id, policy_id);
"""

# What a dry run showed stays as it was shown; a version that was switched on stays what it is.
_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT SELECT, INSERT ON broker.reclaim_policy, broker.reclaim_dry_run TO guiyun_app;
    GRANT UPDATE (dry_run_id, switched_on_by, switched_on_at, switched_off_at) ON broker.reclaim_policy TO guiyun_app;
  END IF;
END $$
"""
