"""SQL over what many payers owe: totals and trends by payer, industry clouds by month, settlements.

Called by: ``chargeback.overviews``. Must not: decide who may see what, or rate anything.

Totals and trends read statements, sums by cloud ``statement_sum``: both are few. No page reads a month's lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from broker.chargeback.access import Scope
from broker.chargeback.seen_sql import STATEMENT

# A payer is seen in the tree as it stood in the time that the statement covers. The newest version of a month stands.
_STANDING = f"""
  FROM {STATEMENT} s
  WHERE s.version = (SELECT max(version) FROM broker.statement o WHERE o.month = s.month)
    AND (:everything OR EXISTS (
      SELECT FROM broker.unit_period p
      WHERE p.unit_id = s.payer_unit_id AND p.ancestors @> ARRAY[CAST(:root_unit_id AS uuid)]
        AND p.during && tstzrange(CAST(s.month AS timestamp) AT TIME ZONE 'Asia/Shanghai', s.covers_until)
    ))
"""  # noqa: S608 - our own constant

_PAYERS = text(
    f"""
WITH standing AS (SELECT s.* {_STANDING} AND s.month IN (:month, :before)),
this AS (SELECT * FROM standing WHERE month = :month),
earlier AS (SELECT * FROM standing WHERE month = :before)
SELECT coalesce(t.payer_unit_id, e.payer_unit_id) AS payer_unit_id, u.code, coalesce(n.name, u.code) AS name, u.kind,
       t.id AS statement_id, t.close_id, m.reopened_at, coalesce(t.total_fen, 0) AS total_fen,
       coalesce(e.total_fen, 0) AS before_fen
FROM this t
FULL JOIN earlier e USING (payer_unit_id)
JOIN broker.unit u ON u.id = coalesce(t.payer_unit_id, e.payer_unit_id)
LEFT JOIN broker.month_close m ON m.id = t.close_id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p
  WHERE p.unit_id = u.id AND lower(p.during) < coalesce(t.covers_until, e.covers_until)
  ORDER BY lower(p.during) DESC LIMIT 1
) AS n ON true
ORDER BY total_fen DESC, u.code
"""  # noqa: S608 - the part is our own constant
)

_TREND = text(
    f"""
SELECT s.payer_unit_id, (SELECT kind FROM broker.unit u WHERE u.id = s.payer_unit_id) AS kind, s.month, s.total_fen
{_STANDING} AND s.month BETWEEN :first AND :last
  AND (CAST(:payer_unit_id AS uuid) IS NULL OR s.payer_unit_id = CAST(:payer_unit_id AS uuid))
ORDER BY s.month, s.payer_unit_id
"""  # noqa: S608 - the part is our own constant
)

_MONTHS = text(f"SELECT DISTINCT s.month {_STANDING} ORDER BY s.month DESC LIMIT :limit")

_BY_CLOUD = text("""
SELECT c.sub_cloud_id, s.month, s.payer_unit_id, sum(c.amount_fen) AS amount_fen
FROM broker.statement s
JOIN broker.statement_sum c ON c.statement_id = s.id
JOIN broker.sub_cloud k ON k.id = c.sub_cloud_id
WHERE s.month BETWEEN :first AND :last AND k.tier IN ('main', 'industry')
  AND s.version = (SELECT max(version) FROM broker.statement o WHERE o.month = s.month)
GROUP BY 1, 2, 3
""")

_CLOUDS = text("""
SELECT k.id, k.name, o.operator, k.tier, k.unified_management
FROM broker.sub_cloud k
LEFT JOIN broker.sub_cloud_operator o ON o.sub_cloud_id = k.id AND o.during @> CAST(:now AS timestamptz)
WHERE tier IN ('main', 'industry') AND (retired_at IS NULL OR retired_at > :now) ORDER BY position
""")

_STEPS = text("""
SELECT DISTINCT ON (sub_cloud_id, year) sub_cloud_id, year, amount_fen FROM broker.funding_step
ORDER BY sub_cloud_id, year, version DESC
""")

# The Bureau decides for the main cloud (Art. 17(2)); it arranges what industry clouds cost (Art. 16(3)).
_BUREAU = text("""
SELECT EXISTS (
  SELECT FROM broker.sub_cloud_authority a JOIN broker.sub_cloud k ON k.id = a.sub_cloud_id
  JOIN broker.unit_period p ON p.unit_id = CAST(:unit_id AS uuid) AND p.during @> CAST(:now AS timestamptz)
  WHERE k.tier = 'main' AND a.duty = 'decide' AND a.during @> CAST(:now AS timestamptz)
    AND p.ancestors @> ARRAY[a.unit_id]
)
""")

_OPERATOR = text("""
SELECT operator FROM broker.role_grant
WHERE account_id = CAST(:account_id AS uuid) AND role = 'cloud_operator' AND operator IS NOT NULL
  AND during @> CAST(:now AS timestamptz)
""")

_SETTLEMENTS = text("""
SELECT t.id, m.month, m.version, t.operator, t.total_fen, m.reopened_at IS NOT NULL AS reopened,
       EXISTS (SELECT FROM broker.settlement_line l WHERE l.settlement_id = t.id) AS priced
FROM broker.settlement t JOIN broker.month_close m ON m.id = t.close_id
WHERE (CAST(:month AS date) IS NULL OR m.month = CAST(:month AS date))
  AND (CAST(:operator AS text) IS NULL OR t.operator = CAST(:operator AS text))
  AND (CAST(:id AS uuid) IS NULL OR t.id = CAST(:id AS uuid))
  AND (:every_version OR m.version = (SELECT max(version) FROM broker.month_close o WHERE o.month = m.month))
ORDER BY m.month DESC, m.version DESC, t.total_fen DESC, t.operator
LIMIT :limit
""")

_SETTLEMENT_LINES = text("""
SELECT l.usage_month, k.name AS sub_cloud_name, l.meter, l.quantity_seconds, t.price_cny, t.discount, t.per,
       t.version AS tariff_version, l.amount_fen
FROM broker.settlement_line l
JOIN broker.sub_cloud k ON k.id = l.sub_cloud_id
JOIN broker.tariff_price t ON t.id = l.tariff_price_id
WHERE l.settlement_id = :id
ORDER BY k.position, l.meter, l.usage_month, lower(t.during)
""")

Rows = Sequence[Row[Any]]


def payers(session: Session, seen: Scope, month: date, before: date) -> Rows:
    """What each payer that is seen owes for a month, and owed for the one before."""
    return session.execute(_PAYERS, _seen(seen) | {"month": month, "before": before}).all()


def trend(session: Session, seen: Scope, first: date, last: date, payer_unit_id: UUID | None = None) -> Rows:
    """Totals of one payer or all that are seen, by month."""
    wanted = {"first": first, "last": last, "payer_unit_id": payer_unit_id}
    return session.execute(_TREND, _seen(seen) | wanted).all()


def months(session: Session, seen: Scope, limit: int) -> list[date]:
    """First days of the months with statements, newest first."""
    return list(session.scalars(_MONTHS, _seen(seen) | {"limit": limit}))


def by_cloud(session: Session, first: date, last: date) -> Rows:
    """What the main cloud and the industry clouds cost, by month and payer."""
    return session.execute(_BY_CLOUD, {"first": first, "last": last}).all()


def clouds(session: Session, now: datetime) -> Rows:
    """The main cloud and the industry clouds that stand."""
    return session.execute(_CLOUDS, {"now": now}).all()


def steps(session: Session) -> Rows:
    """The ceilings of clouds outside unified management, the newest version of each year."""
    return session.execute(_STEPS).all()


def is_bureau(session: Session, unit_id: UUID | None, now: datetime) -> bool:
    """Whether a unit is, or belongs to, the one that decides for the main cloud."""
    return bool(session.scalar(_BUREAU, {"unit_id": unit_id, "now": now}))


def operator_of(session: Session, account_id: UUID | None, now: datetime) -> str | None:
    """The operator that an account's cloud-operator role is for."""
    found: str | None = session.scalar(_OPERATOR, {"account_id": account_id, "now": now})
    return found


def settlements(
    session: Session,
    *,
    month: date | None = None,
    operator: str | None = None,
    settlement_id: UUID | None = None,
    every_version: bool = False,
    limit: int = 200,
) -> Rows:
    """Settlements, newest month first."""
    wanted = {
        "month": month,
        "operator": operator,
        "id": settlement_id,
        "every_version": every_version,
        "limit": limit,
    }
    return session.execute(_SETTLEMENTS, wanted).all()


def settlement_lines(session: Session, settlement_id: UUID) -> Rows:
    """A settlement's lines, by sub-cloud and meter."""
    return session.execute(_SETTLEMENT_LINES, {"id": settlement_id}).all()


def _seen(seen: Scope) -> dict[str, Any]:
    return seen.parameters
