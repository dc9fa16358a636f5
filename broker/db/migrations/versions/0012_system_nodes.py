"""Information systems may have nodes of their own in the limit tree: holds find them, and holds move there.

The SQL stands in ``quotas/sql/0012_a_moving.sql``, frozen as its predecessors are.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0012_system_nodes"
down_revision = "0014b_collectors"
branch_labels = None
depends_on = None


def upgrade() -> None:
    statements = files("quotas").joinpath("sql", "0012_a_moving.sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)


def downgrade() -> None:
    op.execute("DROP FUNCTION quotas.move_holds, quotas.lowest")
