"""A prefix is found without waiting for a cursor by who already has one: two such callers could deadlock.

The SQL stands in ``quotas/sql/0019_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0019_prefix_empty_hands"
down_revision = "0015b_reclaim_policies"
branch_labels = None
depends_on = None


def upgrade() -> None:
    statements = files("quotas").joinpath("sql", "0019_a_empty_hands.sql").read_text(encoding="utf-8")
    # No placeholders: `%` and `:` mean what they mean in SQL.
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
