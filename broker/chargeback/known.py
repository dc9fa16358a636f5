"""What was known when a month was closed: its usage as the close read it, whatever came or changed since.

Called by: ``chargeback.export``. Must not: write a row that stays (its tables are gone with the transaction).

Usage is not copied at a close. Every later change of closed time leaves a hint (``usage_correction``) with the row as
it was before, and a close keeps the snapshot it read in; so the state then is the state now with every row that was
changed outside that snapshot as it stood before its first change. It costs what changed, not what there is.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import bill, closing_sql, repository
from broker.errors import Conflict
from broker.pricing.months import Month

_SECOND = "date_trunc('second', lower({0}.during)), date_trunc('second', upper({0}.during))"
_BEFORE = "FROM pg_temp.undone u CROSS JOIN LATERAL jsonb_populate_record(CAST(NULL AS broker.{0}), u.before) AS x"
_THEN = "WHERE u.source = '{0}' AND u.before IS NOT NULL"

_PREPARE = f"""
DROP TABLE IF EXISTS pg_temp.undone CASCADE;
CREATE TEMP TABLE undone (source text, row_id uuid, before jsonb, PRIMARY KEY (source, row_id)) ON COMMIT DROP;
CREATE TEMP VIEW known_span AS
SELECT resource_id, meter, quantity, state, start_at, end_at, source FROM broker.usage_span s
WHERE NOT EXISTS (SELECT FROM pg_temp.undone u WHERE u.source = s.source AND u.row_id = s.row_id)
UNION ALL
SELECT x.resource_id, m.meter, m.quantity, x.state, {_SECOND.format("x")}, u.source
{_BEFORE.format("resource_period")} CROSS JOIN LATERAL broker.meters_of(x) AS m {_THEN.format("resource_period")}
UNION ALL
SELECT x.resource_id, x.meter, x.quantity, x.state, {_SECOND.format("x")}, u.source
{_BEFORE.format("usage_record")} {_THEN.format("usage_record")} AND x.quantity > 0
UNION ALL
SELECT x.resource_id, x.meter, x.quantity, 'active', x.at, x.at + interval '1 second', u.source
{_BEFORE.format("one_off_item")} {_THEN.format("one_off_item")} AND x.quantity > 0;
CREATE TEMP VIEW known_term AS
SELECT resource_id, term_months, during FROM broker.resource_term t
WHERE NOT EXISTS (SELECT FROM pg_temp.undone u WHERE u.source = 'resource_term' AND u.row_id = t.id)
UNION ALL
SELECT x.resource_id, x.term_months, x.during {_BEFORE.format("resource_term")} {_THEN.format("resource_term")}
"""

_UNDO = text("""
INSERT INTO pg_temp.undone (source, row_id, before)
SELECT DISTINCT ON (c.source, c.row_id) c.source, c.row_id, c.before
FROM broker.usage_correction c
JOIN broker.month_close m ON m.id = :close_id
WHERE NOT pg_visible_in_snapshot(CAST(c.noted_in AS xid8), CAST(m.snapshot AS pg_snapshot))
ORDER BY c.source, c.row_id, c.id
""")

_CLOSE = text("SELECT id FROM broker.month_close WHERE month = :month AND reopened_at IS NULL")


def closed_as(session: Session, month: Month) -> UUID | None:
    """The close that holds for a month; None while it is open."""
    found: UUID | None = session.execute(_CLOSE, {"month": month.first_day}).scalar_one_or_none()
    return found


def recall(session: Session, close_id: UUID) -> None:
    """Prepare usage and terms as that close read them, for the statements made by ``as_known``."""
    session.execute(text(_PREPARE))
    session.execute(_UNDO, {"close_id": close_id})


def as_known(statement: str) -> str:
    """A rating statement that reads what ``recall`` has prepared."""
    return statement.replace("broker.usage_span", "pg_temp.known_span").replace(
        "broker.resource_term", "pg_temp.known_term"
    )


def check(session: Session, month: Month, close_id: UUID) -> None:
    """That what was recalled rates to the very lines of the close.

    Raises Conflict ``month.facts_changed``: a price, a payer, or where a resource belongs was changed for closed time,
    of which no hint is left; the closed statements stand, but can no longer be recomputed.
    """
    bill.fill(session, "late", (month,), month.end, read=as_known)
    with repository.joined_by_hash(session):
        values = {"late_months": [month.first_day], "close_id": close_id}
        differs = session.execute(text(closing_sql.DIFFERENCES_OF_CLOSE + "LIMIT 1"), values).first()
    if differs is not None:
        raise Conflict("month.facts_changed", month=str(month), resource=str(differs.resource_id))
