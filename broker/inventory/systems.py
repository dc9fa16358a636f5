"""Reads the register of information systems: lists, one system with its revisions, proposals, how the total went.

Called by: the API, the console, the command line, the import. Must not: change anything.

Who sees what: one's own tree; an office with a duty on a cloud also the units that ordinarily use that cloud, and every
system where that cloud is the main one: the Bureau and the Center keep the whole list (Art. 26, 28).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, exists, func, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, aliased

from broker.catalog.models import HomeCloud, SubCloud, SubCloudAuthority
from broker.db.base import AnyRow, AnySelect
from broker.errors import Invalid, NotFound, Problem
from broker.inventory.models import InformationSystem, Resource, SystemProposal, SystemRevision
from broker.lifecycle import Role
from broker.tenancy.models import Account, Unit, UnitPeriod
from broker.tenancy.repository import holds, unit_names, visible_units
from broker.tenancy.work import Work

_OFFICES = frozenset({Role.APPROVER, Role.ASSESSOR, Role.OPERATOR})
_LIVE = ("active", "stopped")


def visible(work: Work, column: InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    """A condition on a unit's column: the actor may see the systems of that unit."""
    actor = work.actor
    mine = visible_units(actor, column, work.now)
    offices = {actor.unit_id} if actor.roles & _OFFICES else set()
    offices |= {p.unit_id for role in _OFFICES for p in actor.deputy_for.get(role, ())}
    if actor.sees_everything or not offices:
        return mine
    duty = select(SubCloudAuthority.sub_cloud_id).where(
        SubCloudAuthority.unit_id.in_(offices), holds(SubCloudAuthority.during, work.now)
    )
    main = select(SubCloud.id).where(SubCloud.tier == "main", SubCloud.id.in_(duty))
    homes = select(func.array_agg(HomeCloud.unit_id, type_=ARRAY(Uuid))).where(
        HomeCloud.sub_cloud_id.in_(duty), holds(HomeCloud.during, work.now)
    )
    place = aliased(UnitPeriod)
    theirs = select(place.unit_id).where(
        holds(place.during, work.now), place.ancestors.overlap(homes.scalar_subquery())
    )
    return or_(mine, main.exists(), column.in_(theirs))


def _listing(work: Work) -> AnySelect:
    head = aliased(InformationSystem)
    other = aliased(InformationSystem)
    live = (
        select(func.count())
        .where(Resource.system_id == InformationSystem.id, Resource.state.in_(_LIVE))
        .correlate(InformationSystem)
        .scalar_subquery()
    )
    owner = (
        select(func.min(Account.login))
        .where(Account.person_id == InformationSystem.owner_person_id)
        .correlate(InformationSystem)
        .scalar_subquery()
    )
    return (
        select(
            InformationSystem,
            UnitPeriod.name.label("unit_name"),
            Unit.code.label("unit_code"),
            head.code.label("merged_into"),
            other.code.label("replaceable_by"),
            owner.label("owner"),
            live.label("resources"),
        )
        .join(Unit, Unit.id == InformationSystem.unit_id)
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == InformationSystem.unit_id) & holds(UnitPeriod.during, work.now))
        .outerjoin(head, head.id == InformationSystem.merged_into_id)
        .outerjoin(other, other.id == InformationSystem.replaceable_by_id)
        .where(visible(work, InformationSystem.unit_id))
    )


def listing(
    work: Work, *, state: str = "", unit: str = "", words: str = "", after: UUID | None = None, limit: int = 20
) -> list[AnyRow]:
    """A page of the register, newest first, in one statement.

    Rows of ``(InformationSystem, unit_name, unit_code, merged_into, replaceable_by, owner, resources)``: codes of the
    systems, the owner's login, how many resources are live. ``state``: ``in_use`` or ``ended``, else both; ``unit``: a
    code, with the units below; ``words``: part of name or code.
    """
    statement = _listing(work).order_by(InformationSystem.id.desc()).limit(limit)
    if state:
        is_null = InformationSystem.retired_at.is_(None)
        statement = statement.where(is_null if state == "in_use" else ~is_null)
    if unit:
        statement = statement.where(InformationSystem.unit_id.in_(_tree(work, unit)))
    if words:
        pattern = f"%{words.replace('%', '').replace('_', '').strip()}%"
        statement = statement.where(or_(InformationSystem.name.ilike(pattern), InformationSystem.code.ilike(pattern)))
    if after is not None:
        statement = statement.where(InformationSystem.id < after)
    return list(work.session.execute(statement).all())


def everything(work: Work) -> list[AnyRow]:
    """The whole register that the actor may see, by unit and code: what an export holds. Rows as ``listing``."""
    return list(work.session.execute(_listing(work).order_by(Unit.code, InformationSystem.code)).all())


def of_codes(work: Work, codes: Sequence[str]) -> list[AnyRow]:
    """The systems with these codes that the actor may see. Rows as ``listing``."""
    return list(work.session.execute(_listing(work).where(InformationSystem.code.in_(codes))).all())


def one(work: Work, system: str) -> AnyRow:
    """One system, by its id or code. Raises NotFound ``system.not_found``, also when the actor may not see it."""
    try:
        wanted = InformationSystem.id == UUID(system)
    except ValueError:
        wanted = InformationSystem.code == system
    found = work.session.execute(_listing(work).where(wanted)).first()
    if found is None:
        raise NotFound("system.not_found")
    return found


def is_seen(work: Work, system_id: UUID) -> bool:
    """Whether the actor may see a system with this id."""
    statement = select(exists().where(InformationSystem.id == system_id, visible(work, InformationSystem.unit_id)))
    return bool(work.session.scalar(statement))


def revisions(work: Work, system_id: UUID) -> Sequence[SystemRevision]:
    """What the register has said of a system, newest first."""
    statement = select(SystemRevision).where(SystemRevision.system_id == system_id)
    return work.session.scalars(statement.order_by(SystemRevision.version.desc())).all()


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose a system was on the register, from when to when (None: still, or from the first)."""

    unit_name: str
    since: datetime
    until: datetime | None


def owners(work: Work, said: Sequence[SystemRevision]) -> list[Owned]:
    """Whose a system was, newest first, out of what the register said of it (``revisions``)."""
    changes: list[tuple[UUID, datetime]] = []
    for revision in reversed(said):
        unit = UUID(revision.entry["unit_id"])
        if not changes or changes[-1][0] != unit:
            changes.append((unit, revision.at))
    names = unit_names(work.session, {unit for unit, _ in changes}, work.now)
    ends = [*(at for _, at in changes[1:]), None]
    return [Owned(names.get(unit, ""), since, until) for (unit, since), until in zip(changes, ends, strict=True)][::-1]


def merged_into(work: Work, system_id: UUID) -> Sequence[InformationSystem]:
    """The systems that ended by merging into this one."""
    statement = select(InformationSystem).where(InformationSystem.merged_into_id == system_id)
    return work.session.scalars(statement.order_by(InformationSystem.code)).all()


def proposals(work: Work, *, waiting: bool, limit: int = 100) -> list[AnyRow]:
    """New systems proposed for a reason (Art. 29), oldest first: rows of ``(SystemProposal, unit_name)``."""
    statement: AnySelect = (
        select(SystemProposal, UnitPeriod.name.label("unit_name"))
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == SystemProposal.unit_id) & holds(UnitPeriod.during, work.now))
        .where(visible(work, SystemProposal.unit_id))
        .order_by(SystemProposal.id if waiting else SystemProposal.id.desc())
        .limit(limit)
    )
    if waiting:
        statement = statement.where(SystemProposal.decision.is_(None))
    return list(work.session.execute(statement).all())


@dataclass(frozen=True, slots=True)
class Total:
    """How many systems there were at the end of a day, and what had come and gone since the one before."""

    day: date
    total: int
    added: int
    ended: int


_TOTALS = text("""
WITH seen AS (
  SELECT coalesce(s.in_use_since, s.approved_on, (s.registered_at AT TIME ZONE 'Asia/Shanghai')::date) AS came,
    (s.retired_at AT TIME ZONE 'Asia/Shanghai')::date AS went
  FROM broker.information_system s WHERE s.id = ANY(:ids)
)
SELECT d.day,
  (SELECT count(*) FROM seen WHERE came <= d.day AND (went IS NULL OR went > d.day)) AS total,
  (SELECT count(*) FROM seen WHERE came <= d.day AND came > d.before) AS added,
  (SELECT count(*) FROM seen WHERE went <= d.day AND went > d.before) AS ended
FROM unnest(CAST(:days AS date[]), CAST(:befores AS date[])) AS d(day, before) ORDER BY d.day
""")


def totals(work: Work, days: Sequence[date], unit: str = "") -> list[Total]:
    """How the number of systems went (Art. 29): at the end of each of ``days`` (ascending), for what the actor sees.

    A system counts from the day it came into use (else was approved, else registered) until the day it ended. ``unit``:
    only of this unit and those below. Raises Invalid ``unit.unknown``.
    """
    statement = select(InformationSystem.id).where(visible(work, InformationSystem.unit_id))
    if unit:
        statement = statement.where(InformationSystem.unit_id.in_(_tree(work, unit)))
    ids = list(work.session.scalars(statement))
    befores = [date(1, 1, 1), *days[:-1]]
    rows = work.session.execute(_TOTALS, {"ids": ids, "days": list(days), "befores": befores})
    return [Total(row.day, row.total, row.added, row.ended) for row in rows]


def month_ends(until: date, months: int) -> list[date]:
    """The last days of the months before ``until``, and ``until`` itself: ``months`` days in all."""
    out = [until]
    for _ in range(months - 1):
        out.append(date.fromordinal(out[-1].replace(day=1).toordinal() - 1))
    return out[::-1]


def units_with_systems(work: Work) -> list[AnyRow]:
    """Units that have systems in use and that the actor may see, most first: rows of ``(code, name, systems)``."""
    statement: AnySelect = (
        select(Unit.code, UnitPeriod.name, func.count().label("systems"))
        .join(InformationSystem, InformationSystem.unit_id == Unit.id)
        .join(UnitPeriod, (UnitPeriod.unit_id == Unit.id) & holds(UnitPeriod.during, work.now))
        .where(InformationSystem.retired_at.is_(None), visible(work, InformationSystem.unit_id))
        .group_by(Unit.code, UnitPeriod.name)
        .order_by(func.count().desc(), Unit.code)
    )
    return list(work.session.execute(statement).all())


def _tree(work: Work, unit: str) -> AnySelect:
    top = work.session.scalar(select(Unit.id).where(Unit.code == unit))
    if top is None:
        raise Invalid([Problem("unit.unknown", "unit")])
    return select(UnitPeriod.unit_id).where(holds(UnitPeriod.during, work.now), UnitPeriod.ancestors.contains([top]))
