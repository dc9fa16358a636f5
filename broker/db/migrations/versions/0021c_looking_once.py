"""A wish of one line is looked at once; who sees an older state may not count.

The SQL stands in ``quotas/sql/0021c_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0021c_looking_once"
down_revision = "0027_dedicated_networks"
branch_labels = None
depends_on = None

FILES = ("0021c_a_looking_once.sql",)


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
