"""Reads dedicated networks: the list with how far each is, and one with everything on record.

Called by: the API, the console, the command line, the import. Must not: change anything.

Who sees what: as with information systems (``inventory.systems``); finance also what lies in the tree of its payer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from broker.chargeback import access
from broker.db.base import AnyRow, AnySelect
from broker.dedicated import evidence, progress, rules
from broker.dedicated.entry import NetworkEntry
from broker.dedicated.models import (
    DedicatedNetwork,
    FundsStop,
    NetworkClosing,
    NetworkDate,
    NetworkPlan,
    NetworkProbe,
    NetworkRevision,
    NetworkRuling,
    NetworkSegment,
    NetworkStay,
    NetworkStep,
    NetworkSystem,
)
from broker.dedicated.values import STEPS, Progress, Step, SystemFacts
from broker.errors import NotFound
from broker.extranet.service import attachments
from broker.inventory import systems
from broker.inventory.models import InformationSystem, Resource
from broker.inventory.register import today
from broker.tenancy.models import Account, Unit, UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.work import Work

CLOSED = "closed"
"""In a filter: the networks that are shut down; the other words are the step that comes next."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A network of the list. ``late``: the step that is overdue; ``stop``: what stands open because of it.

    ``systems``: codes; ``stays_until``: the last day on which it may stay, if it may today.
    """

    network: DedicatedNetwork
    unit_name: str
    unit_code: str
    responsible: str
    progress: Progress
    late: Step | None
    stop: FundsStop | None
    stays_until: date | None
    systems: tuple[str, ...]

    @property
    def next(self) -> Step | None:
        return self.progress.next

    @property
    def entry(self) -> NetworkEntry:
        """What the list says of it, as people write it."""
        network = self.network
        return NetworkEntry(
            unit=self.unit_code,
            code=network.code,
            name=network.name,
            purpose=network.purpose,
            level=network.level,
            coverage=network.coverage,
            funding_source=network.funding_source,
            yearly_cost_fen=network.yearly_cost_fen,
            links=network.links,
            carrier=network.carrier,
            responsible=self.responsible,
            grounds=network.grounds,
            built_on=network.built_on,
            systems=self.systems,
        )


@dataclass(frozen=True, slots=True)
class TiedSegment:
    """A segment that a step rests on, as it is today. ``router``, ``vrf``: where it is, while it is on a router."""

    resource_id: UUID
    number: str
    name: str
    prefix: str
    zone: str
    position: int
    verified: bool
    router: str
    vrf: str


@dataclass(frozen=True, slots=True)
class Probed:
    """A reported connection and what the probes said of it; ``segments``: numbers."""

    probe: NetworkProbe
    segments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Shown:
    """One network with everything on record; ``dates``: every one that was given, by step, oldest first."""

    listed: Listed
    plan: NetworkPlan | None
    dates: Mapping[Step, Sequence[NetworkDate]]
    steps: Mapping[Step, NetworkStep]
    segments: Sequence[TiedSegment]
    systems: Sequence[SystemFacts]
    probes: Sequence[Probed]
    closings: Sequence[NetworkClosing]
    stays: Sequence[NetworkStay]
    rulings: Sequence[NetworkRuling]
    stops: Sequence[FundsStop]
    revisions: Sequence[NetworkRevision]


def visible(work: Work, column: InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    """A condition on a unit's column: the actor may see the networks of that unit."""
    seen = systems.visible(work, column)
    root = access.scope(work.session, work.actor, work.now).root_unit_id
    if root is None:
        return seen
    place = aliased(UnitPeriod)
    below = select(place.unit_id).where(holds(place.during, work.now), place.ancestors.contains([root]))
    return or_(seen, column.in_(below))


def _statement(work: Work) -> AnySelect:
    return (
        select(DedicatedNetwork, UnitPeriod.name.label("unit_name"), Unit.code.label("unit_code"), Account.login)
        .join(Unit, Unit.id == DedicatedNetwork.unit_id)
        .join(Account, Account.id == DedicatedNetwork.responsible_id)
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == DedicatedNetwork.unit_id) & holds(UnitPeriod.during, work.now))
        .where(visible(work, DedicatedNetwork.unit_id))
    )


def listing(
    work: Work,
    *,
    state: str = "",
    words: str = "",
    late: bool = False,
    after: UUID | None = None,
    limit: int = 20,
) -> list[Listed]:
    """A page of the list, newest first, in seven statements.

    ``state``: a step that comes next, or ``closed``; ``words``: part of name or code; ``late``: only what is behind.
    """
    statement = _statement(work).order_by(DedicatedNetwork.id.desc())
    if state:
        done = (
            select(func.count())
            .where(NetworkStep.network_id == DedicatedNetwork.id)
            .correlate(DedicatedNetwork)
            .scalar_subquery()
        )
        wanted = len(STEPS) if state == CLOSED else Step(state).position - 1
        statement = statement.where(done == wanted)
    if words:
        pattern = f"%{words.replace('%', '').replace('_', '').strip()}%"
        statement = statement.where(or_(DedicatedNetwork.name.ilike(pattern), DedicatedNetwork.code.ilike(pattern)))
    if after is not None:
        statement = statement.where(DedicatedNetwork.id < after)
    if not late:
        return _listed(work, work.session.execute(statement.limit(limit)).all())
    # Which day is over is a matter of working days, which the database does not know.
    return [each for each in _listed(work, work.session.execute(statement).all()) if each.late is not None][:limit]


def everything(work: Work) -> list[Listed]:
    """The whole list that the actor may see, by unit and code: what an export holds."""
    return _listed(work, work.session.execute(_statement(work).order_by(Unit.code, DedicatedNetwork.code)).all())


def of_codes(work: Work, codes: Sequence[str]) -> list[Listed]:
    """The networks with these codes that the actor may see."""
    return _listed(work, work.session.execute(_statement(work).where(DedicatedNetwork.code.in_(codes))).all())


def _listed(work: Work, rows: Sequence[AnyRow]) -> list[Listed]:
    ids = [row[0].id for row in rows]
    if not ids:
        return []
    how = progress.of_many(work.session, ids)
    stays = progress.stays(work.session, ids, today(work.now))
    open_stops = select(FundsStop).where(FundsStop.network_id.in_(ids), FundsStop.lifted_at.is_(None))
    stops = {each.network_id: each for each in work.session.scalars(open_stops)}
    carried: dict[UUID, list[str]] = {i: [] for i in ids}
    for row in work.session.execute(
        select(NetworkSystem.network_id, InformationSystem.code)
        .join(InformationSystem, InformationSystem.id == NetworkSystem.system_id)
        .where(NetworkSystem.network_id.in_(ids), NetworkSystem.dropped_at.is_(None))
        .order_by(InformationSystem.code)
    ):
        carried[row.network_id].append(row.code)
    return [
        Listed(
            network=row[0],
            unit_name=row.unit_name or "",
            unit_code=row.unit_code,
            responsible=row.login,
            progress=how[row[0].id],
            late=None if row[0].id in stays else rules.late(work.calendar, how[row[0].id], work.now),
            stop=stops.get(row[0].id),
            stays_until=stays.get(row[0].id),
            systems=tuple(carried[row[0].id]),
        )
        for row in rows
    ]


def one(work: Work, which: str) -> Shown:
    """One network, by its id or code. Raises NotFound ``network.not_found``, also when the actor may not see it."""
    try:
        wanted = DedicatedNetwork.id == UUID(which)
    except ValueError:
        wanted = DedicatedNetwork.code == which
    found = _listed(work, work.session.execute(_statement(work).where(wanted)).all())
    if not found:
        raise NotFound("network.not_found")
    session, network_id = work.session, found[0].network.id
    dates: dict[Step, list[NetworkDate]] = {}
    given = select(NetworkDate).where(NetworkDate.network_id == network_id)
    for each in session.scalars(given.order_by(NetworkDate.position, NetworkDate.version)):
        dates.setdefault(STEPS[each.position - 1], []).append(each)
    steps = session.scalars(select(NetworkStep).where(NetworkStep.network_id == network_id))
    closings = select(NetworkClosing).where(NetworkClosing.network_id == network_id)
    stays = select(NetworkStay).where(NetworkStay.network_id == network_id)
    rulings = select(NetworkRuling).where(NetworkRuling.network_id == network_id)
    stops = select(FundsStop).where(FundsStop.network_id == network_id)
    revisions = select(NetworkRevision).where(NetworkRevision.network_id == network_id)
    return Shown(
        listed=found[0],
        plan=session.get(NetworkPlan, network_id),
        dates=dates,
        steps={STEPS[each.position - 1]: each for each in steps},
        segments=_segments(work, found[0].network),
        systems=evidence.systems(session, network_id),
        probes=_probes(session, network_id),
        closings=session.scalars(closings.order_by(NetworkClosing.id.desc())).all(),
        stays=session.scalars(stays.order_by(NetworkStay.id.desc())).all(),
        rulings=session.scalars(rulings.order_by(NetworkRuling.id.desc())).all(),
        stops=session.scalars(stops.order_by(FundsStop.id.desc())).all(),
        revisions=session.scalars(revisions.order_by(NetworkRevision.version.desc())).all(),
    )


def _probes(session: Session, network_id: UUID) -> list[Probed]:
    statement = select(NetworkProbe).where(NetworkProbe.network_id == network_id).order_by(NetworkProbe.id.desc())
    found = session.scalars(statement).all()
    named = {segment for probe in found for segment in probe.segments}
    rows = session.execute(select(Resource.id, Resource.number).where(Resource.id.in_(named))) if named else ()
    numbers = {row.id: row.number for row in rows}
    return [Probed(probe, sorted(numbers[segment] for segment in probe.segments)) for probe in found]


def _segments(work: Work, network: DedicatedNetwork) -> list[TiedSegment]:
    facts = {each.id: each for each in evidence.segments(work, network).values()}
    places = {a.resource_id: a for a in attachments(work.session, list(facts))} if facts else {}
    rows = work.session.execute(
        select(NetworkSegment.position, Resource)
        .join(Resource, Resource.id == NetworkSegment.resource_id)
        .where(NetworkSegment.network_id == network.id)
        .order_by(NetworkSegment.position, Resource.number)
    ).all()
    return [
        TiedSegment(
            resource_id=resource.id,
            number=resource.number,
            name=resource.name,
            prefix=str(resource.prefix or ""),
            zone=resource.spec["zone"],
            position=position,
            verified=facts[resource.id].delivered and facts[resource.id].verified,
            router=places[resource.id].router if resource.id in places else "",
            vrf=places[resource.id].vrf if resource.id in places else "",
        )
        for position, resource in rows
    ]
