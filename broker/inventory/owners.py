"""Resources go with their system to another unit, since a second: what they used until then the old unit's payer pays.

Called by: the register, when a system moves or is merged. Must not: split a period (size and owner have dates of their
own, and rating cuts one by the other), touch what is at a cloud, or give a unit what somebody is still working on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, text, update

from broker.errors import Conflict
from broker.inventory.models import InformationSystem, Resource
from broker.lifecycle import ResourceState
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
    if not system_ids:
        return {}
    rows = work.session.scalars(
        select(Resource)
        .where(Resource.system_id.in_(system_ids), Resource.state.not_in(_GONE))
        .order_by(Resource.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if unsettled := [r.number for r in rows if r.state not in _SETTLED]:
        raise Conflict("system.in_flight", what="、".join(unsettled[:_NAMED]))
    found = {}
    for system_id in system_ids:
        own = [r for r in rows if r.system_id == system_id]
        holds = frozenset(r.hold_id for r in own if r.hold_id is not None)
        found[system_id] = Belonging(tuple(r.id for r in own), holds)
    return found


def hand_over(work: Work, what: Belonging, system: InformationSystem) -> None:
    """What was locked belongs to ``system`` and its unit from this second on; what was there already stays as it is."""
    values = {"ids": list(what.resources), "unit": system.unit_id, "now": work.now}
    if not what.resources:
        return
    work.session.execute(_FIRST, values)
    work.session.execute(_END, values)
    work.session.execute(_NEXT, values)
    work.session.execute(
        update(Resource)
        .where(Resource.id.in_(what.resources))
        .values(unit_id=system.unit_id, system_id=system.id)
        .execution_options(synchronize_session="fetch")
    )
