"""Recounts a closed month from its rows: what differs is named, nothing is mended.

Called by: ``guiyun bill verify``. Must not: write (its working table is gone with the transaction).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import bill, closing_sql, drawing, repository
from broker.errors import Conflict
from broker.pricing.months import Month

MOST = 100

_CHECKS = text("""
WITH close AS (SELECT * FROM broker.month_close WHERE month = :month AND reopened_at IS NULL),
line AS (
  SELECT c.statement_id, count(*) AS lines, sum(c.amount_fen) AS total_fen FROM broker.charge c
  JOIN broker.statement s ON s.id = c.statement_id JOIN close m ON m.id = s.close_id GROUP BY c.statement_id
), posting AS (
  SELECT p.id, p.statement_id, p.settlement_id, sum(e.amount_fen) AS balance,
         sum(e.amount_fen) FILTER (WHERE e.account IN ('payer', 'cost')) AS debit
  FROM broker.ledger_posting p JOIN close m ON m.id = p.close_id
  LEFT JOIN broker.ledger_entry e ON e.posting_id = p.id WHERE p.reverses_id IS NULL GROUP BY p.id
)
SELECT 'statement.total' AS code, CAST(s.id AS text) AS subject
FROM broker.statement s JOIN close m ON m.id = s.close_id LEFT JOIN line l ON l.statement_id = s.id
WHERE s.total_fen <> coalesce(l.total_fen, 0)
UNION ALL
SELECT 'close.total', CAST(m.id AS text) FROM close m
WHERE m.total_fen <> (SELECT coalesce(sum(total_fen), 0) FROM line)
   OR m.lines <> (SELECT coalesce(sum(lines), 0) FROM line)
UNION ALL
SELECT 'settlement.total', CAST(s.id AS text) FROM broker.settlement s JOIN close m ON m.id = s.close_id
WHERE s.total_fen <> (SELECT coalesce(sum(amount_fen), 0) FROM broker.settlement_line l WHERE l.settlement_id = s.id)
UNION ALL
SELECT 'posting.balance', CAST(id AS text) FROM posting WHERE balance IS DISTINCT FROM 0
UNION ALL
SELECT 'posting.amount', CAST(s.id AS text)
FROM (SELECT id, total_fen FROM broker.statement WHERE close_id IN (SELECT id FROM close)
      UNION ALL SELECT id, total_fen FROM broker.settlement WHERE close_id IN (SELECT id FROM close)) AS s
LEFT JOIN posting p ON s.id IN (p.statement_id, p.settlement_id)
WHERE s.total_fen <> coalesce(p.debit, 0)
LIMIT :most
""")

# What stands of a line together: the month's own, what was put right since, what was decided of it.
_BELOW_ZERO = text("""
WITH standing AS (
  SELECT c.* , s.payer_unit_id FROM broker.charge c JOIN broker.statement s ON s.id = c.statement_id
  JOIN broker.month_close m ON m.id = s.close_id AND m.reopened_at IS NULL
  WHERE s.month >= :month AND c.usage_month = :month
), less AS (
  SELECT DISTINCT payer_unit_id, resource_id, meter, tariff_price_id FROM standing WHERE amount_fen < 0
)
SELECT 'line.below_zero', resource_id || ' ' || meter
FROM standing JOIN less USING (payer_unit_id, resource_id, meter, tariff_price_id)
GROUP BY payer_unit_id, resource_id, meter, tariff_price_id HAVING sum(amount_fen) < 0
ORDER BY 2 LIMIT :most
""")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not add up. ``usage.changed``: the month would be rated otherwise today."""

    code: str
    subject: str


def verify(session: Session, month: Month) -> tuple[Difference, ...]:
    """What does not add up in a closed month: totals, entries, and its lines rated again (the first hundred).

    Usage that came after the close differs until the next close charges it (``usage.changed``).
    Raises Conflict ``month.not_closed``, ``month.before_books``.
    """
    drawing.be_patient(session)
    books = drawing.books_of(session, month)
    drawing.check_begun(books, month)
    if not books.closed:
        raise Conflict("month.not_closed", month=str(month))
    asked = {"month": month.first_day, "most": MOST}
    found = [Difference(*row) for check in (_CHECKS, _BELOW_ZERO) for row in session.execute(check, asked)]
    bill.fill(session, "late", (month,), month.end)
    with repository.joined_by_hash(session):
        rows = session.execute(text(closing_sql.DIFFERENCES + "LIMIT 100"), {"late_months": [month.first_day]})
        found += [Difference("usage.changed", f"{row.resource_id} {row.meter}") for row in rows]
    return tuple(found)
