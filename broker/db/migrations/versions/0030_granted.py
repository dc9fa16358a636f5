"""What was granted is kept for the recount; a moved hold is known by where it was asked; post and release tell what they did.

The SQL stands in ``quotas/sql/0030_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0030_granted"
down_revision = "0040_resource_owners"
branch_labels = None
depends_on = None

FILES = ("0030_a_granted.sql", "0030_b_settling.sql", "0030_c_verifying.sql")


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
