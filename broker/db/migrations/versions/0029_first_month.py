"""An item that was taken back (quantity zero) does not say with which month the books begin."""

from __future__ import annotations

from alembic import op

revision = "0029_first_month"
down_revision = "0024c_adjustment_proposals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
CREATE OR REPLACE FUNCTION broker.month_to_close() RETURNS date LANGUAGE sql STABLE
SET search_path = broker, pg_temp AS $$
SELECT coalesce(
    (SELECT CAST(max(month) + interval '1 month' AS date) FROM month_close WHERE reopened_at IS NULL),
    (SELECT min(month) FROM month_close),
    (SELECT month FROM books_beginning),
    CAST(date_trunc('month', least(
        (SELECT min(lower(during)) FROM resource_period
         WHERE vcpu > 0 OR memory_gib > 0 OR block_gib > 0 OR segments > 0),
        (SELECT min(lower(during)) FROM usage_record WHERE quantity > 0),
        (SELECT min(at) FROM one_off_item WHERE quantity > 0)
    ) AT TIME ZONE 'Asia/Shanghai') AS date))
$$;
""")
