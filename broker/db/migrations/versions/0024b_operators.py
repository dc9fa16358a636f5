"""A cloud operator's people are tied to it, so that they see what is owed to it and nothing else (Art. 15)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024b_operators"
down_revision = "0028b_router_looks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("role_grant", sa.Column("operator", sa.String(), nullable=True), schema="broker")
    op.create_check_constraint(
        op.f("ck_role_grant_operator"), "role_grant", "operator IS NULL OR role = 'cloud_operator'", schema="broker"
    )
