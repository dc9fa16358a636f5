"""The IPv6 plan, second edition: reservations, growth in place, imports, unique local space, an exact last resort.

The SQL stands in ``quotas/sql/0004_*.sql``. Those files are frozen: this revision executes them as they are, and a
later change is a new file with its own revision.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0004_prefix_plan"
down_revision = "0003_quota_engine"
branch_labels = None
depends_on = None

FILES = (
    "0004_a_prefix_states.sql",
    "0004_b_allocating.sql",
    "0004_c_operating.sql",
    "0004_d_verifying.sql",
)


def _run(statements: str) -> None:
    """Several statements at once, and no placeholders: ``%`` and ``:`` mean what they mean in SQL."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)


def upgrade() -> None:
    for name in FILES:
        _run(files("quotas").joinpath("sql", name).read_text(encoding="utf-8"))


def downgrade() -> None:
    raise NotImplementedError("what 0001_quotas made is changed in place; restore a dump instead")
