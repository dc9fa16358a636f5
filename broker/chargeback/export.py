"""Writes a month as the two files that ``guiyun rate`` reads: an auditor recomputes it without this database.

Called by: ``guiyun bill export``. Must not: hold the month in memory, or write a float.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import bill, drawing, known, obstacles, repository
from broker.chargeback.facts import Reading
from broker.chargeback.problems import MOST
from broker.chargeback.rating_sql import EXPORT_COLUMNS, export_of
from broker.chargeback.values import Obstacle
from broker.chargeback.whole_files import together
from broker.pricing.months import Month
from broker.pricing.rules import charged_when_stopped

SPANS, TARIFF = "spans.csv", "tariff.yaml"

_PRICES = text("""
SELECT p.meter, c.code AS sub_cloud, p.operator, p.unit_class, p.term_months, p.price_cny, p.per, p.discount,
       p.free_quantity, p.charged_when_stopped,
       lower(p.during) AS valid_from, upper(p.during) AS valid_to
FROM broker.tariff_price p LEFT JOIN broker.sub_cloud c ON c.id = p.sub_cloud_id
WHERE p.side = 'charge' AND p.during && tstzrange(:start, :end)
ORDER BY p.meter, c.code NULLS FIRST, p.operator NULLS FIRST, p.unit_class NULLS FIRST, p.term_months, p.during
""")


_UNPAID = text("""
SELECT DISTINCT e.resource_id, e.meter, r.number, r.name
FROM pg_temp.exported e JOIN broker.resource r ON r.id = CAST(e.resource_id AS uuid)
WHERE e.payer_id IS NULL ORDER BY e.resource_id, e.meter
""")
_DROP_UNPAID = text("DELETE FROM pg_temp.exported WHERE payer_id IS NULL")


def export(session: Session, month: Month, until: datetime, folder: Path) -> int:
    """Write ``spans.csv`` and ``tariff.yaml`` for a month up to ``until`` into ``folder``; how many spans there are.

    A closed month is written as its close knew it, so that it rates to the closed lines whatever came since; an open
    one as it is known now. Raises Conflict ``month.facts_changed`` (``known.check``), ``month.before_books``, and
    Invalid with what ``obstacles`` names where usage of an open month has no payer: then nothing is written. Killed
    anywhere, both files are there or none.
    """
    drawing.be_patient(session)
    drawing.check_begun(drawing.books_of(session, month), month)
    close_id, until = known.closed_as(session, month), min(until, month.end)
    read: Callable[[str], str] = str
    if close_id is not None:
        known.recall(session, close_id)
        known.check(session, month, close_id)
        read, until = known.as_known, month.end
    with together(folder, (TARIFF, SPANS)) as made:
        return _write(session, month, until, read, made)


def _write(session: Session, month: Month, until: datetime, read: Callable[[str], str], folder: Path) -> int:
    columns = [name.strip() for name in EXPORT_COLUMNS.split(",")]
    session.execute(text("DROP TABLE IF EXISTS pg_temp.exported"))
    shape = ", ".join(f"{name} text" for name in columns)
    session.execute(text(f"CREATE TEMP TABLE exported ({shape}) ON COMMIT DROP"))
    reading = Reading(session, (month,), until)
    with repository.joined_by_hash(session):
        bill.keep_usage(session, "shown", reading, read)
        session.execute(text(export_of("shown")), reading.paid(reading.kept_homes("shown")))
    _leave_nothing_out(session, month, until)
    driver: Any = session.connection().connection.driver_connection
    query = f"COPY (SELECT {EXPORT_COLUMNS} FROM pg_temp.exported ORDER BY 1, 5, 7, 2) TO STDOUT (FORMAT csv, HEADER)"
    with folder.joinpath(SPANS).open("wb") as file, driver.cursor() as cursor, cursor.copy(query) as copy:
        for block in copy:
            file.write(block)
    count: int = session.execute(text("SELECT count(*) FROM pg_temp.exported")).scalar_one()
    rows = session.execute(_PRICES, {"start": month.start, "end": month.end})
    prices = [_price(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's own name for it
    folder.joinpath(TARIFF).write_text(
        yaml.safe_dump({"prices": prices}, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )
    return count


def _leave_nothing_out(session: Session, month: Month, until: datetime) -> None:
    """What has no payer is refused if it costs anything; what is free of charge (a stopped server's) needs none."""
    unpaid = session.execute(_UNPAID).all()
    if not unpaid:
        return
    named = {(UUID(row.resource_id), row.meter): row for row in unpaid}
    _, gaps = repository.rate(session, (month,), until, resource_ids=sorted({resource for resource, _ in named}))
    found = [
        Obstacle(gap.resource_id, gap.meter, gap.missing, row.number, row.name, month=month.first_day)
        for gap in gaps
        if (row := named.get((gap.resource_id, gap.meter))) is not None
    ]
    obstacles.refuse(found[:MOST], len(found))
    session.execute(_DROP_UNPAID)


def _price(row: Any) -> dict[str, Any]:
    """A price as the file says it: numbers as text, times in UTC, nothing that is as usual."""
    stopped = charged_when_stopped(row["meter"], said=row["charged_when_stopped"])
    entry: dict[str, Any] = {
        "meter": row["meter"],
        "price_cny": _plain(row["price_cny"]),
        "per": row["per"],
        # A price without a beginning has been valid as long as there are months.
        "valid_from": _time(row["valid_from"]) if row["valid_from"] else "1970-01-01T00:00:00Z",
        "charged_when_stopped": "true" if stopped else "false",
    }
    if row["valid_to"]:
        entry["valid_to"] = _time(row["valid_to"])
    for name in ("sub_cloud", "operator", "unit_class"):
        if row[name] is not None:
            entry[name] = row[name]
    if row["term_months"]:
        entry["term_months"] = str(row["term_months"])
    if row["discount"] != 1:
        entry["discount"] = _plain(row["discount"])
    if row["free_quantity"]:
        entry["free_quantity"] = _plain(row["free_quantity"])
    return entry


def _plain(number: Decimal) -> str:
    return f"{number:f}"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
