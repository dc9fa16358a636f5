"""SQL over what was billed: one statement's lines and sums.

Called by: ``chargeback.statements`` and ``chargeback.overviews``. Must not: decide who may see what, or rate anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from broker.chargeback import line_operators
from broker.chargeback.access import Scope
from broker.chargeback.seen_sql import PART
from broker.chargeback.views import Axis, ExplainedLine, Mover, Standing, Sum

_FETCH = 2000
_FIELDS = tuple(field.name for field in fields(ExplainedLine))

# Names as they were in the time that the statement covers; the operator whose price it is, else who had the cloud in
# the month while the price held: of several, ``line_operators`` says whose time the line is of. The order is that of
# uq_charge_line, so that a page of a statement with millions of lines is read from the index and not sorted.
_LINES = f"""
SELECT c.id, c.usage_month, c.unit_id, u.code AS unit_code, coalesce(n.name, u.code) AS unit_name, c.resource_id,
       r.number AS resource_number, r.name AS resource_name, r.kind, coalesce(i.code, '') AS system_code,
       coalesce(i.name, '') AS system_name, k.code AS sub_cloud_code, k.name AS sub_cloud_name, k.tier,
       coalesce(t.operator, e.operator, o.operator) AS operator, coalesce(k.division_code, '') AS division_code,
       coalesce(d.name, '') AS division_name, c.meter,
       c.quantity_seconds, c.free_seconds, c.tariff_price_id, t.price_cny, t.discount, t.per,
       t.version AS tariff_version, t.source AS tariff_source, lower(t.during) AS price_from,
       upper(t.during) AS price_to, c.payer_rule, c.article, c.amount_fen, c.adjustment_id,
       coalesce(a.reason, '') AS adjustment_reason,
       c.sub_cloud_id, u.kind AS unit_class, s.covers_until, coalesce(o.operators, 1) AS operators
FROM broker.charge c
JOIN broker.statement s ON s.id = c.statement_id
JOIN broker.resource r ON r.id = c.resource_id
JOIN broker.sub_cloud k ON k.id = c.sub_cloud_id
JOIN broker.tariff_price t ON t.id = c.tariff_price_id
JOIN broker.unit u ON u.id = c.unit_id
LEFT JOIN broker.sub_cloud_operator e ON e.sub_cloud_id = c.sub_cloud_id AND e.during = tstzrange(NULL, NULL)
LEFT JOIN LATERAL (
  SELECT string_agg(operator, ' + ' ORDER BY lower(o.during) NULLS FIRST) AS operator, count(*) AS operators
  FROM broker.sub_cloud_operator o
  WHERE e.id IS NULL AND t.operator IS NULL AND o.sub_cloud_id = c.sub_cloud_id
    AND o.during && (t.during * tstzrange(
      CAST(c.usage_month AS timestamp) AT TIME ZONE 'Asia/Shanghai',
      (CAST(c.usage_month AS timestamp) + interval '1 month') AT TIME ZONE 'Asia/Shanghai'))
) AS o ON true
LEFT JOIN broker.information_system i ON i.id = r.system_id
LEFT JOIN broker.adjustment a ON a.id = c.adjustment_id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p WHERE p.unit_id = c.unit_id AND lower(p.during) < s.covers_until
  ORDER BY lower(p.during) DESC LIMIT 1
) AS n ON true
LEFT JOIN LATERAL (
  SELECT p.name FROM broker.unit w JOIN broker.unit_period p ON p.unit_id = w.id
  WHERE w.division_code = k.division_code AND w.kind IN ('region', 'city') AND lower(p.during) < s.covers_until
  ORDER BY lower(p.during) DESC LIMIT 1
) AS d ON true
WHERE c.statement_id = CAST(:statement_id AS uuid) AND {PART}
"""  # noqa: S608 - our own constants
_ORDER = " ORDER BY c.resource_id, c.meter, c.tariff_price_id, c.usage_month, c.id"
_AFTER = """
  AND (c.resource_id, c.meter, c.tariff_price_id, c.usage_month, c.id) >
      (SELECT resource_id, meter, tariff_price_id, usage_month, id FROM broker.charge WHERE id = :after)
"""
_FIRST_LINES = text(f"{_LINES}{_ORDER} LIMIT :limit")  # the parts are our own constants
_NEXT_LINES = text(f"{_LINES}{_AFTER}{_ORDER} LIMIT :limit")
_ALL_LINES = text(f"{_LINES}{_ORDER}")
_ONE_LINE = text(f"{_LINES} AND c.id = :id")

_SUMS = text(f"""
WITH line AS (
  SELECT c.statement_id = CAST(:statement_id AS uuid) AS current, c.system_id, c.meter, c.sub_cloud_id, c.unit_id,
         c.payer_rule, c.article, c.amount_fen AS fen, c.lines
  FROM broker.statement_sum c
  WHERE c.statement_id IN (CAST(:statement_id AS uuid), CAST(:previous_id AS uuid)) AND {PART}
), heading AS (
  SELECT 'system' AS axis, coalesce(CAST(system_id AS text), '') AS key, system_id AS id, current, fen, lines FROM line
  UNION ALL SELECT 'meter', meter, NULL, current, fen, lines FROM line
  UNION ALL SELECT 'cloud', CAST(sub_cloud_id AS text), sub_cloud_id, current, fen, lines FROM line
  UNION ALL SELECT 'unit', CAST(unit_id AS text), unit_id, current, fen, lines FROM line
  UNION ALL SELECT 'rule', payer_rule || '|' || article, NULL, current, fen, lines FROM line
), summed AS (
  SELECT axis, key, id, coalesce(sum(fen) FILTER (WHERE current), 0) AS amount_fen,
         coalesce(sum(fen) FILTER (WHERE NOT current), 0) AS before_fen,
         coalesce(sum(lines) FILTER (WHERE current), 0) AS lines
  FROM heading GROUP BY axis, key, id
)
SELECT x.axis, x.key, coalesce(i.name, k.name, n.name, x.key) AS name, x.amount_fen, x.before_fen, x.lines
FROM summed x
LEFT JOIN broker.information_system i ON x.axis = 'system' AND i.id = x.id
LEFT JOIN broker.sub_cloud k ON x.axis = 'cloud' AND k.id = x.id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p
  WHERE x.axis = 'unit' AND p.unit_id = x.id
    AND lower(p.during) < (SELECT covers_until FROM broker.statement WHERE id = CAST(:statement_id AS uuid))
  ORDER BY lower(p.during) DESC LIMIT 1
) AS n ON true
ORDER BY x.axis, x.amount_fen DESC, x.before_fen DESC, name
""")  # noqa: S608 - our own constants

# The issuer is the region: the root of the tree in which the payer stands.
_HEAD = text(f"""
SELECT u.code AS payer_code, w.code AS issuer_code, coalesce(q.name, w.code) AS issuer_name, s.close_id,
       m.reopened_at, (SELECT CAST(coalesce(sum(c.lines), 0) AS bigint) FROM broker.statement_sum c
                       WHERE c.statement_id = s.id AND {PART}) AS lines
FROM broker.statement s
JOIN broker.unit u ON u.id = s.payer_unit_id
LEFT JOIN broker.month_close m ON m.id = s.close_id
LEFT JOIN LATERAL (
  SELECT ancestors FROM broker.unit_period p WHERE p.unit_id = s.payer_unit_id AND lower(p.during) < s.covers_until
  ORDER BY lower(p.during) DESC LIMIT 1
) AS place ON true
LEFT JOIN broker.unit w ON w.id = coalesce(place.ancestors[1], u.id)
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p WHERE p.unit_id = w.id AND lower(p.during) < s.covers_until
  ORDER BY lower(p.during) DESC LIMIT 1
) AS q ON true
WHERE s.id = CAST(:statement_id AS uuid)
""")  # noqa: S608 - our own constants

# A resource that went from a unit to another may have lines of both: it is shown as the one's that had it last.
_MOVERS = text(f"""
WITH moved AS (
  SELECT x.*, r.number, r.name
  FROM (
    SELECT resource_id, coalesce(sum(amount_fen) FILTER (WHERE statement_id = CAST(:statement_id AS uuid)), 0)
             AS amount_fen,
           coalesce(sum(amount_fen) FILTER (WHERE statement_id = CAST(:previous_id AS uuid)), 0) AS before_fen
    FROM broker.charge c
    WHERE statement_id IN (CAST(:statement_id AS uuid), CAST(:previous_id AS uuid)) AND {PART}
    GROUP BY resource_id
  ) AS x
  JOIN broker.resource r ON r.id = x.resource_id
  WHERE x.amount_fen <> x.before_fen
  ORDER BY abs(x.amount_fen - x.before_fen) DESC, r.number
  LIMIT :limit
)
SELECT m.resource_id, m.number, m.name, coalesce(n.name, u.code) AS unit_name, m.amount_fen, m.before_fen
FROM moved m
CROSS JOIN LATERAL (
  SELECT c.unit_id FROM broker.charge c
  JOIN broker.statement s ON s.id = c.statement_id
  LEFT JOIN broker.resource_owner o
    ON o.resource_id = c.resource_id AND o.unit_id = c.unit_id AND lower(o.during) < s.covers_until
  WHERE c.resource_id = m.resource_id AND {PART}
    AND c.statement_id IN (CAST(:statement_id AS uuid), CAST(:previous_id AS uuid))
  ORDER BY s.id = CAST(:statement_id AS uuid) DESC, coalesce(lower(o.during), '-infinity') DESC, c.unit_id LIMIT 1
) AS had
JOIN broker.unit u ON u.id = had.unit_id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p WHERE p.unit_id = had.unit_id ORDER BY lower(p.during) DESC LIMIT 1
) AS n ON true
ORDER BY abs(m.amount_fen - m.before_fen) DESC, m.number
""")  # noqa: S608 - our own constants


def lines(
    session: Session, statement_id: UUID, seen: Scope, *, after: int | None, limit: int
) -> tuple[ExplainedLine, ...]:
    """A page of a statement's lines that are seen, by resource, meter and price version, after the line ``after``."""
    wanted = {"statement_id": statement_id, "limit": limit, **_part(seen)}
    if after is None:
        rows = session.execute(_FIRST_LINES, wanted)
    else:
        rows = session.execute(_NEXT_LINES, wanted | {"after": after})
    return tuple(_explained(session, rows.mappings().all()))


def every_line(session: Session, statement_id: UUID, seen: Scope) -> Iterator[ExplainedLine]:
    """All lines of a statement that are seen, fetched in portions: there may be millions."""
    wanted = {"statement_id": statement_id, **_part(seen)}
    with session.execute(_ALL_LINES, wanted, execution_options={"yield_per": _FETCH}) as rows:
        for part in rows.mappings().partitions():
            yield from _explained(session, part)


def one_line(session: Session, statement_id: UUID, line_id: int) -> ExplainedLine | None:
    """One line of a statement, for whoever may see it: the caller has checked that."""
    wanted = {"statement_id": statement_id, "id": line_id, "part_unit_id": None}
    return next(_explained(session, session.execute(_ONE_LINE, wanted).mappings().all()), None)


def sums(session: Session, statement_id: UUID, previous_id: UUID | None, seen: Scope) -> tuple[Sum, ...]:
    """The sums of a statement's lines that are seen by each axis beside those of an older one."""
    rows = session.execute(_SUMS, {"statement_id": statement_id, "previous_id": previous_id, **_part(seen)})
    return tuple(
        Sum(Axis(row.axis), row.key, row.name, int(row.amount_fen), int(row.before_fen), int(row.lines)) for row in rows
    )


def head(session: Session, statement_id: UUID, seen: Scope | None = None) -> Mapping[str, Any]:
    """``payer_code``, ``issuer_code``, ``issuer_name``, ``lines`` and ``standing`` of a statement that exists."""
    row = session.execute(_HEAD, {"statement_id": statement_id, **_part(seen)}).mappings().one()
    return {
        "payer_code": row["payer_code"],
        "issuer_code": row["issuer_code"],
        "issuer_name": row["issuer_name"],
        "lines": row["lines"],
        "standing": standing(row["close_id"], row["reopened_at"]),
    }


def movers(
    session: Session, statement_id: UUID, previous_id: UUID | None, seen: Scope, limit: int
) -> tuple[Mover, ...]:
    """The resources whose cost changed most between two statements."""
    wanted = {"statement_id": statement_id, "previous_id": previous_id, "limit": limit, **_part(seen)}
    rows = session.execute(_MOVERS, wanted)
    return tuple(
        Mover(r.resource_id, r.number, r.name, r.unit_name, int(r.amount_fen), int(r.before_fen)) for r in rows
    )


def standing(close_id: UUID | None, reopened_at: object) -> Standing:
    """Whether a statement is owed."""
    if close_id is None:
        return Standing.INTERIM
    return Standing.CLOSED if reopened_at is None else Standing.REOPENED


def _part(seen: Scope | None) -> dict[str, Any]:
    return {"part_unit_id": None if seen is None else seen.parameters["part_unit_id"]}


def _explained(session: Session, rows: Sequence[RowMapping]) -> Iterator[ExplainedLine]:
    named = line_operators.named(session, [row for row in rows if row.operators > 1])
    for row in rows:
        line = {name: row[name] for name in _FIELDS}
        yield ExplainedLine(**line | {"operator": named.get(row.id, row.operator)})
