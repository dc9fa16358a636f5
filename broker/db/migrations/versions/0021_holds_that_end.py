"""A hold that is over is gone on every path; lines are looked at first; the recount misses nothing.

The SQL stands in ``quotas/sql/0021_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0021_holds_that_end"
down_revision = "0020_releases_and_limits"
branch_labels = None
depends_on = None

FILES = ("0021_a_counting.sql", "0021_b_holds.sql", "0021_c_together.sql", "0021_d_verifying.sql")


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
