"""SQL of usage that comes by file: what an import looks at, and what it writes.

Called by: ``metering.usage_import``, ``metering.usage_rows``. Must not: decide whether a line is right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, text, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.db.base import new_id
from broker.metering.models import OneOffItem, ResourceTerm, UsageRecord
from broker.metering.usage_lines import Fact

LOCK = text("SELECT pg_advisory_xact_lock(hashtext('broker.usage_import'))")
"""One import writes at a time: two files about one resource are looked at one after the other."""

# Who meters (Art. 17, delivery): the unit that delivers for the resource's cloud.
_MINE = """
(:everything OR EXISTS (
  SELECT FROM broker.sub_cloud_authority a
  WHERE a.sub_cloud_id = r.sub_cloud_id AND a.duty = 'deliver' AND a.unit_id = CAST(:unit_id AS uuid)
    AND a.during @> CAST(:now AS timestamptz)))
"""

_RESOURCES = text(f"""
SELECT r.id, r.number, r.name, min(lower(p.during)) AS since,
       CASE WHEN bool_or(upper_inf(p.during)) THEN NULL ELSE max(upper(p.during)) END AS until
FROM broker.resource r LEFT JOIN broker.resource_period p ON p.resource_id = r.id
WHERE (r.number = ANY (:names) OR CAST(r.id AS text) = ANY (:names)) AND {_MINE}
GROUP BY r.id
""")  # noqa: S608 - our own constant

_HOLD = text("""
SELECT FROM broker.resource WHERE number = ANY (:names) OR CAST(id AS text) = ANY (:names) ORDER BY id FOR SHARE
""")
"""Nobody gives these back until the import is through; who is giving one back now is waited for."""

_METERS = text("""
SELECT meter, bool_or(per = 'once') AS once, bool_or(per <> 'once') AS by_time
FROM broker.tariff_price WHERE side = 'charge' AND meter = ANY (:meters) GROUP BY meter
""")

_ROWS = {
    "records": """SELECT u.id, u.resource_id, r.number, r.name, u.meter, u.quantity, lower(u.during) AS start_at,
                         upper(u.during) AS end_at, u.state, '' AS note FROM broker.usage_record u""",
    "items": """SELECT u.id, u.resource_id, r.number, r.name, u.meter, u.quantity, u.at AS start_at,
                       CAST(NULL AS timestamptz) AS end_at, 'active' AS state, u.note FROM broker.one_off_item u""",
    "terms": """SELECT u.id, u.resource_id, r.number, r.name, '' AS meter, u.term_months AS quantity,
                       lower(u.during) AS start_at, upper(u.during) AS end_at, 'active' AS state, '' AS note
                FROM broker.resource_term u""",
}
_OF = {kind: text(f"{rows} JOIN broker.resource r ON r.id = u.resource_id WHERE u.resource_id = ANY (:ids)")
       for kind, rows in _ROWS.items()}  # fmt: skip
_ALL = {
    kind: text(f"""{rows} JOIN broker.resource r ON r.id = u.resource_id
WHERE {_MINE} AND (:number = '' OR r.number = :number) ORDER BY r.number, meter, start_at""")
    for kind, rows in _ROWS.items()
}

# Metering ends with the resource: what is beside its size ends at the same instant.
_END = tuple(
    text(f"""
UPDATE broker.{table} SET during = tstzrange(lower(during),
  greatest(date_trunc('second', CAST(:at AS timestamptz)), lower(during) + interval '1 second'))
WHERE resource_id = ANY (CAST(:ids AS uuid[])) AND upper_inf(during)
""")  # noqa: S608 - our own constants
    for table in ("usage_record", "resource_term")
)

# What ended at a last reading, which is what closed the last period, goes on beside it when the resource stays.
_GO_ON = tuple(
    text(f"""
INSERT INTO broker.{table} (id, resource_id, {columns}, import_id, during)
SELECT gen_random_uuid(), u.resource_id, {values}, u.import_id, tstzrange(
  CASE WHEN r.error_code = 'resource.lost'
       THEN greatest(date_trunc('second', CAST(:at AS timestamptz)), upper(u.during)) ELSE upper(u.during) END, NULL)
FROM broker.{table} u JOIN broker.resource r ON r.id = u.resource_id
JOIN (SELECT resource_id, max(upper(during)) AS at FROM broker.resource_period GROUP BY resource_id) l
  ON l.resource_id = r.id
WHERE r.id = ANY (CAST(:ids AS uuid[])) AND r.state = 'releasing'
  AND upper(u.during) = greatest(date_trunc('second', l.at), lower(u.during) + interval '1 second')
  AND NOT EXISTS (SELECT FROM broker.{table} o WHERE o.resource_id = u.resource_id {same} AND o.during >> u.during)
""")  # noqa: S608 - our own constants
    for table, columns, values, same in (
        ("usage_record", "meter, quantity, state", "u.meter, u.quantity, u.state", "AND o.meter = u.meter"),
        ("resource_term", "term_months", "u.term_months", ""),
    )
)

Rows = Sequence[Row[Any]]


def resources(session: Session, names: Collection[str], who: Mapping[str, Any]) -> Rows:
    """Resources by number or id that the actor meters, each with when it was in use (``until`` None: still)."""
    return session.execute(_RESOURCES, {"names": list(names), **who}).all()


def hold(session: Session, names: Collection[str]) -> None:
    """Keep the resources in use as they are until the transaction ends."""
    session.execute(_HOLD, {"names": list(names)})


def meters(session: Session, wanted: Collection[str]) -> dict[str, tuple[bool, bool]]:
    """Of each meter that any price names: whether one is charged once, whether one by time."""
    return {row.meter: (row.once, row.by_time) for row in session.execute(_METERS, {"meters": list(wanted)})}


def there(session: Session, kind: str, resource_ids: Collection[UUID]) -> Rows:
    """The rows of some resources."""
    return session.execute(_OF[kind], {"ids": list(resource_ids)}).all()


def every(session: Session, kind: str, number: str, who: Mapping[str, Any]) -> Rows:
    """The rows that the actor may see, of all resources or of one."""
    return session.execute(_ALL[kind], {"number": number, **who}).all()


def end(session: Session, resource_ids: Collection[UUID], at: datetime) -> None:
    """End the open records and terms of resources that are given back."""
    for statement in _END:
        session.execute(statement, {"ids": list(resource_ids), "at": at})


def go_on(session: Session, resource_ids: Collection[UUID], at: datetime) -> None:
    """Continue the records and terms that ended with a last reading of resources that stay after all."""
    for statement in _GO_ON:
        session.execute(statement, {"ids": list(resource_ids), "at": at})


def add(session: Session, kind: str, facts: Iterable[tuple[UUID, Fact]], import_id: UUID) -> None:
    """Write new rows."""
    rows = [{"id": new_id(), "resource_id": r, "import_id": import_id, **_columns(kind, fact)} for r, fact in facts]
    if rows:
        session.execute(insert(_TABLES[kind]), rows)


def change(session: Session, kind: str, facts: Iterable[tuple[UUID, Fact]]) -> None:
    """Change rows, by their ids; where a row begins never changes, so no order of these can make two overlap."""
    rows = [{"id": row_id, **_columns(kind, fact)} for row_id, fact in facts]
    if rows:
        session.execute(update(_TABLES[kind]), rows)


_TABLES: Mapping[str, Any] = {"records": UsageRecord, "items": OneOffItem, "terms": ResourceTerm}


def _columns(kind: str, fact: Fact) -> dict[str, Any]:
    if kind == "items":
        return {"meter": fact.meter, "quantity": fact.quantity, "at": fact.start, "note": fact.note}
    during = Range(fact.start, fact.end)
    if kind == "terms":
        return {"term_months": fact.quantity, "during": during}
    return {"meter": fact.meter, "quantity": fact.quantity, "state": fact.state, "during": during}
