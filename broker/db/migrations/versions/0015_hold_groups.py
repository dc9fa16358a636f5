"""Borrowing and lending between siblings of the limit tree, and holds of many callers in one transaction.

The SQL stands in ``quotas/sql/0003_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0015_hold_groups"
down_revision = "0011_prefix_places"
branch_labels = None
depends_on = None

FILES = ("0015_a_counting.sql", "0015_b_together.sql", "0015_c_grants.sql")


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
