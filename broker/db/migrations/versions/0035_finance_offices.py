"""Whose finance people act for a payer is a dated row, no longer whoever happens to stand below it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0035_finance_offices"
down_revision = "0070_refused_vnis"
branch_labels = None
depends_on = None

_T = "finance_office"


def upgrade() -> None:
    op.create_table(
        _T,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("office_unit_id", sa.Uuid(), nullable=False),
        sa.Column("payer_unit_id", sa.Uuid(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.ForeignKeyConstraint(["office_unit_id"], ["broker.unit.id"], name=op.f(f"fk_{_T}_office_unit_id")),
        sa.ForeignKeyConstraint(["payer_unit_id"], ["broker.unit.id"], name=op.f(f"fk_{_T}_payer_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{_T}")),
        postgresql.ExcludeConstraint(
            (sa.column("office_unit_id"), "="), (sa.column("during"), "&&"), using="gist", name=f"ex_{_T}"
        ),
        schema="broker",
    )
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_AS_BEFORE + _GRANTS)


# Who acted for a payer until now goes on doing so, in the open: the units below it, other than counties, that have
# finance people. An office that should not is ended by its row.
_AS_BEFORE = """
INSERT INTO broker.finance_office (id, office_unit_id, payer_unit_id, during)
SELECT gen_random_uuid(), x.unit_id, x.payer_unit_id, tstzrange(x.since, NULL)
FROM (
  SELECT DISTINCT ON (a.unit_id) a.unit_id, n.unit_id AS payer_unit_id, p.ancestors,
         (SELECT min(lower(y.during)) FROM broker.payer y WHERE y.payer_unit_id = n.unit_id) AS since
  FROM broker.role_grant g JOIN broker.account a ON a.id = g.account_id
  JOIN broker.unit_period p ON p.unit_id = a.unit_id AND p.during @> now()
  CROSS JOIN LATERAL unnest(p.ancestors) WITH ORDINALITY AS n(unit_id, depth)
  WHERE g.role = 'finance' AND (upper_inf(g.during) OR upper(g.during) > now()) AND a.disabled_at IS NULL
    AND EXISTS (SELECT FROM broker.payer y WHERE y.payer_unit_id = n.unit_id)
  ORDER BY a.unit_id, n.depth DESC
) AS x
WHERE x.payer_unit_id <> x.unit_id
  AND NOT EXISTS (SELECT FROM unnest(x.ancestors) WITH ORDINALITY AS k(unit_id, depth)
                  JOIN broker.unit u ON u.id = k.unit_id AND u.kind = 'county'
                  WHERE k.depth > array_position(x.ancestors, x.payer_unit_id));
"""

_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT SELECT, INSERT, UPDATE ON broker.finance_office TO guiyun_app;
  END IF;
END $$
"""
