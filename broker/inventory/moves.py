"""Which systems came to a unit and which left it: moved by the Bureau, with their unit, or merged into another's.

Called by: the API, the console, the command line. Must not: change anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from broker.db.base import AnyRow, AnySelect
from broker.errors import Invalid, Problem
from broker.inventory.systems import visible
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.repository import holds, unit_names
from broker.tenancy.work import Work

# A revision that names another unit than the one before it, and the end of a system that went into another unit's.
_MOVES = text("""
WITH told AS (
  SELECT r.system_id, r.at, r.source, CAST(b.entry->>'unit_id' AS uuid) AS old,
         CAST(CASE WHEN r.source = 'end' THEN h.entry->>'unit_id' ELSE r.entry->>'unit_id' END AS uuid) AS new
  FROM broker.system_revision r
  JOIN broker.system_revision b ON b.system_id = r.system_id AND b.version = r.version - 1
  LEFT JOIN LATERAL (
    SELECT o.entry FROM broker.system_revision o
    WHERE o.system_id = CAST(r.entry->>'merged_into_id' AS uuid) AND o.at <= r.at ORDER BY o.version DESC LIMIT 1
  ) AS h ON true
  WHERE r.source IN ('move', 'end')
)
SELECT t.system_id, s.code, s.name, t.at, t.source, t.old, t.new FROM told t
JOIN broker.information_system s ON s.id = t.system_id
WHERE t.old <> t.new AND (t.old = ANY (CAST(:units AS uuid[])) OR t.new = ANY (CAST(:units AS uuid[])))
ORDER BY t.at DESC, s.code LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Move:
    """A system went from one unit to another. ``source``: move, or end (merged into a system of that unit)."""

    system_id: UUID
    code: str
    name: str
    at: datetime
    source: str
    old: str
    new: str


def destinations(work: Work) -> list[AnyRow]:
    """The units a system can go to: rows of ``(code, name)``."""
    statement: AnySelect = (
        select(Unit.code, UnitPeriod.name)
        .join(UnitPeriod, UnitPeriod.unit_id == Unit.id)
        .where(holds(UnitPeriod.during, work.now), UnitPeriod.merged_into_id.is_(None))
        .order_by(Unit.code)
    )
    return list(work.session.execute(statement).all())


def listing(work: Work, *, unit: str = "", limit: int = 100) -> list[Move]:
    """Who came and went, newest first: of all units that the actor sees, or of one (``unit``: its code).

    Raises Invalid ``unit.unknown``.
    """
    seen = select(Unit.id).where(visible(work, Unit.id))
    units = list(work.session.scalars(seen.where(Unit.code == unit) if unit else seen))
    if unit and not units:
        raise Invalid([Problem("unit.unknown", "unit")])
    rows = work.session.execute(_MOVES, {"units": units, "limit": limit}).all()
    names = unit_names(work.session, {each for row in rows for each in (row.old, row.new)}, work.now)
    return [Move(r.system_id, r.code, r.name, r.at, r.source, names.get(r.old, ""), names.get(r.new, "")) for r in rows]
