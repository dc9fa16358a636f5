"""The SQL that rates usage: from periods to amounts, exact to the fen, with nothing computed in Python.

Called by: ``chargeback.repository``. Must not: use ``/``, ``round()`` or a binary type: NUMERIC division is inexact and
its ``round()`` takes half away from zero. ``broker.chargeback.rating`` is the same for files; one oracle checks both.

How it reads. ``used``: usage cut to each month, in whole seconds since 1970. ``payer_at`` and ``price_at``: for a
(unit, sub-cloud) and for a (side, sub-cloud, class of unit, term, meter), disjoint pieces of time with the one row that
holds: a nearer row takes its time away from those farther off. ``line``: usage cut by both, summed to a payer's
resource, meter and price version. ``freed``: what a tariff's free quantity takes off, in order of start, then resource.
``rated``: the amount. ``gap``: usage that found no price or no payer: never free in silence. ``owed``: the other side,
what an operator is owed for everybody's usage together.
"""

from __future__ import annotations

_NONE = "CAST('{}' AS int8multirange)"


def _seconds(alias: str) -> str:
    """A row's ``during`` as int8range; empty where it begins and ends within one second."""
    # A period of a unit may be dated finer than a second; it counts from and to the second it begins and ends in.
    start = f"coalesce(CAST(floor(extract(epoch FROM lower({alias}.during))) AS bigint), 0)"
    end = f"coalesce(CAST(floor(extract(epoch FROM upper({alias}.during))) AS bigint), 253402300800)"
    return f"CASE WHEN isempty({alias}.during) THEN 'empty' ELSE int8range({start}, {end}) END"


def _pieces(rows: str, key: str, columns: str) -> str:
    """``rows`` (with ``distance`` and ``during``) without the time that nearer rows of the same ``key`` take."""
    return f"""
  SELECT {key}, {columns}, distance, lower(piece) AS start_s, upper(piece) AS end_s
  FROM (SELECT *, range_agg(during) OVER (PARTITION BY {key} ORDER BY distance
                                          RANGE UNBOUNDED PRECEDING EXCLUDE GROUP) AS nearer
        FROM {rows}) AS ranked
  CROSS JOIN LATERAL unnest(int8multirange(during) - coalesce(nearer, {_NONE})) AS piece
"""


_AMOUNT = """
         w.whole + CASE WHEN t.twice > n.denominator OR (t.twice = n.denominator AND mod(w.whole, 2) = 1)
                        THEN 1 ELSE 0 END AS amount_fen"""
"""Half-even, once: the whole fen, and one more if twice the rest says so. Divided by ``div()``, which is exact."""

_COMBO = "side, sub_cloud_id, unit_class, term_months, meter"
_PRICE = "id, price_cny * discount AS price_cny, per, free_quantity, charged_when_stopped"

_RATING = f"""
WITH month AS MATERIALIZED (
  SELECT * FROM unnest(CAST(:first_days AS date[]), CAST(:month_starts AS bigint[]), CAST(:month_ends AS bigint[]))
    AS m(first_day, start_s, end_s)
), term_piece AS MATERIALIZED (
  SELECT t.resource_id, t.term_months, {_seconds("t")} AS during FROM broker.resource_term t
), term_at AS MATERIALIZED (
  SELECT resource_id, term_months, lower(during) AS start_s, upper(during) AS end_s
  FROM term_piece WHERE NOT isempty(during)
  UNION ALL
  SELECT resource_id, 0, lower(piece), upper(piece)
  FROM (SELECT resource_id, range_agg(during) AS taken FROM term_piece GROUP BY resource_id) AS t
  CROSS JOIN LATERAL unnest(int8multirange(int8range(0, 253402300800)) - taken) AS piece
), spent AS (
  SELECT s.resource_id, s.meter, s.quantity, s.state = 'stopped' AS stopped,
         CAST(extract(epoch FROM s.start_at) AS bigint) AS begun_s,
         coalesce(CAST(extract(epoch FROM s.end_at) AS bigint), :until) AS over_s
  FROM broker.usage_span s
  WHERE s.start_at < :until_at AND (s.end_at IS NULL OR s.end_at > :since_at)
    AND (CAST(:resource_ids AS uuid[]) IS NULL OR s.resource_id = ANY (CAST(:resource_ids AS uuid[]))
         OR s.meter = ANY (CAST(:shared_meters AS text[])))
    AND NOT (s.state = 'stopped' AND s.meter = ANY (CAST(:free_when_stopped AS text[])))
), used AS MATERIALIZED (
  SELECT s.resource_id, r.unit_id, u.kind AS unit_class, r.sub_cloud_id, coalesce(t.term_months, 0) AS term_months,
         s.meter, s.quantity, s.stopped, greatest(s.begun_s, t.start_s) AS begun_s, m.start_s AS month_s,
         greatest(s.begun_s, m.start_s, t.start_s) AS start_s, least(s.over_s, m.end_s, :until, t.end_s) AS end_s
  FROM spent s
  JOIN broker.resource r ON r.id = s.resource_id
  JOIN broker.unit u ON u.id = r.unit_id
  JOIN month m ON s.begun_s < m.end_s AND s.over_s > m.start_s
  LEFT JOIN term_at t ON t.resource_id = s.resource_id AND t.start_s < s.over_s AND t.end_s > s.begun_s
  WHERE greatest(s.begun_s, m.start_s, t.start_s) < least(s.over_s, m.end_s, :until, t.end_s)
), place AS MATERIALIZED (
  SELECT w.unit_id, w.sub_cloud_id, c.tier, c.operator
  FROM (SELECT DISTINCT unit_id, sub_cloud_id FROM used) AS w JOIN broker.sub_cloud c ON c.id = w.sub_cloud_id
), payer_candidate AS (
  SELECT w.unit_id, w.sub_cloud_id, p.payer_unit_id, p.rule, p.article,
         CASE WHEN p.sub_cloud_id IS NULL THEN 1000 ELSE 0 END
           + cardinality(u.ancestors) - array_position(u.ancestors, p.unit_id) AS distance,
         {_seconds("u")} * {_seconds("p")} AS during
  FROM place w
  JOIN broker.unit_period u ON u.unit_id = w.unit_id
  JOIN broker.payer p ON p.unit_id = ANY (u.ancestors) AND p.tier = w.tier AND p.during && u.during
    AND (p.sub_cloud_id IS NULL OR p.sub_cloud_id = w.sub_cloud_id)
), payer_at AS MATERIALIZED (
  {_pieces("payer_candidate", "unit_id, sub_cloud_id", "payer_unit_id, rule, article")}
), combo AS MATERIALIZED (
  SELECT side, w.*, c.operator
  FROM (SELECT DISTINCT sub_cloud_id, unit_class, term_months, meter FROM used) AS w
  JOIN broker.sub_cloud c ON c.id = w.sub_cloud_id
  CROSS JOIN unnest(ARRAY['charge', 'settlement']) AS side
), price_candidate AS (
  SELECT w.side, w.sub_cloud_id, w.unit_class, w.term_months, w.meter, {_PRICE},
         CASE WHEN p.sub_cloud_id IS NOT NULL THEN 0 WHEN p.operator IS NOT NULL THEN 10000 ELSE 20000 END
           + CASE WHEN p.unit_class IS NULL THEN 4000 ELSE 0 END + 2000 - p.term_months AS distance,
         {_seconds("p")} AS during
  FROM combo w
  JOIN broker.tariff_price p
    ON p.side = w.side AND p.meter = w.meter AND p.term_months <= w.term_months
    AND coalesce(p.sub_cloud_id, w.sub_cloud_id) = w.sub_cloud_id AND coalesce(p.operator, w.operator) = w.operator
    AND coalesce(p.unit_class, w.unit_class) = w.unit_class
), price_at AS MATERIALIZED (
  SELECT side, sub_cloud_id, unit_class, term_months, meter, id, price_cny, per, free_quantity,
         coalesce(charged_when_stopped, NOT meter = ANY (CAST(:free_by_default AS text[]))) AS charged_when_stopped,
         start_s, end_s
  FROM ({_pieces("price_candidate", _COMBO, "id, price_cny, per, free_quantity, charged_when_stopped")}) AS p
), line AS (
  SELECT u.month_s, y.payer_unit_id, u.unit_id, u.resource_id, u.sub_cloud_id, u.meter, p.id AS tariff_price_id,
         p.price_cny, p.per, p.free_quantity, min(y.rule) AS payer_rule, min(y.article) AS article,
         sum(u.quantity * (least(u.end_s, p.end_s, y.end_s) - greatest(u.start_s, p.start_s, y.start_s)))
           AS quantity_seconds
  FROM used u
  JOIN price_at p ON p.side = 'charge' AND p.sub_cloud_id = u.sub_cloud_id AND p.meter = u.meter
    AND p.unit_class = u.unit_class AND p.term_months = u.term_months AND p.start_s < u.end_s AND p.end_s > u.start_s
    AND (p.charged_when_stopped OR NOT u.stopped)
  JOIN payer_at y ON y.unit_id = u.unit_id AND y.sub_cloud_id = u.sub_cloud_id
    AND y.start_s < least(u.end_s, p.end_s) AND y.end_s > greatest(u.start_s, p.start_s)
  GROUP BY u.month_s, y.payer_unit_id, u.unit_id, u.resource_id, u.sub_cloud_id, u.meter, p.id, p.price_cny, p.per,
           p.free_quantity
), changed AS MATERIALIZED (
  SELECT unit_id, sub_cloud_id, payer_unit_id FROM payer_at WHERE start_s < :until AND end_s > :since
  GROUP BY unit_id, sub_cloud_id, payer_unit_id HAVING count(DISTINCT (rule, article)) > 1
), ruled AS MATERIALIZED (
  SELECT u.month_s, y.payer_unit_id, u.resource_id, p.id AS tariff_price_id,
         string_agg(DISTINCT y.rule, ' + ') AS payer_rule,
         coalesce(string_agg(DISTINCT nullif(y.article, ''), ' + '), '') AS article
  FROM used u
  JOIN changed c ON c.unit_id = u.unit_id AND c.sub_cloud_id = u.sub_cloud_id
  JOIN price_at p ON p.side = 'charge' AND p.sub_cloud_id = u.sub_cloud_id AND p.meter = u.meter
    AND p.unit_class = u.unit_class AND p.term_months = u.term_months AND p.start_s < u.end_s AND p.end_s > u.start_s
    AND (p.charged_when_stopped OR NOT u.stopped)
  JOIN payer_at y ON y.unit_id = u.unit_id AND y.sub_cloud_id = u.sub_cloud_id AND y.payer_unit_id = c.payer_unit_id
    AND y.start_s < least(u.end_s, p.end_s) AND y.end_s > greatest(u.start_s, p.start_s)
  GROUP BY u.month_s, y.payer_unit_id, u.resource_id, p.id
), freed AS MATERIALIZED (
  SELECT month_s, payer_unit_id, resource_id, tariff_price_id,
         sum(greatest(0, least(amount, pool - (up_to - amount)))) AS free_seconds
  FROM (
    SELECT u.month_s, y.payer_unit_id, u.resource_id, p.id AS tariff_price_id, a.amount,
           p.free_quantity * CASE p.per WHEN 'hour' THEN 3600 WHEN 'month' THEN m.end_s - m.start_s ELSE 1 END AS pool,
           sum(a.amount) OVER (PARTITION BY u.month_s, y.payer_unit_id, p.id
                               ORDER BY greatest(u.begun_s, y.start_s), u.resource_id, a.start_s, a.amount) AS up_to
    FROM used u
    JOIN month m ON m.start_s = u.month_s
    JOIN price_at p ON p.side = 'charge' AND p.free_quantity > 0 AND p.sub_cloud_id = u.sub_cloud_id
      AND p.meter = u.meter AND p.unit_class = u.unit_class AND p.term_months = u.term_months
      AND p.start_s < u.end_s AND p.end_s > u.start_s AND (p.charged_when_stopped OR NOT u.stopped)
    JOIN payer_at y ON y.unit_id = u.unit_id AND y.sub_cloud_id = u.sub_cloud_id
      AND y.start_s < least(u.end_s, p.end_s) AND y.end_s > greatest(u.start_s, p.start_s)
    CROSS JOIN LATERAL (
      SELECT greatest(u.start_s, p.start_s, y.start_s) AS start_s,
             u.quantity * (least(u.end_s, p.end_s, y.end_s) - greatest(u.start_s, p.start_s, y.start_s)) AS amount
    ) AS a
  ) AS segment
  GROUP BY month_s, payer_unit_id, resource_id, tariff_price_id
), rated AS (
  SELECT l.month_s, l.payer_unit_id, l.unit_id, l.resource_id, l.sub_cloud_id, l.meter, l.tariff_price_id, l.price_cny,
         l.per, coalesce(r.payer_rule, l.payer_rule) AS payer_rule, coalesce(r.article, l.article) AS article,
         l.quantity_seconds, coalesce(f.free_seconds, 0) AS free_seconds, n.numerator, n.denominator, {{amount}}
  FROM line l
  LEFT JOIN freed f ON l.free_quantity > 0 AND f.month_s = l.month_s AND f.payer_unit_id = l.payer_unit_id
    AND f.resource_id = l.resource_id AND f.tariff_price_id = l.tariff_price_id
  LEFT JOIN ruled r ON r.month_s = l.month_s AND r.payer_unit_id = l.payer_unit_id
    AND r.resource_id = l.resource_id AND r.tariff_price_id = l.tariff_price_id
  JOIN month m ON m.start_s = l.month_s
  CROSS JOIN LATERAL (
    SELECT l.price_cny * 100 * (l.quantity_seconds - coalesce(f.free_seconds, 0)) AS numerator,
           CAST(CASE l.per WHEN 'hour' THEN 3600 WHEN 'month' THEN m.end_s - m.start_s ELSE 1 END AS numeric)
             AS denominator
    OFFSET 0
  ) AS n
  CROSS JOIN LATERAL (SELECT div(n.numerator, n.denominator) AS whole OFFSET 0) AS w
  CROSS JOIN LATERAL (SELECT 2 * (n.numerator - w.whole * n.denominator) AS twice OFFSET 0) AS t
), uncovered AS MATERIALIZED (
  SELECT w.side, w.sub_cloud_id, w.unit_class, w.term_months, w.meter, w.operator
  FROM combo w LEFT JOIN price_at p USING ({_COMBO})
  GROUP BY w.side, w.sub_cloud_id, w.unit_class, w.term_months, w.meter, w.operator
  HAVING coalesce(sum(greatest(least(p.end_s, :until) - greatest(p.start_s, :since), 0))
                    FILTER (WHERE p.id IS NOT NULL), 0) < :until - :since
), unpaid AS MATERIALIZED (
  SELECT w.unit_id, w.sub_cloud_id
  FROM place w LEFT JOIN payer_at y USING (unit_id, sub_cloud_id)
  GROUP BY w.unit_id, w.sub_cloud_id
  HAVING coalesce(sum(greatest(least(y.end_s, :until) - greatest(y.start_s, :since), 0))
                    FILTER (WHERE y.payer_unit_id IS NOT NULL), 0) < :until - :since
), suspect AS MATERIALIZED (
  SELECT u.* FROM used u
  WHERE (u.sub_cloud_id, u.unit_class, u.term_months, u.meter)
          IN (SELECT sub_cloud_id, unit_class, term_months, meter FROM uncovered WHERE side = 'charge')
     OR (u.unit_id, u.sub_cloud_id) IN (SELECT unit_id, sub_cloud_id FROM unpaid)
), gap AS MATERIALIZED (
  SELECT month_s, resource_id, meter, sum(quantity * (length - free - got)) AS quantity_seconds,
         CASE WHEN bool_or(priced < length) THEN 'price' ELSE 'payer' END AS missing
  FROM (
    SELECT u.*, u.end_s - u.start_s AS length, p.free, p.priced, p.got
    FROM suspect u
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(c.length), 0) AS priced,
             coalesce(sum(c.length) FILTER (WHERE u.stopped AND NOT p.charged_when_stopped), 0) AS free,
             coalesce(sum(y.length) FILTER (WHERE p.charged_when_stopped OR NOT u.stopped), 0) AS got
      FROM price_at p
      CROSS JOIN LATERAL (SELECT least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s) AS length) AS c
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(least(u.end_s, p.end_s, y.end_s) - greatest(u.start_s, p.start_s, y.start_s)), 0) AS length
        FROM payer_at y WHERE y.unit_id = u.unit_id AND y.sub_cloud_id = u.sub_cloud_id
          AND y.start_s < least(u.end_s, p.end_s) AND y.end_s > greatest(u.start_s, p.start_s)
      ) AS y
      WHERE p.side = 'charge' AND p.sub_cloud_id = u.sub_cloud_id AND p.meter = u.meter
        AND p.unit_class = u.unit_class AND p.term_months = u.term_months
        AND p.start_s < u.end_s AND p.end_s > u.start_s
    ) AS p
  ) AS s
  WHERE length - free - got > 0
  GROUP BY month_s, resource_id, meter
)
""".replace("{amount}", _AMOUNT)

_OWED = f""", settled AS MATERIALIZED (
  SELECT DISTINCT w.operator FROM combo w JOIN price_at p USING ({_COMBO}) WHERE w.side = 'settlement'
), supplied AS (
  SELECT u.month_s, u.sub_cloud_id, u.meter, p.id AS tariff_price_id, p.price_cny, p.per,
         sum(u.quantity * (least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s))) AS quantity_seconds
  FROM used u
  JOIN price_at p ON p.side = 'settlement' AND p.sub_cloud_id = u.sub_cloud_id AND p.meter = u.meter
    AND p.unit_class = u.unit_class AND p.term_months = u.term_months AND p.start_s < u.end_s AND p.end_s > u.start_s
    AND (p.charged_when_stopped OR NOT u.stopped)
  GROUP BY u.month_s, u.sub_cloud_id, u.meter, p.id, p.price_cny, p.per
), owed AS (
  SELECT l.month_s, l.sub_cloud_id, l.meter, l.tariff_price_id, l.quantity_seconds, {{amount}}
  FROM supplied l
  JOIN month m ON m.start_s = l.month_s
  CROSS JOIN LATERAL (
    SELECT l.price_cny * 100 * l.quantity_seconds AS numerator,
           CAST(CASE l.per WHEN 'hour' THEN 3600 WHEN 'month' THEN m.end_s - m.start_s ELSE 1 END AS numeric)
             AS denominator
    OFFSET 0
  ) AS n
  CROSS JOIN LATERAL (SELECT div(n.numerator, n.denominator) AS whole OFFSET 0) AS w
  CROSS JOIN LATERAL (SELECT 2 * (n.numerator - w.whole * n.denominator) AS twice OFFSET 0) AS t
), owed_gap AS (
  SELECT month_s, sub_cloud_id, meter, sum(quantity * (end_s - start_s - got)) AS quantity_seconds
  FROM (
    SELECT u.*, p.got
    FROM used u
    JOIN uncovered w ON w.side = 'settlement' AND w.operator IN (SELECT operator FROM settled)
      AND w.sub_cloud_id = u.sub_cloud_id AND w.meter = u.meter AND w.unit_class = u.unit_class
      AND w.term_months = u.term_months
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s)), 0) AS got FROM price_at p
      WHERE p.side = 'settlement' AND p.sub_cloud_id = u.sub_cloud_id AND p.meter = u.meter
        AND p.unit_class = u.unit_class AND p.term_months = u.term_months
        AND p.start_s < u.end_s AND p.end_s > u.start_s
    ) AS p
  ) AS s
  WHERE end_s - start_s - got > 0
  GROUP BY month_s, sub_cloud_id, meter
)
""".replace("{amount}", _AMOUNT)

_LINES = """
SELECT month_s, payer_unit_id, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id, price_cny, per,
       payer_rule, article, quantity_seconds, free_seconds, amount_fen, numerator, denominator, NULL AS missing
FROM rated
WHERE (CAST(:payer_unit_id AS uuid) IS NULL OR payer_unit_id = CAST(:payer_unit_id AS uuid))
  AND (CAST(:resource_ids AS uuid[]) IS NULL OR resource_id = ANY (CAST(:resource_ids AS uuid[])))
UNION ALL
SELECT month_s, NULL, NULL, resource_id, NULL, meter, NULL, NULL, NULL,
       NULL, NULL, quantity_seconds, NULL, NULL, NULL, NULL, missing
FROM gap
WHERE CAST(:resource_ids AS uuid[]) IS NULL OR resource_id = ANY (CAST(:resource_ids AS uuid[]))
"""

RATE = _RATING + _LINES + "ORDER BY month_s, payer_unit_id, resource_id, meter, tariff_price_id"
"""Rated lines, then (``missing`` set) the gaps."""

TOTALS = (
    _RATING
    + """
SELECT payer_unit_id, sum(amount_fen) AS total_fen, count(*) AS lines, NULL AS resource_id, NULL AS meter,
       NULL AS quantity_seconds, NULL AS missing
FROM rated GROUP BY payer_unit_id
UNION ALL
(SELECT NULL, NULL, NULL, resource_id, meter, quantity_seconds, missing FROM gap
 ORDER BY missing, resource_id, meter LIMIT :most_gaps)
"""
)
"""What each payer would owe, without the lines; then some of the gaps."""

_BILL = (
    "payer_unit_id, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id, payer_rule, article, quantity_seconds,"
    " free_seconds, amount_fen"
)


def make_bill(table: str) -> str:
    """Where a bill stands while it is made: gone with the transaction.

    ``kind``: line, owed; or what is missing: price, payer, settlement; and one row ``snapshot``, whose ``meter`` names
    the snapshot that all of it was read in.
    """
    return f"""
DROP TABLE IF EXISTS pg_temp.{table};
CREATE TEMP TABLE {table} (
  usage_month date, payer_unit_id uuid, unit_id uuid, resource_id uuid, sub_cloud_id uuid, meter text,
  tariff_price_id uuid, payer_rule text, article text, quantity_seconds numeric, free_seconds numeric,
  amount_fen numeric, kind text NOT NULL, adjustment_id uuid
) ON COMMIT DROP
"""


def fill_bill(table: str) -> str:
    """Rates the months of its parameters, both sides, in one statement and so in one snapshot."""
    none = "NULL, NULL, quantity_seconds, 0"
    return f"""
INSERT INTO pg_temp.{table} (usage_month, {_BILL}, kind)
{_RATING}{_OWED}
SELECT m.first_day, {_BILL}, kind FROM (
  SELECT month_s, {_BILL}, 'line' FROM rated
  UNION ALL
  SELECT month_s, NULL, NULL, NULL, sub_cloud_id, meter, tariff_price_id, {none}, amount_fen, 'owed' FROM owed
  UNION ALL
  SELECT month_s, NULL, NULL, resource_id, NULL, meter, NULL, {none}, NULL, missing FROM gap
  UNION ALL
  SELECT month_s, NULL, NULL, NULL, sub_cloud_id, meter, NULL, {none}, NULL, 'settlement' FROM owed_gap
  UNION ALL
  SELECT min(start_s), NULL, NULL, NULL, NULL, CAST(pg_current_snapshot() AS text), NULL, NULL, NULL, 0, 0, NULL,
         'snapshot' FROM month
) AS b(month_s, {_BILL}, kind)
JOIN month m ON m.start_s = b.month_s
"""


EXPORT_COLUMNS = (
    "resource_id, payer_id, city_code, sub_cloud, meter, quantity, start_at, end_at, operator, unit_class, term_months,"
    " state"
)

EXPORT = (
    f"INSERT INTO pg_temp.exported ({EXPORT_COLUMNS})"
    + _RATING
    + """
SELECT u.resource_id, payer.code, coalesce(own.division_code, ''), c.code, u.meter, u.quantity,
       to_char(to_timestamp(greatest(u.begun_s, y.start_s)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       to_char(to_timestamp(least(u.end_s, y.end_s)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       c.operator, u.unit_class, u.term_months, CASE WHEN u.stopped THEN 'stopped' ELSE 'active' END
FROM used u
JOIN payer_at y ON y.unit_id = u.unit_id AND y.sub_cloud_id = u.sub_cloud_id
  AND y.start_s < u.end_s AND y.end_s > u.start_s
JOIN broker.unit payer ON payer.id = y.payer_unit_id
JOIN broker.unit own ON own.id = u.unit_id
JOIN broker.sub_cloud c ON c.id = u.sub_cloud_id
"""
)
"""A month's usage as ``guiyun rate`` reads it: cut by who pays, so that the file needs no tree of units."""
