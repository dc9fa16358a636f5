"""Lists resources, as an actor may see them.

Called by: the API's and the console's lists. Must not: change anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud, SubCloudAuthority
from broker.db.base import AnyRow, AnySelect
from broker.errors import NotFound
from broker.inventory.models import InformationSystem, Resource, ResourcePeriod, ServerSnapshot
from broker.lifecycle import Role
from broker.tenancy.models import Unit, UnitPeriod
from broker.tenancy.repository import holds, unit_names, visible_units
from broker.tenancy.values import Actor

_AUTHORITIES = frozenset({Role.ASSESSOR, Role.OPERATOR, Role.CLOUD_OPERATOR})


def _visible(actor: Actor, now: datetime) -> ColumnElement[bool]:
    """Resources of the actor's unit tree, and those in sub-clouds that its unit delivers or assesses for."""
    mine = visible_units(actor, Resource.unit_id, now)
    if not actor.roles & _AUTHORITIES:
        return mine
    clouds = select(SubCloudAuthority.sub_cloud_id).where(
        SubCloudAuthority.unit_id == actor.unit_id,
        SubCloudAuthority.duty.in_(("assess", "deliver")),
        holds(SubCloudAuthority.during, now),
    )
    return or_(mine, Resource.sub_cloud_id.in_(clouds))


def visible(actor: Actor, now: datetime) -> AnySelect:
    """The resources an actor may see, with names: rows as those of ``resources``, for other rooms to join with."""
    return (
        select(
            Resource,
            UnitPeriod.name.label("unit_name"),
            SubCloud.code.label("sub_cloud"),
            SubCloud.name.label("sub_cloud_name"),
            InformationSystem.name.label("system_name"),
        )
        .join(SubCloud, SubCloud.id == Resource.sub_cloud_id)
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == Resource.unit_id) & holds(UnitPeriod.during, now))
        .outerjoin(InformationSystem, InformationSystem.id == Resource.system_id)
        .where(_visible(actor, now))
    )


def resources(
    session: Session,
    actor: Actor,
    *,
    now: datetime,
    states: Sequence[str] = (),
    kind: str = "",
    sub_cloud: str = "",
    request_id: UUID | None = None,
    after: UUID | None = None,
    limit: int = 20,
) -> list[AnyRow]:
    """A page of resources, newest first, in one statement.

    Rows of ``(Resource, unit_name, sub_cloud, sub_cloud_name, system_name)``.
    """
    statement = visible(actor, now).order_by(Resource.id.desc()).limit(limit)
    if states:
        statement = statement.where(Resource.state.in_(states))
    if kind:
        statement = statement.where(Resource.kind == kind)
    if sub_cloud:
        statement = statement.where(SubCloud.code == sub_cloud)
    if request_id is not None:
        statement = statement.where(Resource.request_id == request_id)
    if after is not None:
        statement = statement.where(Resource.id < after)
    return list(session.execute(statement).all())


def resource(session: Session, actor: Actor, resource_id: UUID, *, now: datetime) -> AnyRow:
    """One resource. Raises NotFound ``resource.not_found``, also when the actor may not see it."""
    found = session.execute(visible(actor, now).where(Resource.id == resource_id)).first()
    if found is None:
        raise NotFound("resource.not_found")
    return found


def in_use(session: Session, *, now: datetime, sub_cloud: str = "") -> list[AnyRow]:
    """Everything handed over and not released, whoever's it is, in one statement: what detection looks at.

    Of one sub-cloud, or of all.

    Rows of ``(Resource, unit_code, sub_cloud, system_code, mlps_level, since)``; ``since``: its first period's begin.
    """
    since = (
        select(ResourcePeriod.resource_id, func.min(func.lower(ResourcePeriod.during)).label("since"))
        .group_by(ResourcePeriod.resource_id)
        .subquery()
    )
    statement: AnySelect = (
        select(
            Resource,
            Unit.code.label("unit_code"),
            SubCloud.code.label("sub_cloud"),
            InformationSystem.code.label("system_code"),
            InformationSystem.mlps_level,
            since.c.since,
        )
        .join(Unit, Unit.id == Resource.unit_id)
        .join(SubCloud, SubCloud.id == Resource.sub_cloud_id)
        .join(since, since.c.resource_id == Resource.id)
        .outerjoin(InformationSystem, InformationSystem.id == Resource.system_id)
        .where(Resource.state.in_(("active", "stopped")), since.c.since <= now)
    )
    if sub_cloud:
        statement = statement.where(SubCloud.code == sub_cloud)
    return list(session.execute(statement).all())


_USED_BY = text("""
WITH pair AS (
    SELECT id, server_id AS user_id FROM broker.resource WHERE kind = 'volume' AND state IN ('active', 'stopped')
    UNION ALL
    SELECT network_id, id FROM broker.resource WHERE network_id IS NOT NULL
)
SELECT pair.id, bool_or(u.state IN ('planned', 'building', 'ready', 'active', 'stopped', 'releasing')) AS used,
       max(upper(p.during)) AS left_at
FROM pair LEFT JOIN broker.resource u ON u.id = pair.user_id
LEFT JOIN broker.resource_period p ON p.resource_id = u.id
GROUP BY pair.id
""")

_METERED = text("""
SELECT p.resource_id, p.state, m.meter, m.quantity FROM broker.resource_period p
CROSS JOIN LATERAL broker.meters_of(p) AS m
WHERE upper_inf(p.during) AND p.resource_id = ANY(CAST(:ids AS uuid[]))
""")


def used_by(session: Session) -> dict[UUID, tuple[bool, datetime | None]]:
    """Whether servers use a volume or a segment, and when the last of them was given back. One statement.

    A segment that no server ever stood on is not among them.
    """
    return {row.id: (bool(row.used), row.left_at) for row in session.execute(_USED_BY)}


def kept_snapshots(session: Session) -> frozenset[UUID]:
    """Our own images of servers, ordered and not removed: each is kept for something until a date."""
    return frozenset(session.scalars(select(ServerSnapshot.id).where(ServerSnapshot.removed_at.is_(None))))


def metered_now(session: Session, resource_ids: Iterable[UUID]) -> dict[UUID, tuple[str, dict[str, int]]]:
    """What resources are charged for just now: the period's state, and quantities by meter. One statement."""
    found: dict[UUID, tuple[str, dict[str, int]]] = {}
    for row in session.execute(_METERED, {"ids": list(resource_ids)}):
        found.setdefault(row.resource_id, (row.state, {}))[1][row.meter] = row.quantity
    return found


def node_names(session: Session, node_ids: Iterable[UUID | None], now: datetime) -> dict[UUID, str]:
    """What the nodes of the limit tree are called: units, and information systems with a node of their own."""
    wanted = {each for each in node_ids if each is not None}
    names = unit_names(session, wanted, now)
    rest = wanted - set(names)
    if rest:
        rows = session.execute(
            select(InformationSystem.id, InformationSystem.name).where(InformationSystem.id.in_(rest))
        )
        names |= {row.id: row.name for row in rows}
    return names


def system_id_of(session: Session, code: str) -> UUID:
    """The information system with a code. Raises NotFound ``system.unknown``."""
    found = session.scalar(select(InformationSystem.id).where(InformationSystem.code == code))
    if found is None:
        raise NotFound("system.unknown")
    return found
