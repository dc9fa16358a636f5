"""The SQL that rates usage: from periods to amounts, exact to the fen, with nothing computed in Python.

Called by: ``chargeback.repository``. Must not: use ``/``, ``round()`` or a binary type: NUMERIC division is inexact and
its ``round()`` takes half away from zero. ``broker.chargeback.rating`` is the same for files; one oracle checks both.

How it reads. A ``place`` is where a resource can belong (unit, sub-cloud), a ``spot`` all places with the same prices
(sub-cloud, class of unit); both are numbered, as small keys join millions of rows faster than names. ``used``: usage
cut to each month, in whole seconds since 1970. ``payer_at`` and ``price_at``: for a place, and for a (side, spot, term,
meter), disjoint pieces of time with the one row that holds: a nearer row takes its time away from those farther off.
``piece``: the two cut by each other; its ``line_n`` numbers what makes a line of one resource (payer, price version),
``head`` explains the number. ``line``: usage cut by the pieces, summed to a resource's number and so to a payer's
resource, meter and price version. ``freed``: what a tariff's free quantity takes off, in order of start, then resource;
the versions of one price share it (``granted``). ``owner_at``: whose a resource was that went from a unit to another;
both in a month under one payer and price are one line (``joined``), the later unit's. ``rated``: the amount. ``gap``:
usage that found no price of its kind or no payer: never free in silence. ``owed``: the other side, what an operator is
owed for everybody's usage together.
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
div(2 * {numerator} + {denominator}, 2 * {denominator})
  - CASE WHEN mod(2 * {numerator} + {denominator}, 2 * {denominator}) = 0
              AND mod(div(2 * {numerator} + {denominator}, 2 * {denominator}), 2) = 1 THEN 1 ELSE 0 END"""
"""Half-even, once: the whole fen nearest from above the half, and one less if that was a tie and came out odd.

Divided by ``div()``, which is exact. Nothing here is negative.
"""


def _amount(numerator: str, denominator: str) -> str:
    return _AMOUNT.format(numerator=numerator, denominator=denominator).strip()


_DENOMINATOR = "CAST(CASE p.per WHEN 'hour' THEN 3600 WHEN 'month' THEN m.end_s - m.start_s ELSE 1 END AS numeric)"
_PRICE = "id, price_cny * discount AS price_cny, per, free_quantity, charged_when_stopped"
_OF_KIND = "(p.per = 'once') = u.once"
"""What is charged once has a price per item, what is used over time one per hour or month; none stands for another."""

_OVERLAP = "p.start_s < u.end_s AND p.end_s > u.start_s AND (p.charged_when_stopped OR NOT u.stopped) AND " + _OF_KIND
_HELD = "u.quantity * (least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s))"
_AT_PLACE = "p.place_n = u.place_n AND p.meter = u.meter AND p.term_months = u.term_months"
_AT_SPOT = "p.spot_n = u.spot_n AND p.meter = u.meter AND p.term_months = u.term_months"
_JOINED = "LEFT JOIN joined j ON j.month_s = u.month_s AND j.resource_id = u.resource_id AND j.line_n = p.line_n"
_LINE = "coalesce(j.into_n, p.line_n)"
"""The number of the line that a piece of a resource's usage belongs to."""


def _covered(pieces: str, key: str) -> str:
    """What of ``key`` has a piece for every second of the time asked for (pieces of one key are disjoint).

    All of one kind: ``once``, or for time.
    """
    return f"""
  SELECT {key}, term_months, meter, bool_and(per = 'once') AS once FROM {pieces} GROUP BY {key}, term_months, meter
  HAVING sum(greatest(least(end_s, :until) - greatest(start_s, :since), 0)) >= :until - :since
     AND bool_and(per = 'once') = bool_or(per = 'once')
"""


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
         w.unit_id, u.kind AS unit_class, w.sub_cloud_id, c.tier, c.operator
  FROM (SELECT unit_id, sub_cloud_id FROM broker.resource
        WHERE CAST(:resource_ids AS uuid[]) IS NULL OR id = ANY (CAST(:resource_ids AS uuid[]))
           OR cardinality(CAST(:shared_meters AS text[])) > 0
        UNION SELECT o.unit_id, r.sub_cloud_id
        FROM broker.resource_owner o JOIN broker.resource r ON r.id = o.resource_id) AS w
  JOIN broker.unit u ON u.id = w.unit_id
  JOIN broker.sub_cloud c ON c.id = w.sub_cloud_id
)"""

USED_ROWS = """
  SELECT s.resource_id, w.place_n, w.spot_n, coalesce(t.term_months, 0) AS term_months, s.meter, s.quantity, s.stopped,
         s.once, greatest(s.begun_s, t.start_s, o.start_s) AS begun_s, m.start_s AS month_s,
         greatest(s.begun_s, m.start_s, t.start_s, o.start_s) AS start_s,
         least(s.over_s, m.end_s, :until, t.end_s, o.end_s) AS end_s
  FROM spent s
  JOIN broker.resource r ON r.id = s.resource_id
  LEFT JOIN owner_at o ON o.resource_id = s.resource_id AND o.start_s < s.over_s AND o.end_s > s.begun_s
  JOIN place w ON w.unit_id = coalesce(o.unit_id, r.unit_id) AND w.sub_cloud_id = r.sub_cloud_id
  JOIN month m ON s.begun_s < m.end_s AND s.over_s > m.start_s
  LEFT JOIN term_at t ON t.resource_id = s.resource_id AND t.start_s < s.over_s AND t.end_s > s.begun_s
  WHERE greatest(s.begun_s, m.start_s, t.start_s, o.start_s) < least(s.over_s, m.end_s, :until, t.end_s, o.end_s)
"""

PAYERS = f""", payer_candidate AS (
  SELECT w.place_n, p.payer_unit_id, p.rule, p.article,
         CASE WHEN p.sub_cloud_id IS NULL THEN 1000 ELSE 0 END
           + cardinality(u.ancestors) - array_position(u.ancestors, p.unit_id) AS distance,
         {_seconds("u")} * {_seconds("p")} AS during
  FROM place w
  JOIN broker.unit_period u ON u.unit_id = w.unit_id
  JOIN broker.payer p ON p.unit_id = ANY (u.ancestors) AND p.tier = w.tier AND p.during && u.during
    AND (p.sub_cloud_id IS NULL OR p.sub_cloud_id = w.sub_cloud_id)
), payer_at AS MATERIALIZED (
  {_pieces("payer_candidate", "place_n", "payer_unit_id, rule, article")}
)
"""

PRICED = f""", spot AS (
  SELECT DISTINCT spot_n, sub_cloud_id, operator, unit_class FROM place
), term AS (
  SELECT term_months FROM term_at UNION SELECT 0
), price_candidate AS (
  SELECT p.side, w.spot_n, t.term_months, p.meter, {_PRICE},
         CASE WHEN p.sub_cloud_id IS NOT NULL THEN 0 WHEN p.operator IS NOT NULL THEN 10000 ELSE 20000 END
           + CASE WHEN p.unit_class IS NULL THEN 4000 ELSE 0 END + 2000 - p.term_months AS distance,
         {_seconds("p")} AS during
  FROM spot w
  CROSS JOIN term t
  JOIN broker.tariff_price p
    ON p.term_months <= t.term_months AND coalesce(p.sub_cloud_id, w.sub_cloud_id) = w.sub_cloud_id
    AND coalesce(p.operator, w.operator) = w.operator AND coalesce(p.unit_class, w.unit_class) = w.unit_class
), price_at AS MATERIALIZED (
  SELECT side, spot_n, term_months, meter, id, price_cny, per, free_quantity,
         coalesce(charged_when_stopped, NOT meter = ANY (CAST(:free_by_default AS text[]))) AS charged_when_stopped,
         start_s, end_s
  FROM ({
    _pieces(
        "price_candidate",
        "side, spot_n, term_months, meter",
        "id, price_cny, per, free_quantity, charged_when_stopped",
    )
}) AS p
)
"""

PIECE_ROWS = """
  SELECT CAST(dense_rank() OVER (ORDER BY y.payer_unit_id, w.place_n, p.meter, p.id) AS int) AS line_n, w.place_n,
         p.term_months, p.meter, p.id, p.price_cny, p.per, p.free_quantity, p.charged_when_stopped, y.payer_unit_id,
         y.rule, y.article, y.start_s AS payer_start_s, greatest(p.start_s, y.start_s) AS start_s,
         least(p.end_s, y.end_s) AS end_s
  FROM place w
  JOIN price_at p ON p.side = 'charge' AND p.spot_n = w.spot_n AND p.start_s < :until AND p.end_s > :since
  JOIN payer_at y ON y.place_n = w.place_n AND y.start_s < least(p.end_s, :until)
    AND y.end_s > greatest(p.start_s, :since)
"""

LINES = f""", head AS MATERIALIZED (
  SELECT m.start_s AS month_s, p.line_n, p.payer_unit_id, w.unit_id, w.sub_cloud_id, p.meter, p.id AS tariff_price_id,
         p.price_cny, p.per, p.free_quantity, p.payer_rule, p.article, trim_scale(p.price_cny * 100) AS price_fen,
         {_DENOMINATOR} AS denominator
  FROM (SELECT line_n, payer_unit_id, place_n, meter, id, price_cny, per, free_quantity, min(rule) AS payer_rule,
               min(article) AS article
        FROM piece GROUP BY line_n, payer_unit_id, place_n, meter, id, price_cny, per, free_quantity) AS p
  JOIN place w ON w.place_n = p.place_n
  CROSS JOIN month m
), joined AS MATERIALIZED (
  SELECT month_s, resource_id, line_n, into_n
  FROM (
    SELECT *, first_value(line_n) OVER (PARTITION BY month_s, resource_id, payer_unit_id, meter, id
                                        ORDER BY over_s DESC) AS into_n
    FROM (
      SELECT u.month_s, u.resource_id, p.line_n, p.payer_unit_id, p.meter, p.id, max(least(u.end_s, p.end_s)) AS over_s
      FROM used u JOIN piece p ON {_AT_PLACE} AND {_OVERLAP}
      WHERE u.resource_id IN (SELECT resource_id FROM owner_at)
      GROUP BY u.month_s, u.resource_id, p.line_n, p.payer_unit_id, p.meter, p.id
    ) AS owned
  ) AS ranked
  WHERE into_n <> line_n
), line AS (
  SELECT u.month_s, u.resource_id, {_LINE} AS line_n, sum({_HELD}) AS quantity_seconds
  FROM used u JOIN piece p ON {_AT_PLACE} AND {_OVERLAP} {_JOINED}
  GROUP BY u.month_s, u.resource_id, {_LINE}
), changed AS MATERIALIZED (
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
), series AS (
  SELECT p.id, m.start_s AS month_s, p.free_quantity * {_DENOMINATOR} AS pool,
         dense_rank() OVER (ORDER BY p.meter, p.sub_cloud_id, p.operator, p.unit_class, p.term_months, p.per = 'once')
           AS series_n
  FROM broker.tariff_price p
  JOIN month m ON int8range(m.start_s, m.end_s) && {_seconds("p")}
  WHERE p.side = 'charge' AND p.free_quantity > 0
), granted AS MATERIALIZED (
  SELECT month_s, id, series_n, max(pool) OVER (PARTITION BY month_s, series_n) AS pool FROM series
), freed AS MATERIALIZED (
  SELECT month_s, resource_id, line_n, sum(greatest(0, least(amount, pool - (up_to - amount)))) AS free_seconds
  FROM (
    SELECT u.month_s, u.resource_id, {_LINE} AS line_n, a.amount,
           g.pool,
           sum(a.amount) OVER (PARTITION BY u.month_s, p.payer_unit_id, g.series_n
                               ORDER BY greatest(u.begun_s, p.payer_start_s), u.resource_id, a.start_s, a.amount)
             AS up_to
    FROM used u
    JOIN piece p ON p.free_quantity > 0 AND {_AT_PLACE} AND {_OVERLAP}
    JOIN granted g ON g.month_s = u.month_s AND g.id = p.id
    {_JOINED}
    CROSS JOIN LATERAL (SELECT greatest(u.start_s, p.start_s) AS start_s, {_HELD} AS amount) AS a
  ) AS segment
  GROUP BY month_s, resource_id, line_n
), rated AS (
  SELECT l.month_s, h.payer_unit_id, h.unit_id, l.resource_id, h.sub_cloud_id, h.meter, h.tariff_price_id, h.price_cny,
         h.per, coalesce(r.payer_rule, h.payer_rule) AS payer_rule, coalesce(r.article, h.article) AS article,
         l.quantity_seconds, coalesce(f.free_seconds, 0) AS free_seconds,
         h.price_fen * (l.quantity_seconds - coalesce(f.free_seconds, 0)) AS numerator, h.denominator,
         {_amount("(h.price_fen * (l.quantity_seconds - coalesce(f.free_seconds, 0)))", "h.denominator")} AS amount_fen
  FROM line l
  JOIN head h ON h.month_s = l.month_s AND h.line_n = l.line_n
  LEFT JOIN freed f ON f.month_s = l.month_s AND f.resource_id = l.resource_id AND f.line_n = l.line_n
  LEFT JOIN ruled r ON r.month_s = l.month_s AND r.resource_id = l.resource_id AND r.line_n = l.line_n
), covered AS MATERIALIZED ({_covered("piece", "place_n")}
), suspect AS MATERIALIZED (
  SELECT u.* FROM used u
  WHERE NOT EXISTS (SELECT FROM covered p WHERE {_AT_PLACE} AND p.once = u.once)
), gap AS MATERIALIZED (
  SELECT month_s, resource_id, meter, sum(quantity * (length - free - got)) AS quantity_seconds,
         CASE WHEN bool_or(wrong > 0) THEN 'once' WHEN bool_or(priced < length) THEN 'price' ELSE 'payer' END
           AS missing
  FROM (
    SELECT u.*, u.end_s - u.start_s AS length, p.free, p.priced, p.wrong, p.got
    FROM suspect u
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(c.length), 0) AS priced,
             coalesce(sum(c.length) FILTER (WHERE u.stopped AND NOT p.charged_when_stopped), 0) AS free,
             coalesce(sum(c.length) FILTER (WHERE NOT {_OF_KIND} AND (p.charged_when_stopped OR NOT u.stopped)), 0)
               AS wrong,
             coalesce(sum(y.length) FILTER (WHERE {_OF_KIND} AND (p.charged_when_stopped OR NOT u.stopped)), 0) AS got
      FROM price_at p
      CROSS JOIN LATERAL (SELECT least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s) AS length) AS c
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(least(u.end_s, p.end_s, y.end_s) - greatest(u.start_s, p.start_s, y.start_s)), 0) AS length
        FROM payer_at y WHERE y.place_n = u.place_n
          AND y.start_s < least(u.end_s, p.end_s) AND y.end_s > greatest(u.start_s, p.start_s)
      ) AS y
      WHERE p.side = 'charge' AND {_AT_SPOT} AND p.start_s < u.end_s AND p.end_s > u.start_s
    ) AS p
  ) AS s
  WHERE length - free - got > 0
  GROUP BY month_s, resource_id, meter
)
"""

_USED = f"{MONTHS}{SPENT}{PLACE}, used AS MATERIALIZED ({USED_ROWS})"
_RATING = f"{_USED}{PAYERS}{PRICED}, piece AS MATERIALIZED ({PIECE_ROWS}){LINES}"

OWED = f""", supply_piece AS MATERIALIZED (
  SELECT CAST(dense_rank() OVER (ORDER BY w.sub_cloud_id, p.id) AS int) AS supply_n, w.sub_cloud_id, w.operator, p.*
  FROM price_at p JOIN spot w ON w.spot_n = p.spot_n WHERE p.side = 'settlement'
), supplied AS (
  SELECT u.month_s, p.supply_n, sum({_HELD}) AS quantity_seconds
  FROM used u JOIN supply_piece p ON {_AT_SPOT} AND {_OVERLAP}
  GROUP BY u.month_s, p.supply_n
), owed AS (
  SELECT l.month_s, p.sub_cloud_id, p.meter, p.id AS tariff_price_id, l.quantity_seconds,
         {_amount("(p.price_cny * 100 * l.quantity_seconds)", _DENOMINATOR)} AS amount_fen
  FROM supplied l
  JOIN (SELECT DISTINCT supply_n, sub_cloud_id, meter, id, price_cny, per FROM supply_piece) AS p
    ON p.supply_n = l.supply_n
  JOIN month m ON m.start_s = l.month_s
), supply_covered AS MATERIALIZED ({_covered("supply_piece", "spot_n")}
), owed_gap AS (
  SELECT month_s, sub_cloud_id, meter, sum(quantity * (end_s - start_s - got)) AS quantity_seconds
  FROM (
    SELECT u.*, w.sub_cloud_id, s.got
    FROM used u
    JOIN spot w ON w.spot_n = u.spot_n AND w.operator IN (SELECT operator FROM supply_piece)
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(least(u.end_s, p.end_s) - greatest(u.start_s, p.start_s)), 0) AS got
      FROM supply_piece p WHERE {_AT_SPOT} AND p.start_s < u.end_s AND p.end_s > u.start_s AND {_OF_KIND}
    ) AS s
    WHERE NOT EXISTS (SELECT FROM supply_covered p WHERE {_AT_SPOT} AND p.once = u.once)
  ) AS s
  WHERE end_s - start_s - got > 0
  GROUP BY month_s, sub_cloud_id, meter
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

EXPORT = (
    f"INSERT INTO pg_temp.exported ({EXPORT_COLUMNS})"
    + _USED
    + PAYERS
    + f""", paid AS (
  SELECT place_n, payer_unit_id, start_s, end_s FROM payer_at
  UNION ALL
  SELECT w.place_n, NULL, lower(piece), upper(piece)
  FROM place w
  LEFT JOIN (SELECT place_n, range_agg(int8range(start_s, end_s)) AS by_somebody FROM payer_at GROUP BY place_n) AS t
    ON t.place_n = w.place_n
  CROSS JOIN LATERAL unnest(int8multirange(int8range(:since, :until)) - coalesce(t.by_somebody, {_NONE})) AS piece
)
SELECT u.resource_id, payer.code, coalesce(own.division_code, ''), c.code, u.meter, u.quantity,
       to_char(to_timestamp(greatest(u.begun_s, y.start_s)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       to_char(to_timestamp(least(u.end_s, y.end_s)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       c.operator, w.unit_class, u.term_months,
       CASE WHEN u.once THEN 'once' WHEN u.stopped THEN 'stopped' ELSE 'active' END
FROM used u
JOIN place w ON w.place_n = u.place_n
JOIN paid y ON y.place_n = u.place_n AND y.start_s < u.end_s AND y.end_s > u.start_s
LEFT JOIN broker.unit payer ON payer.id = y.payer_unit_id
JOIN broker.unit own ON own.id = w.unit_id
JOIN broker.sub_cloud c ON c.id = w.sub_cloud_id
"""
)
"""A month's usage as ``guiyun rate`` reads it: cut by who pays, so that the file needs no tree of units.

Where nobody pays it stands without a payer: it is the caller's to refuse.
"""
