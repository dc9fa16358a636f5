"""What stops a month from being closed: read from the drawn bill, each by its code, with what an operator looks for.

Called by: ``chargeback.closing``, ``service``, ``export``. Must not: write, or let anything pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from broker.chargeback.bill_sql import ODD
from broker.chargeback.problems import MOST
from broker.chargeback.values import Obstacle
from broker.errors import Invalid, Problem
from broker.pricing.rules import LIMIT_FEN, TOTAL_LIMIT_FEN

CODES = {
    "price": "charge.price_missing",
    "payer": "charge.payer_missing",
    "once": "charge.once",
    "before": "charge.before_books",
    "limit": "charge.limit",
    "below": "charge.below_zero",
    "settlement": "settlement.price_missing",
    "statement": "statement.limit",
    "settled": "settlement.limit",
    "month": "month.limit",
}
"""Why something of a drawn bill cannot be, and its code."""

_FOUND = text(f"""
WITH found AS (
  SELECT coalesce(resource_id, sub_cloud_id) AS id, meter,
         CASE WHEN kind IN ('line', 'owed') THEN 'limit' ELSE kind END AS reason, usage_month, payer_unit_id,
         tariff_price_id, amount_fen, coalesce(operator, '') AS operator
  FROM pg_temp.bill_line WHERE {ODD} AND (kind <> 'owed' OR abs(amount_fen) > {LIMIT_FEN})
  UNION ALL
  SELECT payer_unit_id, '', 'statement', NULL, payer_unit_id, NULL, total_fen, ''
  FROM pg_temp.due WHERE abs(total_fen) > :total_limit
  UNION ALL
  SELECT NULL, '', 'month', NULL, NULL, NULL, sum(total_fen), ''
  FROM pg_temp.due HAVING abs(sum(total_fen)) > :total_limit AND max(abs(total_fen)) <= :total_limit
  UNION ALL
  SELECT CAST(min(CAST(k.id AS text)) AS uuid), '', 'settled', NULL, NULL, NULL, sum(b.amount_fen), b.operator
  FROM pg_temp.bill b JOIN broker.sub_cloud k ON k.id = b.sub_cloud_id
  WHERE b.kind = 'owed' AND {ODD} GROUP BY b.operator HAVING abs(sum(b.amount_fen)) > :total_limit
), shown AS (
  SELECT *, count(*) OVER () AS total FROM found
  ORDER BY reason, meter, id, usage_month, payer_unit_id, tariff_price_id, operator LIMIT :most
)
SELECT s.id, s.meter, s.reason, s.usage_month, s.amount_fen, s.total, s.operator,
       coalesce(r.number, k.code, u.code, '') AS number,
       coalesce(r.name, k.name, '') AS name, coalesce(p.name, u.code, '') AS payer, line.id AS line
FROM shown s
LEFT JOIN broker.resource r ON r.id = s.id
LEFT JOIN broker.sub_cloud k ON k.id = s.id
LEFT JOIN broker.unit u ON u.id = s.payer_unit_id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period n WHERE n.unit_id = u.id ORDER BY lower(n.during) DESC LIMIT 1
) AS p ON true
LEFT JOIN LATERAL (
  SELECT min(c.id) AS id FROM broker.statement t
  JOIN broker.month_close m ON m.id = t.close_id AND m.reopened_at IS NULL
  JOIN broker.charge c ON c.statement_id = t.id
   AND (c.resource_id, c.meter, c.tariff_price_id, c.usage_month) = (s.id, s.meter, s.tariff_price_id, s.usage_month)
  WHERE s.reason = 'below' AND t.payer_unit_id = s.payer_unit_id AND t.month >= s.usage_month
) AS line ON true
ORDER BY s.reason, s.meter, s.id, s.usage_month, s.payer_unit_id, s.tariff_price_id, s.operator
""")  # noqa: S608 - our own constants


def find(session: Session, most: int = MOST) -> tuple[tuple[Obstacle, ...], int]:
    """What of the drawn bill cannot be charged or settled: the first ``most``, and how many there are."""
    rows = session.execute(_FOUND, {"most": most, "total_limit": TOTAL_LIMIT_FEN}).all()
    return tuple(_obstacle(row) for row in rows), rows[0].total if rows else 0


def refuse(found: Sequence[Obstacle], total: int) -> None:
    """Raises Invalid with a problem for each, if there is any."""
    if found:
        raise Invalid([problem(one) for one in found], total=total)


def problem(one: Obstacle) -> Problem:
    """The obstacle as an error: ``field`` is what it is about, the parameters fill the sentence."""
    params: dict[str, object] = {"meter": one.meter, "number": one.number, "payer": one.payer}
    if one.month is not None:
        params["month"] = str(one.month)[:7]
    if one.amount_fen is not None:
        params["amount"] = f"{Decimal(one.amount_fen).scaleb(-2):,f}"
    if one.line is not None:
        params["line"] = one.line
    if one.operator:
        params["operator"] = one.operator
    return Problem(CODES[one.reason], "" if one.id is None else str(one.id), params=params)


def _obstacle(row: Row[Any]) -> Obstacle:
    return Obstacle(
        id=row.id,
        meter=row.meter,
        reason=row.reason,
        number=row.number,
        name=row.name,
        payer=row.payer,
        month=row.usage_month,
        amount_fen=None if row.amount_fen is None else int(row.amount_fen),
        line=row.line,
        operator=row.operator,
    )
