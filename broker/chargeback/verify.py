"""Recounts a closed month from its rows: what differs is named, nothing is mended.

Called by: ``guiyun bill verify``. Must not: write (its working table is gone with the transaction).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import bill, closing_sql, drawing, repository
from broker.errors import Conflict
from broker.pricing.months import Month

MOST = 100

_CHECKS = text("""
WITH close AS (SELECT * FROM broker.month_close WHERE month = :month AND reopened_at IS NULL),
line AS (
  SELECT c.statement_id, count(*) AS lines, sum(c.amount_fen) AS total_fen,
         count(*) FILTER (WHERE c.usage_month <> :month OR c.adjustment_id IS NOT NULL) AS adjustments
  FROM broker.charge c
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
SELECT 'statement.sums', CAST(statement_id AS text) FROM (
  SELECT statement_id, usage_month, unit_id, sub_cloud_id, meter, payer_rule, article, amount_fen, 1 AS lines
  FROM broker.charge WHERE statement_id IN (SELECT s.id FROM broker.statement s JOIN close m ON m.id = s.close_id)
  UNION ALL
  SELECT statement_id, usage_month, unit_id, sub_cloud_id, meter, payer_rule, article, -amount_fen, -lines
  FROM broker.statement_sum
  WHERE statement_id IN (SELECT s.id FROM broker.statement s JOIN close m ON m.id = s.close_id)
) AS both_sides
GROUP BY statement_id, usage_month, unit_id, sub_cloud_id, meter, payer_rule, article
HAVING sum(amount_fen) <> 0 OR sum(lines) <> 0
UNION ALL
SELECT 'close.total', CAST(m.id AS text) FROM close m
WHERE m.total_fen <> (SELECT coalesce(sum(total_fen), 0) FROM line)
   OR m.lines <> (SELECT coalesce(sum(lines), 0) FROM line)
UNION ALL
SELECT 'close.figures', CAST(m.id AS text) FROM close m
WHERE m.settled_fen <> (SELECT coalesce(sum(total_fen), 0) FROM broker.settlement s WHERE s.close_id = m.id)
   OR m.adjustments <> (SELECT coalesce(sum(adjustments), 0) FROM line)
   OR m.covers_until <> (CAST(m.month AS timestamp) + interval '1 month') AT TIME ZONE 'Asia/Shanghai'
   OR EXISTS (SELECT FROM broker.statement s
              WHERE s.close_id = m.id AND (s.month, s.covers_until) <> (m.month, m.covers_until))
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

# Both sides of every posting of the month's closes, also those opened again: who owes or is owed what its cause says,
# and a reversal says the opposite of what it reverses. A close that was opened again has every posting reversed.
_SIDES = text("""
WITH posting AS (
  SELECT p.* FROM broker.ledger_posting p JOIN broker.month_close m ON m.id = p.close_id WHERE m.month = :month
), due AS (
  SELECT p.id, p.reverses_id, s.payer_unit_id AS unit_id, CAST(NULL AS text) AS operator, s.total_fen, 'payer' AS one,
         'income' AS other
  FROM posting p JOIN broker.statement s ON s.id = p.statement_id
  UNION ALL
  SELECT p.id, p.reverses_id, NULL, s.operator, s.total_fen, 'cost', 'operator'
  FROM posting p JOIN broker.settlement s ON s.id = p.settlement_id
), expected AS (
  SELECT id, one AS account, unit_id, CAST(NULL AS text) AS operator,
         CASE WHEN reverses_id IS NULL THEN total_fen ELSE -total_fen END AS amount_fen FROM due
  UNION ALL
  SELECT id, other, NULL, operator, CASE WHEN reverses_id IS NULL THEN -total_fen ELSE total_fen END FROM due
), actual AS (
  SELECT e.posting_id AS id, e.account, e.unit_id, e.operator, e.amount_fen
  FROM broker.ledger_entry e JOIN posting p ON p.id = e.posting_id
), differs AS (
  (SELECT * FROM expected EXCEPT ALL SELECT * FROM actual)
  UNION ALL
  (SELECT * FROM actual EXCEPT ALL SELECT * FROM expected)
)
SELECT DISTINCT 'posting.sides', CAST(id AS text) FROM differs
UNION ALL
SELECT 'posting.reversal', CAST(p.id AS text) FROM posting p
JOIN broker.month_close m ON m.id = p.close_id
WHERE p.reverses_id IS NULL
  AND (m.reopened_at IS NOT NULL) <> EXISTS (SELECT FROM broker.ledger_posting r WHERE r.reverses_id = p.id)
LIMIT :most
""")

# A line by decision is what was decided, of the line it was decided of, and stands once. A decision that the close
# could see, about a line of an earlier month that stands, stands somewhere. What it could see says the snapshot it read
# usage in, as it read decisions after that; instants say it only of decisions that have not noted their transaction,
# and of numbers from before the database was restored elsewhere.
_DECIDED = text("""
WITH close AS (SELECT * FROM broker.month_close WHERE month = :month AND reopened_at IS NULL),
decided AS (
  SELECT a.id, a.decided_at, a.decided_in, a.amount_fen, s.month, o.reopened_at, s.payer_unit_id, c.usage_month,
         c.resource_id, c.meter, c.tariff_price_id, c.unit_id, c.sub_cloud_id, c.payer_rule, c.article
  FROM broker.adjustment a
  JOIN broker.charge c ON c.id = a.charge_id
  JOIN broker.statement s ON s.id = c.statement_id
  JOIN broker.month_close o ON o.id = s.close_id
), posted AS (
  SELECT c.*, s.payer_unit_id FROM broker.charge c JOIN broker.statement s ON s.id = c.statement_id
  JOIN close m ON m.id = s.close_id WHERE c.adjustment_id IS NOT NULL
), standing AS NOT MATERIALIZED (
  SELECT c.*, s.payer_unit_id, s.month FROM broker.charge c JOIN broker.statement s ON s.id = c.statement_id
  JOIN broker.month_close m ON m.id = s.close_id AND m.reopened_at IS NULL
)
SELECT 'adjustment.line', CAST(c.adjustment_id AS text)
FROM posted c LEFT JOIN decided d ON d.id = c.adjustment_id
WHERE (d.amount_fen, 0, 0, d.payer_unit_id, d.usage_month, d.resource_id, d.meter, d.tariff_price_id, d.unit_id,
       d.sub_cloud_id, d.payer_rule, d.article)
   IS DISTINCT FROM (c.amount_fen, c.quantity_seconds, c.free_seconds, c.payer_unit_id, c.usage_month, c.resource_id,
                     c.meter, c.tariff_price_id, c.unit_id, c.sub_cloud_id, c.payer_rule, c.article)
UNION ALL
SELECT 'adjustment.twice', CAST(c.adjustment_id AS text)
FROM posted c JOIN standing o USING (payer_unit_id, resource_id, meter, tariff_price_id, usage_month, adjustment_id)
WHERE o.id <> c.id
UNION ALL
SELECT 'adjustment.missing', CAST(d.id AS text)
FROM decided d JOIN close m ON d.month < m.month AND CASE
  WHEN d.decided_in IS NULL THEN d.decided_at < m.closed_at
  ELSE d.decided_at <= m.closed_at
    AND pg_visible_in_snapshot(CAST(d.decided_in AS xid8), CAST(m.snapshot AS pg_snapshot))
END
WHERE d.reopened_at IS NULL AND NOT EXISTS (
  SELECT FROM standing c
  WHERE c.payer_unit_id = d.payer_unit_id AND c.month >= d.month AND c.adjustment_id = d.id
    AND (c.resource_id, c.meter, c.tariff_price_id, c.usage_month)
      = (d.resource_id, d.meter, d.tariff_price_id, d.usage_month))
ORDER BY 1, 2 LIMIT :most
""")

# Of each line the newest that stands says what it is for: unit, cloud, rule and article, as rated again (``late``).
_DESCRIBED = text("""
WITH standing AS (
  SELECT c.*, s.payer_unit_id, s.month FROM broker.charge c JOIN broker.statement s ON s.id = c.statement_id
  JOIN broker.month_close m ON m.id = s.close_id AND m.reopened_at IS NULL
  WHERE c.usage_month = :month AND c.adjustment_id IS NULL
)
SELECT 'line.described', c.resource_id || ' ' || c.meter
FROM standing c
JOIN pg_temp.late_line n USING (usage_month, payer_unit_id, resource_id, meter, tariff_price_id)
WHERE n.kind = 'line'
  AND (n.unit_id, n.sub_cloud_id, n.payer_rule, n.article)
    IS DISTINCT FROM (c.unit_id, c.sub_cloud_id, c.payer_rule, c.article)
  AND NOT EXISTS (
    SELECT FROM standing o
    WHERE (o.payer_unit_id, o.resource_id, o.meter, o.tariff_price_id)
        = (c.payer_unit_id, c.resource_id, c.meter, c.tariff_price_id) AND o.month > c.month)
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


_NAMES = text("""
WITH wanted AS (SELECT CAST(id AS uuid) AS id FROM unnest(CAST(:ids AS text[])) AS u(id)), payer AS (
  SELECT s.id, s.payer_unit_id FROM broker.statement s JOIN wanted USING (id)
)
SELECT CAST(id AS text) AS id, number AS name FROM broker.resource JOIN wanted USING (id)
UNION ALL
SELECT CAST(id AS text), name FROM broker.sub_cloud JOIN wanted USING (id)
UNION ALL
SELECT CAST(id AS text), operator FROM broker.settlement JOIN wanted USING (id)
UNION ALL
SELECT CAST(s.id AS text), n.name FROM payer s CROSS JOIN LATERAL (
  SELECT name FROM broker.unit_period p WHERE p.unit_id = s.payer_unit_id ORDER BY lower(p.during) DESC LIMIT 1
) AS n
""")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not add up.

    ``usage.changed``, ``facts.changed``, ``settlement.changed``, ``line.described``: it would be rated, or named,
    otherwise today. ``about`` is the subject as people know it, where it has a name: resource, cloud, payer, operator.
    """

    code: str
    subject: str
    about: str = field(default="", compare=False)


def verify(session: Session, month: Month) -> tuple[Difference, ...]:
    """What does not add up in a closed month; of each kind the first hundred.

    Its figures, totals and entries, the decisions that it posted, and its lines rated again, with what they say they
    are for. Usage that came after the close differs until the next close charges it (``usage.changed``); what differs
    without that was changed behind the close's back, and no close will put it right (``facts.changed``).
    Raises Conflict ``month.not_closed``, ``month.before_books``.
    """
    drawing.be_patient(session)
    books = drawing.books_of(session, month)
    drawing.check_begun(books, month)
    if not books.closed:
        raise Conflict("month.not_closed", month=str(month))
    asked = {"month": month.first_day, "most": MOST}
    checks = (_CHECKS, _SIDES, _DECIDED, _BELOW_ZERO)
    found = [Difference(*row) for check in checks for row in session.execute(check, asked)]
    bill.fill(session, "late", (month,), month.end)
    with repository.joined_by_hash(session):
        found += [Difference(*row) for row in session.execute(_DESCRIBED, asked)]
        rows = session.execute(text(closing_sql.DIFFERENCES + "LIMIT 100"), {"late_months": [month.first_day]})
        waiting = session.execute(text(closing_sql.WAITING_CORRECTIONS))
        late = any(closing_sql.touches(hint, month) for hint in waiting)
        code = "usage.changed" if late else "facts.changed"
        found += [Difference(code, f"{row.resource_id} {row.meter}") for row in rows]
    rows = session.execute(text(closing_sql.OWED_DIFFERENCES + "LIMIT 100"), {"late_months": [month.first_day]})
    found += [Difference("settlement.changed", f"{row.sub_cloud_id} {row.meter}") for row in rows]
    return _named(session, found)


def _named(session: Session, found: Sequence[Difference]) -> tuple[Difference, ...]:
    """Each with the name of what its subject begins with."""
    ids = {one.subject.partition(" ")[0] for one in found}
    names = {row.id: row.name for row in session.execute(_NAMES, {"ids": sorted(ids)})} if ids else {}
    return tuple(replace(one, about=names.get(one.subject.partition(" ")[0], "")) for one in found)
