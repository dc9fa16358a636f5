"""A release counts back what is its own hold's, whatever else was moved with the same key.

The SQL stands in ``quotas/sql/0020_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0020_release_of_its_hold"
down_revision = "0015c_sendings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    statements = files("quotas").joinpath("sql", "0020_a_release_of_its_hold.sql").read_text(encoding="utf-8")
    # No placeholders: `%` and `:` mean what they mean in SQL.
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
