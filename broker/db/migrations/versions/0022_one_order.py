"""One order of locks: pins and posts pass the gate, a key serves one call at a time, a sweep may be told which holds.

The SQL stands in ``quotas/sql/0022_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0022_one_order"
down_revision = "0026m_money_guards"
branch_labels = None
depends_on = None

FILES = ("0022_a_one_order.sql",)


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
