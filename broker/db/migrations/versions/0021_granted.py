"""What was granted is kept for the recount, and a hold knows where it was asked at first.

The SQL stands in ``quotas/sql/0021_granted.sql`` and is frozen, as that of ``0001_quotas`` is. It also takes away the
functions that come back with another answer: from here on the current text of a function stands in
``quotas/sql/functions`` and is put in place after the last revision (``quotas/functions.py``).
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0021_granted"
down_revision = "0020_releases_and_limits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No placeholders: `%` and `:` mean what they mean in SQL.
    statements = files("quotas").joinpath("sql", "0021_granted.sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
