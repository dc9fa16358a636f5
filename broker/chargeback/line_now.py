"""What a closed line comes to now: what the next close will have charged for it, and what was decided of it.

Called by: ``chargeback.disputes``, ``closing`` (its SQL). Must not: write.

A line is what a payer owes for a resource's meter under one price in one month. Of it stand on closed statements the
line itself, what late usage put right since, and adjustments; each has a row of its own, and a reopened month has rows
that nobody owes any more. So it is the sum of all rows of that line, not the one row that somebody points at.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import closing_sql, repository
from broker.errors import Conflict
from broker.pricing.months import Month

_LOCK = text(
    "SELECT pg_advisory_xact_lock(hashtext('broker.adjustment')),"
    " pg_try_advisory_xact_lock_shared(hashtext('broker.month_close')) AS free"
)

_NOW = text("""
WITH line AS (
  SELECT c.usage_month, s.payer_unit_id, c.resource_id, c.meter, c.tariff_price_id
  FROM broker.charge c JOIN broker.statement s ON s.id = c.statement_id WHERE c.id = :charge_id
), same AS (
  SELECT c.id, c.amount_fen, c.adjustment_id, m.reopened_at IS NULL AS standing,
         NOT EXISTS (SELECT FROM broker.month_close n WHERE n.month = s.month AND n.reopened_at IS NULL) AS opened
  FROM line l
  JOIN broker.statement s ON s.payer_unit_id = l.payer_unit_id AND s.month >= l.usage_month
  JOIN broker.month_close m ON m.id = s.close_id
  JOIN broker.charge c ON c.statement_id = s.id
   AND (c.resource_id, c.meter, c.tariff_price_id, c.usage_month)
     = (l.resource_id, l.meter, l.tariff_price_id, l.usage_month)
)
SELECT l.*, coalesce((SELECT sum(amount_fen) FROM same WHERE standing AND adjustment_id IS NULL), 0) AS charged_fen,
       coalesce((SELECT sum(amount_fen) FROM same WHERE standing AND adjustment_id IS NOT NULL), 0)
       + coalesce((SELECT sum(a.amount_fen) FROM same JOIN broker.adjustment a ON a.charge_id = same.id
                   WHERE (same.standing OR same.opened)
                     AND NOT EXISTS (SELECT FROM same b WHERE b.standing AND b.adjustment_id = a.id)), 0) AS decided_fen
FROM line l
""")


@dataclass(frozen=True, slots=True)
class LineNow:
    """Fen. ``rated_fen``: what usage comes to; ``decided_fen``: what people have decided of it, charged yet or not."""

    rated_fen: int
    decided_fen: int

    @property
    def owed_fen(self) -> int:
        return self.rated_fen + self.decided_fen


def line_now(session: Session, charge_id: int) -> LineNow:
    """The line of a charge as it stands, with usage that came late whether it was charged already or will be.

    Holds what it read until the transaction ends: nobody decides of a line meanwhile, and no month is closed.
    Raises Conflict ``month.closing`` while one is.
    """
    if not session.execute(_LOCK).one().free:
        raise Conflict("month.closing")
    row = session.execute(_NOW, {"charge_id": charge_id}).one()
    month = Month(row.usage_month.year, row.usage_month.month)
    waiting = session.execute(text(closing_sql.WAITING_CORRECTIONS)).all()
    rated = int(row.charged_fen)
    if any(closing_sql.touches(hint, month) for hint in waiting):
        # The next close rates that month again: as it will.
        lines, _ = repository.rate(session, (month,), month.end, resource_ids=[row.resource_id])
        key = (row.payer_unit_id, row.resource_id, row.meter, row.tariff_price_id)
        rated = sum(x.amount_fen for x in lines if (x.payer_unit_id, x.resource_id, x.meter, x.tariff_price_id) == key)
    return LineNow(rated, int(row.decided_fen))
