"""A hold's owner and deadline, that it was pinned and where it went are kept for the recount.

The SQL stands in ``quotas/sql/0102_what_holds_became.sql`` and is frozen, as that of ``0021_granted`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0102_what_holds_became"
down_revision = "0091_what_a_void_gave_back"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No placeholders: `%` and `:` mean what they mean in SQL.
    statements = files("quotas").joinpath("sql", "0102_what_holds_became.sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
