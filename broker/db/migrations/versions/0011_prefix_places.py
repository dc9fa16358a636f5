"""The IPv6 plan, third edition: an exclusion whose price does not grow, and claims that others can see.

The SQL stands in ``quotas/sql/0011_*.sql``. Those files are frozen: this revision executes them as they are, and a
later change is a new file with its own revision.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0011_prefix_places"
down_revision = "0012_system_nodes"
branch_labels = None
depends_on = None

FILES = (
    "0011_a_places.sql",
    "0011_b_claiming.sql",
    "0011_c_growing.sql",
)


def _run(statements: str) -> None:
    """Several statements at once, and no placeholders: ``%`` and ``:`` mean what they mean in SQL."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)


def upgrade() -> None:
    for name in FILES:
        _run(files("quotas").joinpath("sql", name).read_text(encoding="utf-8"))


def downgrade() -> None:
    raise NotImplementedError("what 0001_quotas made is changed in place; restore a dump instead")
