"""A sum of bigint that is a bigint: PostgreSQL's own gives NUMERIC, which of millions of groups is slow and large."""

from __future__ import annotations

from alembic import op

revision = "0110_sums_in_64_bits"
down_revision = "0097_decided_in"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # int8pl raises when a sum leaves 64 bits, as the cast of a NUMERIC sum did.
    op.execute("""
CREATE AGGREGATE broker.sum_64 (bigint) (SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, PARALLEL = SAFE)
""")
