"""The SQL that rates usage: one statement from periods to amounts, exact to the fen, with nothing computed in Python.

Called by: ``chargeback.repository``. Must not: use ``/``, ``round()`` or a binary type: NUMERIC division is inexact and
its ``round()`` takes half away from zero. ``broker.chargeback.rating`` is the same for files; one oracle checks both.

How it reads. ``used``: charged usage cut to each month. ``payer_at`` and ``price_at``: for a (unit, tier) and for a
(sub-cloud, meter), disjoint pieces of time with the one row that holds: a nearer row (own unit before ancestor,
sub-cloud's own price before the general one) takes its time away from those farther off. ``line``: usage cut by both,
summed to a payer's resource, meter and price version. ``rated``: the amount. ``gap``: usage that found no price or no
payer: never free in silence.
"""

from __future__ import annotations

_RATING = """
WITH month AS (
  SELECT * FROM unnest(CAST(:month_starts AS timestamptz[]), CAST(:month_ends AS timestamptz[]),
                       CAST(:month_seconds AS numeric[])) AS m(start_at, end_at, seconds)
), used AS MATERIALIZED (
  SELECT r.id AS resource_id, r.unit_id, r.sub_cloud_id, c.tier, s.meter, s.quantity, m.start_at AS month_start,
         m.seconds AS month_seconds,
         tstzrange(greatest(s.start_at, m.start_at), least(s.end_at, m.end_at, :until)) AS during
  FROM broker.usage_span s
  JOIN broker.resource r ON r.id = s.resource_id
  JOIN broker.sub_cloud c ON c.id = r.sub_cloud_id
  JOIN month m ON s.start_at < least(m.end_at, :until) AND (s.end_at IS NULL OR s.end_at > m.start_at)
  WHERE NOT (s.state = 'stopped' AND s.meter = ANY (CAST(:free_when_stopped AS text[])))
    AND (CAST(:request_id AS uuid) IS NULL OR r.request_id = CAST(:request_id AS uuid))
), payer_candidate AS (
  SELECT u.unit_id, p.tier, p.payer_unit_id, p.rule, p.article,
         cardinality(u.ancestors) - array_position(u.ancestors, p.unit_id) AS distance, u.during * p.during AS during
  FROM broker.unit_period u
  JOIN broker.payer p ON p.unit_id = ANY (u.ancestors) AND p.during && u.during
  WHERE u.unit_id IN (SELECT unit_id FROM used)
), payer_at AS MATERIALIZED (
  SELECT unit_id, tier, payer_unit_id, rule, article,
         unnest(tstzmultirange(during) - coalesce(nearer, tstzmultirange())) AS during
  FROM (SELECT *, range_agg(during) OVER (PARTITION BY unit_id, tier ORDER BY distance
                                          RANGE UNBOUNDED PRECEDING EXCLUDE GROUP) AS nearer
        FROM payer_candidate) AS ranked
), price_candidate AS (
  SELECT w.sub_cloud_id, w.meter, p.id, p.price_cny, p.per, p.during, CAST(p.sub_cloud_id IS NULL AS int) AS distance
  FROM (SELECT DISTINCT sub_cloud_id, meter FROM used) AS w
  JOIN broker.tariff_price p
    ON p.meter = w.meter AND (p.sub_cloud_id = w.sub_cloud_id OR p.sub_cloud_id IS NULL) AND NOT isempty(p.during)
), price_at AS MATERIALIZED (
  SELECT sub_cloud_id, meter, id, price_cny, per,
         unnest(tstzmultirange(during) - coalesce(nearer, tstzmultirange())) AS during
  FROM (SELECT *, range_agg(during) OVER (PARTITION BY sub_cloud_id, meter ORDER BY distance
                                          RANGE UNBOUNDED PRECEDING EXCLUDE GROUP) AS nearer
        FROM price_candidate) AS ranked
), line AS (
  SELECT u.month_start, u.month_seconds, y.payer_unit_id, u.unit_id, u.resource_id, u.sub_cloud_id, u.meter,
         p.id AS tariff_price_id, p.price_cny, p.per,
         string_agg(DISTINCT y.rule, ' + ') AS payer_rule,
         coalesce(string_agg(DISTINCT nullif(y.article, ''), ' + '), '') AS article,
         sum(u.quantity * (extract(epoch FROM upper(cut.during)) - extract(epoch FROM lower(cut.during))))
           AS quantity_seconds
  FROM used u
  JOIN price_at p ON p.sub_cloud_id = u.sub_cloud_id AND p.meter = u.meter AND p.during && u.during
  JOIN payer_at y ON y.unit_id = u.unit_id AND y.tier = u.tier AND y.during && (u.during * p.during)
  CROSS JOIN LATERAL (SELECT u.during * p.during * y.during AS during) AS cut
  GROUP BY u.month_start, u.month_seconds, y.payer_unit_id, u.unit_id, u.resource_id, u.sub_cloud_id, u.meter,
           p.id, p.price_cny, p.per
), fraction AS (
  SELECT *, price_cny * 100 * quantity_seconds AS numerator,
         CASE per WHEN 'hour' THEN 3600 ELSE month_seconds END AS denominator
  FROM line
), rated AS MATERIALIZED (
  SELECT *, div(numerator, denominator)
            + CASE WHEN 2 * mod(numerator, denominator) > denominator
                     OR (2 * mod(numerator, denominator) = denominator AND mod(div(numerator, denominator), 2) = 1)
                   THEN 1 ELSE 0 END AS amount_fen
  FROM fraction
), due AS (
  SELECT month_start, resource_id, meter,
         sum(quantity * (extract(epoch FROM upper(during)) - extract(epoch FROM lower(during)))) AS quantity_seconds
  FROM used GROUP BY month_start, resource_id, meter
), got AS (
  SELECT month_start, resource_id, meter, sum(quantity_seconds) AS quantity_seconds
  FROM rated GROUP BY month_start, resource_id, meter
), gap AS MATERIALIZED (
  SELECT d.month_start, d.resource_id, d.meter,
         d.quantity_seconds - coalesce(g.quantity_seconds, 0) AS quantity_seconds,
         CASE WHEN EXISTS (
           SELECT FROM used u
           WHERE u.month_start = d.month_start AND u.resource_id = d.resource_id AND u.meter = d.meter
             AND NOT u.during <@ coalesce((SELECT range_agg(p.during) FROM price_at p
                                           WHERE p.sub_cloud_id = u.sub_cloud_id AND p.meter = u.meter),
                                          tstzmultirange())
         ) THEN 'price' ELSE 'payer' END AS missing
  FROM due d LEFT JOIN got g USING (month_start, resource_id, meter)
  WHERE d.quantity_seconds <> coalesce(g.quantity_seconds, 0)
)
"""

RATE = (
    _RATING
    + """
SELECT month_start, payer_unit_id, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id, price_cny, per,
       payer_rule, article, quantity_seconds, amount_fen, numerator, denominator, NULL AS missing
FROM rated WHERE CAST(:payer_unit_id AS uuid) IS NULL OR payer_unit_id = CAST(:payer_unit_id AS uuid)
UNION ALL
SELECT month_start, NULL, NULL, resource_id, NULL, meter, NULL, NULL, NULL,
       NULL, NULL, quantity_seconds, NULL, NULL, NULL, missing
FROM gap
ORDER BY month_start, payer_unit_id, resource_id, meter, tariff_price_id
"""
)
"""Rated lines, then (``missing`` set) the gaps."""

# The first twelve digits of an id are the time in milliseconds, the thirteenth is the version, the rest is random.
_UUID7 = (
    "CAST(lpad(to_hex(CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)), 12, '0') || '7'"
    " || substr(replace(CAST(gen_random_uuid() AS text), '-', ''), 14) AS uuid)"
)

ISSUE = (
    _RATING  # noqa: S608 - the only thing put in is our own constant
    + """, refused AS (
  SELECT resource_id, meter, missing AS reason FROM gap
  UNION ALL
  SELECT resource_id, meter, 'limit' FROM rated WHERE amount_fen > :limit_fen
), owed AS (
  SELECT payer_unit_id, sum(amount_fen) AS total_fen FROM rated GROUP BY payer_unit_id
  UNION ALL
  SELECT payer_unit_id, 0 FROM broker.statement
  WHERE month = :month AND payer_unit_id NOT IN (SELECT payer_unit_id FROM rated)
  GROUP BY payer_unit_id
), posted AS (
  INSERT INTO broker.statement (id, payer_unit_id, month, version, total_fen, covers_until, created_at)
  SELECT new_uuid7(), payer_unit_id, :month,
         (SELECT coalesce(max(version), 0) + 1 FROM broker.statement WHERE month = :month),
         total_fen, :until, :now
  FROM owed WHERE NOT EXISTS (SELECT FROM refused)
  RETURNING id, payer_unit_id, version, total_fen
), charged AS (
  INSERT INTO broker.charge (statement_id, usage_month, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id,
                             payer_rule, article, quantity_seconds, amount_fen)
  SELECT s.id, :month, r.unit_id, r.resource_id, r.sub_cloud_id, r.meter, r.tariff_price_id, r.payer_rule,
         r.article, r.quantity_seconds, r.amount_fen
  FROM rated r JOIN posted s USING (payer_unit_id)
  RETURNING statement_id
), counted AS (
  SELECT statement_id, count(*) AS lines FROM charged GROUP BY statement_id
)
SELECT p.id, p.payer_unit_id, p.version, p.total_fen, coalesce(c.lines, 0) AS lines, NULL AS meter, NULL AS reason
FROM posted p LEFT JOIN counted c ON c.statement_id = p.id
UNION ALL
(SELECT resource_id, NULL, NULL, NULL, NULL, meter, reason FROM refused LIMIT 20)
"""
).replace("new_uuid7()", _UUID7)
"""Writes statements and charges as the month's next version and returns them; or, with anything refused, only that."""
