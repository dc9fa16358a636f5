"""Nodes of the quota tree move, with what is below them.

The SQL stands in ``quotas/sql/0022_b_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0022b_moving_nodes"
down_revision = "0022_one_order"
branch_labels = None
depends_on = None

FILES = ("0022_b_moving_nodes.sql",)


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
