"""The SQL that rates usage in the database: it joins, adds up and rounds, exact to the fen, and decides nothing.

Called by: ``chargeback.repository``, ``bill_sql``. Must not: hold a rule: which price holds, who pays, what is free is
decided by ``chargeback.rules`` and stands in the tables of ``feed`` (``piece``, ``head``, ``rate``, ``granted``, …).
The arithmetic is ``arithmetic_sql``'s, which DuckDB runs as well.

How it reads. ``used``: usage cut to each month, term and owner, in whole seconds since 1970. ``line``: usage within
pieces, summed to a resource's number and so to a payer's resource, meter and price version. ``free_of``: what a
tariff's free quantity takes off. ``owner_at``: whose a resource was that went from a unit to another; both in a month
under one payer and price are one line (``joined``), the later unit's. ``rated``: the amount. ``slot``: by what usage
finds price and payer; only that of slots which lack one at some time is looked at span by span. ``gap``: usage that
found no price of its kind or no payer: never free in silence. ``owed``: the other side, what an operator is owed for
everybody's usage together in its time.
"""

from __future__ import annotations

from broker.chargeback.arithmetic_sql import COUNTS, HELD, MEET, freed, half_even
from broker.chargeback.given_sql import CHARGES, given, rows_of


def _seconds(alias: str) -> str:
    """A row's ``during`` as int8range; empty where it begins and ends within one second."""
    # A period of a unit may be dated finer than a second; it counts from and to the second it begins and ends in.
    start = f"coalesce(CAST(floor(extract(epoch FROM lower({alias}.during))) AS bigint), 0)"
    end = f"coalesce(CAST(floor(extract(epoch FROM upper({alias}.during))) AS bigint), 253402300800)"
    return f"CASE WHEN isempty({alias}.during) THEN 'empty' ELSE int8range({start}, {end}) END"


_OF_KIND = "p.once = u.once"
"""What is charged once has a price per item, what is used over time one per hour or month; none stands for another."""

_OVERLAP = f"{COUNTS} AND {_OF_KIND}"
_AT_PLACE = "p.place_n = u.place_n AND p.meter = u.meter AND p.term_months = u.term_months"
_AT_SPOT = "p.spot_n = u.spot_n AND p.meter = u.meter AND p.term_months = u.term_months"
_NUMERATOR = "c.numerator * (l.quantity_seconds - coalesce(f.free, 0))"
_FEN = f"""CASE WHEN f.free IS NULL AND l.quantity_seconds <= c.most
           THEN {half_even("(c.numerator_64 * l.quantity_seconds)", "c.denominator_64", div="int8div")}
           ELSE {half_even(f"({_NUMERATOR})", "c.denominator")} END"""
"""A line's amount: in 64 bits wherever no product leaves them, which costs a tenth of NUMERIC; the same fen."""
_SAME_SLOT = "p.term_months = u.term_months AND p.meter = u.meter AND p.once = u.once"
_JOINED = "LEFT JOIN joined j ON j.month_s = u.month_s AND j.resource_id = u.resource_id AND j.line_n = p.line_n"
_LINE = "coalesce(j.into_n, p.line_n)"
"""The number of the line that a piece of a resource's usage belongs to."""


MONTHS = f"""
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
), owner_at AS MATERIALIZED (
  SELECT resource_id, unit_id, lower(during) AS start_s, upper(during) AS end_s
  FROM (SELECT o.resource_id, o.unit_id, {_seconds("o")} AS during FROM broker.resource_owner o) AS owned
)"""

SPENT = """, spent AS (
  SELECT s.resource_id, s.meter, s.quantity, s.state = 'stopped' AS stopped, s.source = 'one_off_item' AS once,
         CAST(extract(epoch FROM s.start_at) AS bigint) AS begun_s,
         coalesce(CAST(extract(epoch FROM s.end_at) AS bigint), :until) AS over_s
  FROM broker.usage_span s
  WHERE s.start_at < :until_at AND (s.end_at IS NULL OR s.end_at > :since_at)
    AND (CAST(:resource_ids AS uuid[]) IS NULL OR s.resource_id = ANY (CAST(:resource_ids AS uuid[]))
         OR s.meter = ANY (CAST(:shared_meters AS text[])))
    AND NOT (s.state = 'stopped' AND s.meter = ANY (CAST(:free_when_stopped AS text[])))
  OFFSET 0
)"""

PLACE = """, place AS MATERIALIZED (
  SELECT CAST(row_number() OVER () AS int) AS place_n,
         CAST(dense_rank() OVER (ORDER BY w.sub_cloud_id, u.kind) AS int) AS spot_n,
         w.unit_id, u.kind AS unit_class, w.sub_cloud_id, c.tier
  FROM (SELECT unit_id, sub_cloud_id FROM broker.resource
        WHERE CAST(:resource_ids AS uuid[]) IS NULL OR id = ANY (CAST(:resource_ids AS uuid[]))
           OR cardinality(CAST(:shared_meters AS text[])) > 0
        UNION SELECT o.unit_id, r.sub_cloud_id
        FROM broker.resource_owner o JOIN broker.resource r ON r.id = o.resource_id) AS w
  JOIN broker.unit u ON u.id = w.unit_id
  JOIN broker.sub_cloud c ON c.id = w.sub_cloud_id
)"""


def used_rows(join: str) -> str:
    """Usage by place. ``LEFT JOIN``: what belongs nowhere that is known has no number, and so becomes a gap."""
    return f"""
  SELECT s.resource_id, w.place_n, w.spot_n, coalesce(t.term_months, 0) AS term_months, s.meter, s.quantity, s.stopped,
         s.once, greatest(s.begun_s, t.start_s, o.start_s) AS begun_s, m.start_s AS month_s,
         greatest(s.begun_s, m.start_s, t.start_s, o.start_s) AS start_s,
         least(s.over_s, m.end_s, :until, t.end_s, o.end_s) AS end_s
  FROM spent s
  JOIN broker.resource r ON r.id = s.resource_id
  LEFT JOIN owner_at o ON o.resource_id = s.resource_id AND o.start_s < s.over_s AND o.end_s > s.begun_s
  {join} place w ON w.unit_id = coalesce(o.unit_id, r.unit_id) AND w.sub_cloud_id = r.sub_cloud_id
  JOIN month m ON s.begun_s < m.end_s AND s.over_s > m.start_s
  LEFT JOIN term_at t ON t.resource_id = s.resource_id AND t.start_s < s.over_s AND t.end_s > s.begun_s
  WHERE greatest(s.begun_s, m.start_s, t.start_s, o.start_s) < least(s.over_s, m.end_s, :until, t.end_s, o.end_s)
"""


JOINED = f""", joined AS MATERIALIZED (
  SELECT month_s, resource_id, line_n, into_n
  FROM (
    SELECT *, first_value(line_n) OVER (PARTITION BY month_s, resource_id, bill_n ORDER BY over_s DESC) AS into_n
    FROM (
      SELECT u.month_s, u.resource_id, p.line_n, p.bill_n, max(least(u.end_s, p.end_s)) AS over_s
      FROM used u JOIN piece p ON {_AT_PLACE} AND {_OVERLAP}
      WHERE u.resource_id IN (SELECT resource_id FROM owner_at)
      GROUP BY u.month_s, u.resource_id, p.line_n, p.bill_n
    ) AS owned
  ) AS ranked
  WHERE into_n <> line_n
)"""
"""Which lines are one with another: an owner's with the next one's."""

RULED = f""", changed AS MATERIALIZED (
  SELECT line_n FROM piece GROUP BY line_n HAVING count(DISTINCT (rule, article)) > 1
), ruled AS MATERIALIZED (
  SELECT month_s, resource_id, line_n, string_agg(DISTINCT rule, ' + ') AS payer_rule,
         coalesce(string_agg(DISTINCT nullif(article, ''), ' + '), '') AS article
  FROM (
    SELECT u.month_s, u.resource_id, {_LINE} AS line_n, p.rule, p.article
    FROM used u JOIN piece p ON {_AT_PLACE} AND {_OVERLAP} {_JOINED}
    WHERE p.line_n IN (SELECT line_n FROM changed)
    UNION ALL
    SELECT u.month_s, u.resource_id, {_LINE}, p.rule, p.article
    FROM used u JOIN piece p ON {_AT_PLACE} AND {_OVERLAP} {_JOINED}
    WHERE u.resource_id IN (SELECT resource_id FROM joined)
  ) AS stretch
  GROUP BY month_s, resource_id, line_n
)"""
"""What stands on lines whose rule changed within them, and on those that are ``joined``; on others their ``head``'s."""

LINES = f""", line AS (
  SELECT u.month_s, u.resource_id, {_LINE} AS line_n, broker.sum_64({HELD}) AS quantity_seconds
  FROM used u JOIN piece p ON {_AT_PLACE} AND {_OVERLAP} {_JOINED}
  GROUP BY u.month_s, u.resource_id, {_LINE}
), free_of AS MATERIALIZED ({
    freed(
        f'''
      SELECT u.month_s, u.resource_id, {_LINE} AS line_n, p.pool_n, g.granted, {HELD} AS used,
             greatest(u.begun_s, p.payer_start_s, u.month_s) AS begun_s,
             greatest(u.start_s, p.start_s) AS start_s
      FROM used u
      JOIN piece p ON p.pool_n IS NOT NULL AND {_AT_PLACE} AND {_OVERLAP}
      JOIN granted g ON g.month_s = u.month_s AND g.pool_n = p.pool_n
      {_JOINED}''',
        key="month_s, resource_id, line_n",
        pool="month_s, pool_n",
    )
}), rated AS (
  SELECT l.month_s, h.payer_unit_id, h.unit_id, l.resource_id, h.sub_cloud_id, h.meter, h.tariff_price_id, h.price_cny,
         h.per, coalesce(r.payer_rule, h.payer_rule) AS payer_rule, coalesce(r.article, h.article) AS article,
         l.quantity_seconds, coalesce(f.free, 0) AS free_seconds,
         {_NUMERATOR} AS numerator, c.denominator, {_FEN} AS amount_fen,
         CASE WHEN r.resource_id IS NULL THEN l.line_n END AS line_n
  FROM line l
  JOIN head h ON h.line_n = l.line_n
  JOIN rate c ON c.month_s = l.month_s AND c.tariff_price_id = h.tariff_price_id
  LEFT JOIN free_of f ON f.month_s = l.month_s AND f.resource_id = l.resource_id AND f.line_n = l.line_n
  LEFT JOIN ruled r ON r.month_s = l.month_s AND r.resource_id = l.resource_id AND r.line_n = l.line_n
), slot AS MATERIALIZED (
  SELECT DISTINCT place_n, spot_n, term_months, meter, once FROM used
), suspect AS MATERIALIZED (
  SELECT u.* FROM used u JOIN (
    SELECT * FROM slot u WHERE NOT EXISTS (SELECT FROM covered p WHERE {_AT_PLACE} AND p.once = u.once)
  ) AS p ON coalesce(p.place_n, 0) = coalesce(u.place_n, 0) AND {_SAME_SLOT}
), priced AS (
  SELECT place_n, term_months, meter, once, charged_when_stopped, start_s, end_s, true AS paid FROM piece
  UNION ALL
  SELECT place_n, term_months, meter, once, charged_when_stopped, start_s, end_s, false FROM unpaid
), gap AS MATERIALIZED (
  SELECT month_s, resource_id, meter, sum(quantity * (length - free - got)) AS quantity_seconds,
         CASE WHEN bool_or(wrong > 0) THEN 'once' WHEN bool_or(priced < length) THEN 'price' ELSE 'payer' END
           AS missing
  FROM (
    SELECT u.*, u.end_s - u.start_s AS length, p.free, p.priced, p.wrong, p.got
    FROM suspect u
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(c.length), 0) AS priced,
             coalesce(sum(c.length) FILTER (WHERE NOT c.counts), 0) AS free,
             coalesce(sum(c.length) FILTER (WHERE c.counts AND NOT {_OF_KIND}), 0) AS wrong,
             coalesce(sum(c.length) FILTER (WHERE c.counts AND {_OF_KIND} AND p.paid), 0) AS got
      FROM priced p
      CROSS JOIN LATERAL (SELECT least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s) AS length,
                                 {COUNTS} AS counts) AS c
      WHERE {_AT_PLACE} AND {MEET}
    ) AS p
  ) AS s
  WHERE length - free - got > 0
  GROUP BY month_s, resource_id, meter
)
"""

_USED = f"{MONTHS}{SPENT}{given('place')}, used AS MATERIALIZED ({used_rows('LEFT JOIN')})"
_RATING = f"{_USED}{given(*CHARGES)}{JOINED}{RULED}{LINES}"

OWED = f""", supplied AS (
  SELECT u.month_s, p.supply_n, sum({HELD}) AS quantity_seconds
  FROM used u JOIN supply p ON {_AT_SPOT} AND {_OVERLAP}
  GROUP BY u.month_s, p.supply_n
), owed AS (
  SELECT l.month_s, h.sub_cloud_id, h.operator, h.meter, h.tariff_price_id, l.quantity_seconds,
         {half_even("(c.numerator * l.quantity_seconds)", "c.denominator")} AS amount_fen
  FROM supplied l
  JOIN supply_head h ON h.supply_n = l.supply_n
  JOIN rate c ON c.month_s = l.month_s AND c.tariff_price_id = h.tariff_price_id
), owed_gap AS (
  SELECT month_s, sub_cloud_id, operator, meter, sum(quantity * (end_s - start_s - got)) AS quantity_seconds
  FROM (
    SELECT u.month_s, w.sub_cloud_id, w.operator, u.meter, u.quantity, t.start_s, t.end_s, s.got
    FROM used u
    JOIN (
      SELECT DISTINCT u.spot_n, u.term_months, u.meter, u.once, w.sub_cloud_id, w.operator, w.start_s, w.end_s
      FROM slot u JOIN supplied_spot w ON w.spot_n = u.spot_n
      WHERE NOT EXISTS (SELECT FROM supply_covered p WHERE {_AT_SPOT} AND p.once = u.once)
    ) AS w ON w.spot_n = u.spot_n AND w.term_months = u.term_months AND w.meter = u.meter AND w.once = u.once
     AND w.start_s < u.end_s AND w.end_s > u.start_s
    CROSS JOIN LATERAL (SELECT greatest(u.start_s, w.start_s) AS start_s, least(u.end_s, w.end_s) AS end_s) AS t
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(least(t.end_s, p.end_s) - greatest(t.start_s, p.start_s)), 0) AS got
      FROM supply p WHERE {_AT_SPOT} AND p.start_s < t.end_s AND p.end_s > t.start_s AND {_OF_KIND}
    ) AS s
  ) AS s
  WHERE end_s - start_s - got > 0
  GROUP BY month_s, sub_cloud_id, operator, meter
)
"""

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

PAYER_TOTALS = _RATING + "SELECT payer_unit_id, sum(amount_fen) AS total_fen FROM rated GROUP BY payer_unit_id"
"""What each payer would owe for the months asked for together, by charge prices alone."""

EXPORT_COLUMNS = (
    "resource_id, payer_id, city_code, sub_cloud, meter, quantity, start_at, end_at, operator, unit_class, term_months,"
    " state"
)


def export_of(table: str) -> str:
    """A month's usage (``bill.keep_usage``) as ``guiyun rate`` reads it, cut by who pays and operates.

    Where nobody pays it stands without a payer: it is the caller's to refuse.
    """
    return f"""
INSERT INTO pg_temp.exported ({EXPORT_COLUMNS})
WITH paid AS MATERIALIZED ({rows_of("paid")})
SELECT u.resource_id, payer.code, coalesce(own.division_code, ''), c.code, u.meter, u.quantity,
       to_char(to_timestamp(greatest(u.begun_s, y.start_s)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       to_char(to_timestamp(least(u.end_s, y.end_s)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       y.operator, w.unit_class, u.term_months,
       CASE WHEN u.once THEN 'once' WHEN u.stopped THEN 'stopped' ELSE 'active' END
FROM pg_temp.{table}_used u
JOIN pg_temp.{table}_place w ON w.place_n = u.place_n
JOIN paid y ON y.place_n = u.place_n AND y.start_s < u.end_s AND y.end_s > u.start_s
LEFT JOIN broker.unit payer ON payer.id = y.payer_unit_id
JOIN broker.unit own ON own.id = w.unit_id
JOIN broker.sub_cloud c ON c.id = w.sub_cloud_id
"""
