"""A release counts back what is its own hold's; a limit is lowered alone.

The SQL stands in ``quotas/sql/0020_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0020_releases_and_limits"
down_revision = "0015c_sendings"
branch_labels = None
depends_on = None

FILES = ("0020_a_release_of_its_hold.sql", "0020_b_lowering.sql")


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
