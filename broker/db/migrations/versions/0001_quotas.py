"""What is scarce: the schema ``quotas`` with its tables and functions, and what the runtime role may do there.

The SQL stands in ``quotas/sql/0001_*.sql``. Those files are frozen: this revision executes them as they are, and a
later change is a new file with its own revision.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0001_quotas"
down_revision = None
branch_labels = None
depends_on = None

FILES = (
    "0001_a_counters.sql",
    "0001_b_counting.sql",
    "0001_c_holds.sql",
    "0001_d_prefixes.sql",
    "0001_e_grants.sql",
)


def _run(statements: str) -> None:
    """Several statements at once, and no placeholders: ``%`` and ``:`` mean what they mean in SQL."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)


def upgrade() -> None:
    _run("CREATE SCHEMA quotas")
    for name in FILES:
        _run(files("quotas").joinpath("sql", name).read_text(encoding="utf-8"))


def downgrade() -> None:
    _run("DROP SCHEMA quotas CASCADE")
