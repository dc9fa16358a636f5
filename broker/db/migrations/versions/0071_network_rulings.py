"""The Bureau's word on what a dedicated network carries: systems that leave its list after the plan, or none at all."""

from __future__ import annotations

from alembic import op

revision = "0071_network_rulings"
down_revision = "0036_books_proposal"
branch_labels = None
depends_on = None

_SQL = """
CREATE TABLE broker.network_ruling (
  id UUID NOT NULL,
  network_id UUID NOT NULL,
  dropped VARCHAR[] NOT NULL,
  reason VARCHAR NOT NULL,
  ruled_by UUID NOT NULL,
  ruled_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_network_ruling PRIMARY KEY (id),
  CONSTRAINT fk_network_ruling_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_ruling_ruled_by FOREIGN KEY(ruled_by) REFERENCES broker.account (id),
  CONSTRAINT ck_network_ruling_reason CHECK (btrim(reason) <> '')
);
CREATE INDEX ix_network_ruling_network_id ON broker.network_ruling (network_id);
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.network_ruling FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.network_ruling TO guiyun_app;
  END IF;
END $$;
"""


def upgrade() -> None:
    op.execute(_SQL)
