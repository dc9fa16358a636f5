"""A pool is full only of what is committed; beside what is not, it is busy.

The SQL stands in ``quotas/sql/0021b_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0021b_busy_or_full"
down_revision = "0026_reclaim_guards"
branch_labels = None
depends_on = None

FILES = ("0021b_a_busy_or_full.sql",)


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
