"""Counting in few statements, and holds of many callers in groups of which each caller is woken once.

The SQL stands in ``quotas/sql/0018_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0018_hold_groups"
down_revision = "0017_register"
branch_labels = None
depends_on = None

FILES = ("0018_a_counting.sql", "0018_b_together.sql", "0018_c_grants.sql")


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
