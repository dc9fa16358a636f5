"""SQL over statements, and the rows of the rating statement as values.

Called by: ``chargeback.service``. Must not: decide who may issue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from broker.chargeback.facts import Reading
from broker.chargeback.rating_sql import PAYER_TOTALS, RATE
from broker.chargeback.rules import epoch_seconds
from broker.chargeback.seen_sql import PART, STATEMENT
from broker.chargeback.values import ChargeRow, Gap, RatedLine, StatementRow
from broker.pricing.months import Month
from broker.pricing.values import Per

_RATE = text(RATE)
_PAYER_TOTALS = text(PAYER_TOTALS)
_BY_HASH = "SET LOCAL enable_nestloop = {0}; SET LOCAL enable_mergejoin = {0}; SET LOCAL enable_sort = {0}"
_RESOURCES = text("SELECT id FROM broker.resource WHERE request_id = :request_id")
_OFFICES = text("""
SELECT CAST(:payer_unit_id AS uuid) UNION
SELECT office_unit_id FROM broker.finance_office
WHERE payer_unit_id = CAST(:payer_unit_id AS uuid) AND during @> CAST(:now AS timestamptz)
""")
_FIRST_USE = text("""
SELECT min(s.start_at) FROM broker.usage_span s JOIN broker.resource r ON r.id = s.resource_id
WHERE r.request_id = :request_id
""")
# Finance acts for the payer whose office its very unit is, or that its unit is itself. Other finance stands below the
# nearest unit that pays for anything or once did (where a city's time as a payer has run out, its own keep its bills,
# and do not become the region's), and sees a part of that payer's bill: the county's on the way, else what is below.
_FINANCE_SCOPE = text("""
WITH line AS (
  SELECT a.unit_id, a.depth FROM broker.unit_period u
  CROSS JOIN LATERAL unnest(u.ancestors) WITH ORDINALITY AS a(unit_id, depth)
  WHERE u.unit_id = :unit_id AND u.during @> CAST(:now AS timestamptz)
), payer AS (
  SELECT l.unit_id, l.depth FROM line l
  WHERE EXISTS (SELECT FROM broker.payer p
                WHERE p.payer_unit_id = l.unit_id AND p.during && tstzrange(NULL, CAST(:now AS timestamptz), '[]'))
  ORDER BY l.depth DESC LIMIT 1
), office AS (
  SELECT payer_unit_id AS unit_id FROM broker.finance_office
  WHERE office_unit_id = :unit_id AND during @> CAST(:now AS timestamptz)
), acting AS (
  SELECT unit_id, NULL AS part_depth, 1 AS place FROM office
  UNION ALL
  SELECT p.unit_id, CASE WHEN p.unit_id <> :unit_id THEN p.depth END, 2 FROM payer p
), part AS (
  SELECT l.unit_id FROM line l JOIN broker.unit k ON k.id = l.unit_id CROSS JOIN payer p
  WHERE l.depth > p.depth ORDER BY k.kind = 'county' DESC, l.depth LIMIT 1
)
SELECT a.unit_id,
       a.part_depth IS NULL AND EXISTS (
         SELECT FROM broker.unit_period r WHERE r.unit_id = a.unit_id AND r.during @> CAST(:now AS timestamptz)
           AND cardinality(r.ancestors) = 1) AS whole_region,
       CASE WHEN a.part_depth IS NOT NULL THEN (SELECT unit_id FROM part) END AS part_unit_id
FROM acting a ORDER BY a.place LIMIT 1
""")

# A statement's payer is placed in the tree as it stood in the time that the statement covers: a reorganisation hides
# nothing old.
_STATEMENTS = text(f"""
SELECT s.id, s.payer_unit_id, coalesce(n.name, u.code), s.month, s.version,
       s.version = (SELECT max(version) FROM broker.statement o WHERE o.month = s.month) AS latest,
       s.total_fen, s.covers_until, s.created_at, CAST(:part_unit_id AS uuid) IS NOT NULL AS part,
       CASE WHEN s.close_id IS NULL THEN 'interim' WHEN m.reopened_at IS NULL THEN 'closed' ELSE 'reopened' END
FROM {STATEMENT} s
JOIN broker.unit u ON u.id = s.payer_unit_id
LEFT JOIN broker.month_close m ON m.id = s.close_id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p WHERE p.unit_id = s.payer_unit_id AND lower(p.during) < s.covers_until
  ORDER BY lower(p.during) DESC LIMIT 1
) AS n ON true
WHERE (:everything OR EXISTS (
    SELECT FROM broker.unit_period p
    WHERE p.unit_id = s.payer_unit_id AND p.ancestors @> ARRAY[CAST(:root_unit_id AS uuid)]
      AND p.during && tstzrange(CAST(s.month AS timestamp) AT TIME ZONE 'Asia/Shanghai', s.covers_until)
  ))
  AND (CAST(:id AS uuid) IS NULL OR s.id = CAST(:id AS uuid))
  AND (CAST(:month AS date) IS NULL OR s.month = CAST(:month AS date))
  AND (CAST(:payer_unit_id AS uuid) IS NULL OR s.payer_unit_id = CAST(:payer_unit_id AS uuid))
  AND (CAST(:before AS uuid) IS NULL OR s.id < CAST(:before AS uuid))
  AND (NOT :only_latest OR s.version = (SELECT max(version) FROM broker.statement o WHERE o.month = s.month))
ORDER BY s.id DESC
LIMIT CAST(:limit AS int)
""")  # noqa: S608 - our own constants

_CHARGES = text(f"""
SELECT c.id, c.usage_month, c.unit_id, coalesce(n.name, u.code) AS unit_name, c.resource_id,
       r.number AS resource_number, r.name AS resource_name, c.sub_cloud_id, k.name AS sub_cloud_name, c.meter,
       c.quantity_seconds, c.free_seconds, t.price_cny, t.discount, t.per, t.version AS tariff_version, c.payer_rule,
       c.article, c.amount_fen, coalesce(a.reason, '') AS adjustment_reason
FROM broker.charge c
JOIN broker.statement s ON s.id = c.statement_id
JOIN broker.resource r ON r.id = c.resource_id
JOIN broker.sub_cloud k ON k.id = c.sub_cloud_id
JOIN broker.tariff_price t ON t.id = c.tariff_price_id
JOIN broker.unit u ON u.id = c.unit_id
LEFT JOIN broker.adjustment a ON a.id = c.adjustment_id
LEFT JOIN LATERAL (
  SELECT name FROM broker.unit_period p WHERE p.unit_id = c.unit_id AND lower(p.during) < s.covers_until
  ORDER BY lower(p.during) DESC LIMIT 1
) AS n ON true
WHERE c.statement_id = :id AND {PART}
ORDER BY r.number, c.meter, lower(t.during), c.id
""")  # noqa: S608 - our own constants


def rate(
    session: Session,
    months: Sequence[Month],
    until: datetime,
    *,
    payer_unit_id: UUID | None = None,
    resource_ids: Sequence[UUID] | None = None,
) -> tuple[tuple[RatedLine, ...], tuple[Gap, ...]]:
    """Usage of ``months`` up to ``until``, rated, of one payer or some resources or all."""
    reading = Reading(session, months, until, resource_ids)
    given = reading.given(reading.homes())
    rows = session.execute(_RATE, reading.usage | given | {"payer_unit_id": payer_unit_id}).all()
    by_start = {epoch_seconds(month.start): month for month in months}
    lines = tuple(_line(by_start[row.month_s], row) for row in rows if row.missing is None)
    return lines, tuple(_gap(by_start[row.month_s], row) for row in rows if row.missing is not None)


@contextmanager
def joined_by_hash(session: Session) -> Iterator[None]:
    """For a whole month: PostgreSQL takes the parts of the statement for a few rows each, and would loop or sort."""
    session.execute(text(_BY_HASH.format("off")))
    yield
    session.execute(text(_BY_HASH.format("on")))


def sums(session: Session, months: Sequence[Month]) -> dict[UUID, int]:
    """What each payer would owe for some months together, were what is running to run to the end of the last."""
    reading = Reading(session, months, max(month.end for month in months))
    given = reading.given(reading.homes())
    with joined_by_hash(session):
        rows = session.execute(_PAYER_TOTALS, reading.usage | given)
        return {row.payer_unit_id: int(row.total_fen) for row in rows}


def resources_of(session: Session, request_id: UUID) -> list[UUID]:
    """The resources of a request."""
    return list(session.scalars(_RESOURCES, {"request_id": request_id}))


def hold_closes(session: Session) -> bool:
    """Whether no month is being closed; none begins to be until the transaction ends. Waits for nobody."""
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock_shared(hashtext('broker.month_close'))")))


def first_use(session: Session, request_id: UUID) -> datetime | None:
    """When the first resource of a request began to be metered."""
    found: datetime | None = session.execute(_FIRST_USE, {"request_id": request_id}).scalar_one()
    return found


def finance_scope(session: Session, unit_id: UUID | None, now: datetime) -> tuple[UUID | None, bool, UUID | None]:
    """Whose tree the finance people of ``unit_id`` see, whether that is the whole region, and the part of it if any."""
    row = session.execute(_FINANCE_SCOPE, {"unit_id": unit_id, "now": now}).one_or_none()
    return (None, False, None) if row is None else (row.unit_id, row.whole_region, row.part_unit_id)


def finance_units(session: Session, payer_unit_id: UUID, now: datetime) -> list[UUID]:
    """The units whose finance people act for a payer: its own, and its offices."""
    return sorted(session.scalars(_OFFICES, {"payer_unit_id": payer_unit_id, "now": now}))


def statements(
    session: Session,
    seen: Mapping[str, Any],
    *,
    statement_id: UUID | None = None,
    month: date | None = None,
    payer_unit_id: UUID | None = None,
    before: UUID | None = None,
    only_latest: bool = False,
    limit: int = 1,
) -> tuple[StatementRow, ...]:
    """Statements that are seen (``access.Scope.parameters``), newest first; totals are of the lines that are seen."""
    rows = session.execute(
        _STATEMENTS,
        {
            **seen,
            "id": statement_id,
            "month": month,
            "payer_unit_id": payer_unit_id,
            "before": before,
            "only_latest": only_latest,
            "limit": limit,
        },
    )
    return tuple(StatementRow(*row) for row in rows)


def charges(session: Session, statement_id: UUID, seen: Mapping[str, Any]) -> tuple[ChargeRow, ...]:
    """A statement's lines that are seen with their names, by resource, meter and time."""
    rows = session.execute(_CHARGES, {"id": statement_id, "part_unit_id": seen["part_unit_id"]}).mappings()
    return tuple(ChargeRow(**{**row, "per": Per(row["per"])}) for row in rows)


def _line(month: Month, row: Row[Any]) -> RatedLine:
    return RatedLine(
        month=month,
        payer_unit_id=row.payer_unit_id,
        unit_id=row.unit_id,
        resource_id=row.resource_id,
        sub_cloud_id=row.sub_cloud_id,
        meter=row.meter,
        tariff_price_id=row.tariff_price_id,
        price_cny=row.price_cny,
        per=Per(row.per),
        payer_rule=row.payer_rule,
        article=row.article,
        quantity_seconds=row.quantity_seconds,
        amount_fen=int(row.amount_fen),
        exact_fen=Fraction(row.numerator) * Fraction(1, int(row.denominator)),
    )


def _gap(month: Month, row: Row[Any]) -> Gap:
    return Gap(month, row.resource_id, row.meter, row.quantity_seconds, row.missing)
