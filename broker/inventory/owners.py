"""Resources go with their system to another unit, since a second: what they used until then the old unit's payer pays.

Called by: the register, when a system moves or is merged. Must not: split a period (size and owner have dates of their
own, and rating cuts one by the other), touch what is at a cloud, or give a unit what somebody is still working on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.orm import Session

from broker.errors import Conflict
from broker.inventory.models import Resource, ResourceOwner
from broker.lifecycle import ResourceState
from broker.tenancy.repository import unit_names
from broker.tenancy.work import Work

_SETTLED = (ResourceState.ACTIVE.value, ResourceState.STOPPED.value)
_GONE = (ResourceState.UNDONE.value, ResourceState.RELEASED.value)
_NAMED = 10

# From the whole second that usage is counted from; two moves within one second follow each other by a second.
_SINCE = """
WITH asked AS (SELECT id FROM broker.resource WHERE id = ANY (CAST(:ids AS uuid[])) AND unit_id <> :unit),
last AS (
  SELECT a.id, greatest(date_trunc('second', CAST(:now AS timestamptz), 'UTC'),
                        lower(o.during) + interval '1 second') AS since
  FROM asked a LEFT JOIN broker.resource_owner o ON o.resource_id = a.id AND upper_inf(o.during)
)"""

_FIRST = text(f"""{_SINCE}
INSERT INTO broker.resource_owner (id, resource_id, unit_id, during)
SELECT gen_random_uuid(), r.id, r.unit_id, tstzrange(NULL, l.since)
FROM last l JOIN broker.resource r ON r.id = l.id
WHERE NOT EXISTS (SELECT FROM broker.resource_owner o WHERE o.resource_id = l.id)
""")  # noqa: S608 - our own constant

_END = text(f"""{_SINCE}
UPDATE broker.resource_owner o SET during = tstzrange(lower(o.during), l.since)
FROM last l WHERE l.id = o.resource_id AND upper_inf(o.during)
""")  # noqa: S608 - our own constant

_NEXT = text("""
INSERT INTO broker.resource_owner (id, resource_id, unit_id, during)
SELECT gen_random_uuid(), o.resource_id, :unit, tstzrange(max(upper(o.during)), NULL)
FROM broker.resource_owner o JOIN broker.resource r ON r.id = o.resource_id
WHERE r.id = ANY (CAST(:ids AS uuid[])) AND r.unit_id <> :unit
GROUP BY o.resource_id
""")


@dataclass(frozen=True, slots=True)
class Belonging:
    """What a system has, locked: its live resources, and the holds by which they are counted."""

    resources: tuple[UUID, ...]
    holds: frozenset[UUID]


def lock(work: Work, system_ids: Collection[UUID]) -> dict[UUID, Belonging]:
    """What the systems have, of all in one order, before anything of quotas is locked.

    Raises Conflict ``system.in_flight``: something of it is being assessed, delivered or taken back just now.
    """
    rows = _settled(work, Resource.system_id.in_(system_ids)) if system_ids else []
    return {each: _belonging([r for r in rows if r.system_id == each]) for each in system_ids}


def lock_of_unit(work: Work, unit_id: UUID) -> Belonging:
    """What a unit has, whatever it is for. Raises as ``lock``."""
    return _belonging(_settled(work, Resource.unit_id == unit_id))


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose a resource was, from when to when (None: from the first, still)."""

    unit_name: str
    since: datetime | None
    until: datetime | None


def history(session: Session, resource_id: UUID, *, now: datetime) -> list[Owned]:
    """Whose a resource was, newest first; empty for one that never went from a unit to another."""
    found = select(ResourceOwner.unit_id, ResourceOwner.during).where(ResourceOwner.resource_id == resource_id)
    rows = session.execute(found.order_by(func.lower(ResourceOwner.during).desc().nulls_last())).all()
    names = unit_names(session, {row.unit_id for row in rows}, now)
    return [Owned(names.get(row.unit_id, ""), row.during.lower, row.during.upper) for row in rows]


def _settled(work: Work, which: ColumnElement[bool]) -> Sequence[Resource]:
    rows = work.session.scalars(
        select(Resource)
        .where(which, Resource.state.not_in(_GONE))
        .order_by(Resource.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if unsettled := [r.number for r in rows if r.state not in _SETTLED]:
        raise Conflict("system.in_flight", what="、".join(unsettled[:_NAMED]))
    return rows


def _belonging(rows: Sequence[Resource]) -> Belonging:
    return Belonging(tuple(r.id for r in rows), frozenset(r.hold_id for r in rows if r.hold_id is not None))


def hand_over(work: Work, what: Belonging, unit_id: UUID, system: UUID | None = None) -> None:
    """What was locked belongs to the unit from this second on, and to a ``system`` if one is named.

    What was the unit's already stays as it is.
    """
    values = {"ids": list(what.resources), "unit": unit_id, "now": work.now}
    if not what.resources:
        return
    work.session.execute(_FIRST, values)
    work.session.execute(_END, values)
    work.session.execute(_NEXT, values)
    work.session.execute(
        update(Resource)
        .where(Resource.id.in_(what.resources))
        .values(unit_id=unit_id, **({} if system is None else {"system_id": system}))
        .execution_options(synchronize_session="fetch")
    )
