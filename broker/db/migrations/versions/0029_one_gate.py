"""Holding together passes the gate that everybody passes; the recount sees stock and guards that are gone.

The SQL stands in ``quotas/sql/0029_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0029_one_gate"
down_revision = "0024c_adjustment_proposals"
branch_labels = None
depends_on = None

FILES = ("0029_a_one_gate.sql", "0029_b_verifying.sql")


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
