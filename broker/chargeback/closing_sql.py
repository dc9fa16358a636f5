"""The SQL that closes a month: from the rated bill (``rating_sql``) to statements, lines, settlements and entries.

Called by: ``chargeback.closing``, ``chargeback.repository``. Must not: compute an amount that ``rating_sql`` computes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from broker.chargeback.bill_sql import ODD, whole
from broker.pricing.months import Month

# The first twelve digits of an id are the time in milliseconds, the thirteenth is the version, the rest is random.
_UUID7 = (
    "CAST(lpad(to_hex(CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)), 12, '0') || '7'"
    " || substr(replace(CAST(gen_random_uuid() AS text), '-', ''), 14) AS uuid)"
)

LOCK = "SELECT pg_advisory_xact_lock(hashtext('broker.month_close'))"
"""One close at a time; whoever writes usage meanwhile does not wait but leaves a hint (``note_correction``)."""

LOCK_STATEMENTS = "SELECT pg_advisory_xact_lock(hashtext('broker.statement'), :month_number)"

BOOKS = """
WITH next AS MATERIALIZED (SELECT broker.month_to_close() AS month)
SELECT (SELECT month FROM next) AS expected, coalesce(min(month), (SELECT month FROM next)) AS begin,
       max(month) FILTER (WHERE reopened_at IS NULL) AS last_closed,
       coalesce(max(version) FILTER (WHERE month = :month), 0) AS version,
       count(*) FILTER (WHERE month = :month AND reopened_at IS NULL) > 0 AS closed
FROM broker.month_close
"""

WAITING_CORRECTIONS = """
SELECT c.id, lower(c.during) AS start_at, upper(c.during) AS end_at FROM broker.usage_correction c
WHERE NOT EXISTS (SELECT FROM broker.month_close_correction t JOIN broker.month_close m ON m.id = t.close_id
                  WHERE t.correction_id = c.id AND m.reopened_at IS NULL)
ORDER BY c.id
"""


def touches(hint: Row[Any], month: Month) -> bool:
    """Whether a waiting correction is about a month: then the next close rates it again."""
    return (hint.start_at is None or hint.start_at < month.end) and (hint.end_at is None or hint.end_at >= month.start)


CLOSED_MONTHS = "SELECT month, covers_until FROM broker.month_close WHERE reopened_at IS NULL ORDER BY month"


def _charged(only: str = "") -> str:
    """What closed statements say of a month together: its own lines and what was put right since; or some of it."""
    return f"""
  SELECT c.usage_month, s.payer_unit_id, c.resource_id, c.meter, c.tariff_price_id,
         min(c.unit_id::text)::uuid AS unit_id, min(c.sub_cloud_id::text)::uuid AS sub_cloud_id,
         min(c.payer_rule) AS payer_rule, min(c.article) AS article,
         sum(c.quantity_seconds) AS quantity_seconds, sum(c.free_seconds) AS free_seconds,
         sum(c.amount_fen) AS amount_fen
  FROM broker.charge c
  JOIN broker.statement s ON s.id = c.statement_id
  JOIN broker.month_close m ON m.id = s.close_id AND m.reopened_at IS NULL
  WHERE c.usage_month = ANY (CAST(:late_months AS date[])) AND c.adjustment_id IS NULL {only}
  GROUP BY c.usage_month, s.payer_unit_id, c.resource_id, c.meter, c.tariff_price_id
"""


def _differences(charged: str) -> str:
    return f"""
SELECT usage_month, payer_unit_id, coalesce(n.unit_id, w.unit_id) AS unit_id, resource_id,
       coalesce(n.sub_cloud_id, w.sub_cloud_id) AS sub_cloud_id, meter, tariff_price_id,
       coalesce(n.payer_rule, w.payer_rule) AS payer_rule, coalesce(n.article, w.article) AS article,
       coalesce(n.quantity_seconds, 0) - coalesce(w.quantity_seconds, 0) AS quantity_seconds,
       coalesce(n.free_seconds, 0) - coalesce(w.free_seconds, 0) AS free_seconds,
       coalesce(n.amount_fen, 0) - coalesce(w.amount_fen, 0) AS amount_fen
FROM (SELECT * FROM pg_temp.late_line WHERE kind = 'line') AS n
FULL JOIN ({charged}) AS w USING (usage_month, payer_unit_id, resource_id, meter, tariff_price_id)
WHERE coalesce(n.quantity_seconds, 0) <> coalesce(w.quantity_seconds, 0)
   OR coalesce(n.free_seconds, 0) <> coalesce(w.free_seconds, 0)
   OR coalesce(n.amount_fen, 0) <> coalesce(w.amount_fen, 0)
"""


DIFFERENCES = _differences(_charged())
"""``late`` holds closed months rated again: where they differ from what was charged."""

DIFFERENCES_OF_CLOSE = _differences(_charged("AND m.id = CAST(:close_id AS uuid)"))
"""The same against the lines of one close alone."""

ADD_LATE = f"""
INSERT INTO pg_temp.bill (usage_month, payer_unit_id, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id,
                          payer_rule, article, quantity_seconds, free_seconds, amount_fen, kind)
SELECT *, 'line' FROM ({DIFFERENCES}) AS d
"""

OWED_DIFFERENCES = """
SELECT usage_month, operator, sub_cloud_id, meter, tariff_price_id,
       coalesce(n.quantity_seconds, 0) - coalesce(w.quantity_seconds, 0) AS quantity_seconds,
       coalesce(n.amount_fen, 0) - coalesce(w.amount_fen, 0) AS amount_fen
FROM (SELECT * FROM pg_temp.late WHERE kind = 'owed') AS n
FULL JOIN (
  SELECT l.usage_month, s.operator, l.sub_cloud_id, l.meter, l.tariff_price_id,
         sum(l.quantity_seconds) AS quantity_seconds, sum(l.amount_fen) AS amount_fen
  FROM broker.settlement_line l
  JOIN broker.settlement s ON s.id = l.settlement_id
  JOIN broker.month_close m ON m.id = s.close_id AND m.reopened_at IS NULL
  WHERE l.usage_month = ANY (CAST(:late_months AS date[]))
  GROUP BY l.usage_month, s.operator, l.sub_cloud_id, l.meter, l.tariff_price_id
) AS w USING (usage_month, operator, sub_cloud_id, meter, tariff_price_id)
WHERE coalesce(n.quantity_seconds, 0) <> coalesce(w.quantity_seconds, 0)
   OR coalesce(n.amount_fen, 0) <> coalesce(w.amount_fen, 0)
"""
"""The operators' side: ``late`` against what was settled."""

ADD_LATE_OWED = f"""
INSERT INTO pg_temp.bill (usage_month, operator, sub_cloud_id, meter, tariff_price_id, quantity_seconds, amount_fen,
                          kind)
SELECT *, 'owed' FROM ({OWED_DIFFERENCES}) AS d
"""

ADD_LATE_GAPS = """
INSERT INTO pg_temp.bill SELECT * FROM pg_temp.late WHERE kind IN ('price', 'payer', 'once', 'settlement')
"""

_DECIDED_SINCE = """
      SELECT FROM broker.adjustment d JOIN broker.charge e ON e.id = d.charge_id
      JOIN broker.statement f ON f.id = e.statement_id
      WHERE (d.decided_at, d.id) >= (a.decided_at, a.id) AND f.payer_unit_id = s.payer_unit_id
        AND (e.usage_month, e.resource_id, e.meter, e.tariff_price_id)
          = (c.usage_month, c.resource_id, c.meter, c.tariff_price_id)"""

ADD_DECIDED = f"""
INSERT INTO pg_temp.bill (usage_month, payer_unit_id, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id,
                          payer_rule, article, quantity_seconds, free_seconds, amount_fen, kind, adjustment_id)
SELECT c.usage_month, s.payer_unit_id, c.unit_id, c.resource_id, c.sub_cloud_id, c.meter, c.tariff_price_id,
       c.payer_rule, c.article, 0, 0, a.amount_fen, 'line', a.id
FROM broker.adjustment a
JOIN broker.charge c ON c.id = a.charge_id
JOIN broker.statement s ON s.id = c.statement_id
JOIN broker.month_close o ON o.id = s.close_id
WHERE (o.reopened_at IS NULL OR (s.month = CAST(:month AS date) AND EXISTS ({_DECIDED_SINCE} AND d.line_fen = (
    SELECT coalesce(sum(amount_fen), 0) FROM (
      SELECT n.amount_fen FROM pg_temp.bill_line n
      WHERE n.kind = 'line' AND n.adjustment_id IS NULL
        AND (n.usage_month, n.payer_unit_id, n.resource_id, n.meter, n.tariff_price_id)
          = (c.usage_month, s.payer_unit_id, c.resource_id, c.meter, c.tariff_price_id)
      UNION ALL
      SELECT b.amount_fen FROM broker.charge b JOIN broker.statement t ON t.id = b.statement_id
      JOIN broker.month_close m ON m.id = t.close_id AND m.reopened_at IS NULL
      WHERE b.adjustment_id IS NULL AND t.payer_unit_id = s.payer_unit_id
        AND (b.resource_id, b.meter, b.tariff_price_id, b.usage_month)
          = (c.resource_id, c.meter, c.tariff_price_id, c.usage_month)
    ) AS same))))
  AND NOT EXISTS (SELECT FROM broker.charge b JOIN broker.statement t ON t.id = b.statement_id
                  JOIN broker.month_close m ON m.id = t.close_id AND m.reopened_at IS NULL
                  WHERE b.adjustment_id = a.id)
"""
"""What was decided of a standing line. Of a month that is closed anew, only if usage comes to what it was decided of
(``line_fen``; by its line alone or with what is put right later), it or a later decision of the same line, which was
taken with the earlier ones in view: where usage was put right meanwhile, a decision has nothing left to put right."""

FIRST_CLOSED = "SELECT min(month) FROM broker.month_close"
"""The first month that was ever closed, whether it was opened again or not."""

ADD_ALL_BEFORE = """
INSERT INTO pg_temp.bill (resource_id, meter, quantity_seconds, kind)
SELECT DISTINCT s.resource_id, s.meter, CAST(NULL AS numeric), 'before'
FROM broker.usage_span s
WHERE s.start_at < :begin_at AND NOT EXISTS (SELECT FROM broker.books_beginning)
"""

ADD_BEFORE = f"""{ADD_ALL_BEFORE}
  AND s.resource_id IN (SELECT resource_id FROM broker.usage_correction WHERE id = ANY (CAST(:hints AS bigint[])))
"""
"""Usage from before the first month that was ever closed, which came after that close: no month will charge it."""

ONLY_CHARGES = f"DELETE FROM pg_temp.bill WHERE kind IN ('owed', 'settlement') AND {ODD}"
"""An interim statement owes nothing to an operator."""

ADD_BELOW_ZERO = """
INSERT INTO pg_temp.bill (usage_month, payer_unit_id, resource_id, meter, tariff_price_id, quantity_seconds, amount_fen,
                          kind)
WITH less AS MATERIALIZED (
  SELECT DISTINCT usage_month, payer_unit_id, resource_id, meter, tariff_price_id
  FROM pg_temp.bill_line WHERE kind = 'line' AND amount_fen < 0
), part AS (
  SELECT l.*, b.amount_fen
  FROM less l JOIN pg_temp.bill_line b USING (usage_month, payer_unit_id, resource_id, meter, tariff_price_id)
  WHERE b.kind = 'line'
  UNION ALL
  SELECT l.*, c.amount_fen
  FROM less l
  JOIN broker.statement s ON s.payer_unit_id = l.payer_unit_id AND s.month >= l.usage_month
  JOIN broker.month_close m ON m.id = s.close_id AND m.reopened_at IS NULL
  JOIN broker.charge c ON c.statement_id = s.id
   AND (c.resource_id, c.meter, c.tariff_price_id, c.usage_month)
     = (l.resource_id, l.meter, l.tariff_price_id, l.usage_month)
)
SELECT usage_month, payer_unit_id, resource_id, meter, tariff_price_id, 0, sum(amount_fen), 'below'
FROM part GROUP BY usage_month, payer_unit_id, resource_id, meter, tariff_price_id HAVING sum(amount_fen) < 0
"""
"""Lines that would come to less than nothing, all that stands of them and all that is drawn together: a decision and a
later correction of usage have put the same mistake right twice. Nobody is owed for having used something."""

SUM_UP_AT = """
CREATE TEMP TABLE due_at ON COMMIT DROP AS
WITH own AS (
  SELECT b.line_n, b.usage_month, r.system_id, sum(b.amount_fen) AS total_fen, count(*) AS lines
  FROM pg_temp.bill b JOIN broker.resource r ON r.id = b.resource_id
  WHERE b.line_n IS NOT NULL GROUP BY b.line_n, b.usage_month, r.system_id
), part AS (
  SELECT h.payer_unit_id, o.usage_month, h.unit_id, h.sub_cloud_id, o.system_id, h.meter, h.payer_rule, h.article,
         o.total_fen, o.lines, CASE WHEN o.usage_month <> CAST(:month AS date) THEN o.lines ELSE 0 END AS adjustments
  FROM own o JOIN pg_temp.bill_head h ON h.line_n = o.line_n
  UNION ALL
  SELECT b.payer_unit_id, b.usage_month, b.unit_id, b.sub_cloud_id, r.system_id, b.meter, b.payer_rule, b.article,
         b.amount_fen, 1,
         CASE WHEN b.usage_month <> CAST(:month AS date) OR b.adjustment_id IS NOT NULL THEN 1 ELSE 0 END
  FROM pg_temp.bill b JOIN broker.resource r ON r.id = b.resource_id
  WHERE b.kind = 'line' AND b.line_n IS NULL
)
SELECT payer_unit_id, usage_month, unit_id, sub_cloud_id, system_id, meter, payer_rule, article,
       sum(total_fen) AS total_fen, CAST(sum(lines) AS bigint) AS lines, CAST(sum(adjustments) AS bigint) AS adjustments
FROM part GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""
"""What each payer owes by all that pages sum by, kept: the lines are read for their sums once, millions of them by the
number of what they have in common, and those few that no ``head`` explains by all of it."""

SUM_UP = """
CREATE TEMP TABLE due ON COMMIT DROP AS
SELECT payer_unit_id, sum(total_fen) AS total_fen, CAST(sum(lines) AS bigint) AS lines,
       CAST(sum(adjustments) AS bigint) AS adjustments
FROM pg_temp.due_at GROUP BY payer_unit_id
"""

DUE = "SELECT payer_unit_id, total_fen, lines, adjustments FROM pg_temp.due"
"""What each payer owes, without the lines."""

UNSETTLED = f"""
WITH month AS (
  SELECT tstzrange(CAST(day AS timestamp) AT TIME ZONE 'Asia/Shanghai',
                   (CAST(day AS timestamp) + interval '1 month') AT TIME ZONE 'Asia/Shanghai') AS during
  FROM (SELECT CAST(:month AS date) AS day) AS m
)
SELECT DISTINCT o.operator
FROM (SELECT DISTINCT sub_cloud_id FROM pg_temp.due_at WHERE lines > adjustments) AS d
CROSS JOIN month m
JOIN broker.sub_cloud_operator o ON o.sub_cloud_id = d.sub_cloud_id AND o.during && m.during
WHERE NOT EXISTS (
    SELECT FROM pg_temp.bill b
    WHERE b.kind IN ('owed', 'settlement') AND {ODD} AND b.usage_month = CAST(:month AS date)
      AND b.operator = o.operator)
  AND (o.during @> m.during OR EXISTS (
    SELECT FROM pg_temp.bill_used u JOIN pg_temp.bill_place w ON w.place_n = u.place_n
    WHERE w.sub_cloud_id = o.sub_cloud_id
      AND tstzrange(to_timestamp(u.start_s), to_timestamp(u.end_s)) && o.during))
ORDER BY o.operator
"""
"""Operators that supplied something in the month and have no settlement price at all: owed nothing, and named. Usage is
looked at only for clouds that went from one to another in it."""

SETTLED = f"SELECT coalesce(sum(amount_fen), 0) FROM pg_temp.bill WHERE kind = 'owed' AND {ODD}"

CLOSE = f"""
INSERT INTO broker.month_close (id, month, version, covers_until, snapshot, lines, adjustments, total_fen, settled_fen,
                                closed_by, closed_at)
SELECT :close_id, :month, :version, :until_at, :snapshot, coalesce(sum(lines), 0), coalesce(sum(adjustments), 0),
       coalesce(sum(total_fen), 0),
       ({SETTLED}), :closed_by, :now
FROM pg_temp.due
"""

TAKE_CORRECTIONS = """
INSERT INTO broker.month_close_correction (close_id, correction_id)
SELECT :close_id, unnest(CAST(:correction_ids AS bigint[]))
"""

STATEMENTS = """
WITH owed AS (
  SELECT payer_unit_id, total_fen, lines FROM pg_temp.due
  UNION ALL
  SELECT DISTINCT payer_unit_id, 0, 0 FROM broker.statement s
  WHERE month = :month AND NOT EXISTS (SELECT FROM pg_temp.due d WHERE d.payer_unit_id = s.payer_unit_id)
), made AS (
  INSERT INTO broker.statement (id, payer_unit_id, month, version, close_id, total_fen, covers_until, created_at)
  SELECT new_uuid7(), payer_unit_id, :month,
         (SELECT coalesce(max(version), 0) + 1 FROM broker.statement WHERE month = :month),
         :close_id, total_fen, :until_at, :now
  FROM owed
  RETURNING id, payer_unit_id, version, total_fen
)
SELECT m.id, m.payer_unit_id, m.version, m.total_fen, o.lines FROM made m JOIN owed o USING (payer_unit_id)
""".replace("new_uuid7()", _UUID7)
"""One for each payer; zero for one that an older version of the month has and this one has not."""

CHARGES = f"""
INSERT INTO broker.charge (statement_id, usage_month, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id,
                           payer_rule, article, quantity_seconds, free_seconds, amount_fen, adjustment_id)
SELECT b.statement_id, b.usage_month, {whole("unit_id")}, b.resource_id, {whole("sub_cloud_id")}, {whole("meter")},
       {whole("tariff_price_id")}, {whole("payer_rule")}, {whole("article")}, b.quantity_seconds, b.free_seconds,
       b.amount_fen, b.adjustment_id
FROM (
  SELECT s.id AS statement_id, o.*
  FROM pg_temp.bill o
  LEFT JOIN pg_temp.bill_head p ON p.line_n = o.line_n
  LEFT JOIN (
    SELECT id, payer_unit_id, row_number() OVER (ORDER BY id) AS statement_n
    FROM broker.statement WHERE month = :month AND version = :statement_version
  ) AS s ON s.payer_unit_id = coalesce(o.payer_unit_id, p.payer_unit_id)
  WHERE o.kind = 'line'
  ORDER BY s.statement_n << 48 | CAST(substring(uuid_send(o.resource_id) FROM 1 FOR 6) AS bigint)
  OFFSET 0
) AS b
LEFT JOIN pg_temp.bill_head h ON h.line_n = b.line_n
"""
"""In the order of ``uq_charge_line``, which so grows at its end: at random, millions of keys take thrice as long. What
lines share is joined to them when they are sorted: of a whole line three times as much would be moved about. They are
sorted by one whole number, the statement's and six bytes of the resource's id (near enough, nothing asks for the exact
order): comparing two ids is four times the work, as PostgreSQL looks at the second id of every pair in its row.
``LEFT`` only tells it that no line is lost, so that of lines and heads it hashes the heads, and the order stays."""

STATEMENT_SUMS = """
INSERT INTO broker.statement_sum (statement_id, usage_month, unit_id, sub_cloud_id, system_id, meter, payer_rule,
                                  article, amount_fen, lines)
SELECT s.id, d.usage_month, d.unit_id, d.sub_cloud_id, d.system_id, d.meter, d.payer_rule, d.article, d.total_fen,
       d.lines
FROM pg_temp.due_at d
JOIN broker.statement s ON s.payer_unit_id = d.payer_unit_id AND s.month = :month AND s.version = :statement_version
"""

SETTLEMENTS = f"""
WITH owed AS (
  SELECT operator, sum(amount_fen) AS total_fen FROM pg_temp.bill WHERE kind = 'owed' AND {ODD} GROUP BY operator
  UNION ALL
  SELECT operator, 0 FROM unnest(CAST(:unsettled AS text[])) AS u(operator)
  WHERE operator NOT IN (SELECT b.operator FROM pg_temp.bill b WHERE b.kind = 'owed' AND {ODD})
), made AS (
  INSERT INTO broker.settlement (id, close_id, operator, total_fen)
  SELECT new_uuid7(), :close_id, operator, total_fen FROM owed RETURNING id, operator
)
INSERT INTO broker.settlement_line (settlement_id, usage_month, sub_cloud_id, meter, tariff_price_id,
                                    quantity_seconds, amount_fen)
SELECT m.id, b.usage_month, b.sub_cloud_id, b.meter, b.tariff_price_id, b.quantity_seconds, b.amount_fen
FROM pg_temp.bill b
JOIN made m ON m.operator = b.operator
WHERE b.kind = 'owed' AND {ODD}
""".replace("new_uuid7()", _UUID7)

POST = """
WITH due AS (
  SELECT new_uuid7() AS id, s.id AS statement_id, CAST(NULL AS uuid) AS settlement_id, s.payer_unit_id AS unit_id,
         CAST(NULL AS text) AS operator, s.total_fen
  FROM broker.statement s WHERE s.close_id = :close_id AND s.total_fen <> 0
  UNION ALL
  SELECT new_uuid7(), NULL, s.id, NULL, s.operator, s.total_fen
  FROM broker.settlement s WHERE s.close_id = :close_id AND s.total_fen <> 0
), posted AS (
  INSERT INTO broker.ledger_posting (id, close_id, statement_id, settlement_id, posted_at)
  SELECT id, :close_id, statement_id, settlement_id, :now FROM due
)
INSERT INTO broker.ledger_entry (posting_id, account, unit_id, operator, amount_fen)
SELECT id, 'payer', unit_id, NULL, total_fen FROM due WHERE statement_id IS NOT NULL
UNION ALL
SELECT id, 'income', NULL, NULL, -total_fen FROM due WHERE statement_id IS NOT NULL
UNION ALL
SELECT id, 'cost', NULL, NULL, total_fen FROM due WHERE settlement_id IS NOT NULL
UNION ALL
SELECT id, 'operator', NULL, operator, -total_fen FROM due WHERE settlement_id IS NOT NULL
""".replace("new_uuid7()", _UUID7)

REVERSE = """
WITH undone AS (
  SELECT new_uuid7() AS id, p.id AS reverses_id, p.close_id, p.statement_id, p.settlement_id
  FROM broker.ledger_posting p WHERE p.close_id = :close_id AND p.reverses_id IS NULL
), posted AS (
  INSERT INTO broker.ledger_posting (id, close_id, statement_id, settlement_id, reverses_id, posted_at)
  SELECT id, close_id, statement_id, settlement_id, reverses_id, :now FROM undone
)
INSERT INTO broker.ledger_entry (posting_id, account, unit_id, operator, amount_fen)
SELECT u.id, e.account, e.unit_id, e.operator, -e.amount_fen
FROM undone u JOIN broker.ledger_entry e ON e.posting_id = u.reverses_id
""".replace("new_uuid7()", _UUID7)
"""A reopened close's postings, each once the other way round; its statements stay."""
