"""Who has counted waits less for a prefix; a reservation that was refused lets go of its claim.

The SQL stands in ``quotas/sql/0031_*.sql`` and is frozen, as that of ``0001_quotas`` is.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0031_letting_go"
down_revision = "0070_refused_vnis"
branch_labels = None
depends_on = None

FILES = ("0031_a_letting_go.sql",)


def upgrade() -> None:
    for name in FILES:
        # No placeholders: `%` and `:` mean what they mean in SQL.
        statements = files("quotas").joinpath("sql", name).read_text(encoding="utf-8")
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
