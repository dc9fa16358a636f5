"""Sums of a statement's lines, written when it is drawn: pages do not read millions of lines. Old ones are summed here."""

from __future__ import annotations

from alembic import op

revision = "0086_statement_sums"
down_revision = "0085_begun_by_two"
branch_labels = None
depends_on = None

_SQL = """
CREATE TABLE broker.statement_sum (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  statement_id UUID NOT NULL,
  usage_month DATE NOT NULL,
  unit_id UUID NOT NULL,
  sub_cloud_id UUID NOT NULL,
  system_id UUID,
  meter VARCHAR NOT NULL,
  payer_rule VARCHAR NOT NULL,
  article VARCHAR NOT NULL,
  amount_fen BIGINT NOT NULL,
  lines BIGINT NOT NULL,
  CONSTRAINT pk_statement_sum PRIMARY KEY (id)
);
INSERT INTO broker.statement_sum (statement_id, usage_month, unit_id, sub_cloud_id, system_id, meter, payer_rule,
                                  article, amount_fen, lines)
SELECT c.statement_id, c.usage_month, c.unit_id, c.sub_cloud_id, r.system_id, c.meter, c.payer_rule, c.article,
       sum(c.amount_fen), count(*)
FROM broker.charge c JOIN broker.resource r ON r.id = c.resource_id
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
CREATE INDEX ix_statement_sum_statement_id ON broker.statement_sum (statement_id);
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.statement_sum FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.statement_sum TO guiyun_app;
  END IF;
END $$;
"""


def upgrade() -> None:
    op.execute(_SQL)
