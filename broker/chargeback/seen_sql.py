"""Parts of SQL that show of statements what somebody may see: ``access.Scope.parameters`` fills them.

Called by: the statements of ``repository``, ``views_sql``, ``overviews_sql``, ``disputes``, ``adjustments``. Must not:
decide who sees what.
"""

from __future__ import annotations

_IN_PART = """EXISTS (
    SELECT FROM broker.unit_period h
    WHERE h.unit_id = c.unit_id AND h.ancestors @> ARRAY[CAST(:part_unit_id AS uuid)]
      AND h.during && tstzrange(
        CAST(c.usage_month AS timestamp) AT TIME ZONE 'Asia/Shanghai',
        (CAST(c.usage_month AS timestamp) + interval '1 month') AT TIME ZONE 'Asia/Shanghai'))"""

PART = f"(CAST(:part_unit_id AS uuid) IS NULL OR {_IN_PART})"
"""A line, or a sum of lines, ``c`` is seen: all, or those of units that stood below the part in the line's month."""

STATEMENT = f"""(
  SELECT s.id, s.payer_unit_id, s.month, s.version, s.close_id, s.covers_until, s.created_at,
         CASE WHEN CAST(:part_unit_id AS uuid) IS NULL THEN s.total_fen
              ELSE (SELECT CAST(coalesce(sum(c.amount_fen), 0) AS bigint) FROM broker.statement_sum c
                    WHERE c.statement_id = s.id AND {_IN_PART}) END AS total_fen
  FROM broker.statement s
  WHERE CAST(:part_unit_id AS uuid) IS NULL
     OR EXISTS (SELECT FROM broker.statement_sum c WHERE c.statement_id = s.id AND {_IN_PART})
)"""  # noqa: S608 - our own constants
"""Instead of ``broker.statement``: totals are those of the lines that are seen."""
