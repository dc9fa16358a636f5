"""The list of dedicated networks (Art. 11(1)): put one on it, say anew what it is.

Called by: the API, the console, the import. Must not: take a network built since the rules came into force without an
exception on record (Art. 10), or a classified one (Art. 11(1): the intranet office keeps those).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import any_, select, update
from sqlalchemy.orm import aliased

from broker.db.base import AnySelect, new_id
from broker.dedicated.entry import Known, KnownNetwork, NetworkEntry, problems_of
from broker.dedicated.models import DedicatedNetwork, NetworkDate, NetworkRevision, NetworkStep, NetworkSystem
from broker.dedicated.values import Step
from broker.errors import Forbidden, Invalid, NotFound, Problem, Stale
from broker.inventory import systems
from broker.inventory.models import InformationSystem
from broker.inventory.register import to_json, today
from broker.lifecycle import Role
from broker.request.models import NetworkException
from broker.tenancy.models import Account, Unit, UnitPeriod
from broker.tenancy.repository import holds, visible_units
from broker.tenancy.work import Work

_WRITERS = frozenset({Role.APPLICANT, Role.UNIT_LEADER, Role.ADMINISTRATOR})
_COLUMNS = (
    "name", "purpose", "level", "coverage", "built_on", "grounds", "links", "carrier", "funding_source",
    "yearly_cost_fen",
)  # fmt: skip


def known(work: Work, entries: Iterable[NetworkEntry], *, lock: bool = True) -> Known:
    """What entries are checked against, in six statements. Networks they name are locked, in the order of codes."""
    given = list(entries)
    units = work.session.execute(
        select(Unit.code, Unit.id).where(
            Unit.code.in_({e.unit for e in given}), visible_units(work.actor, Unit.id, work.now)
        )
    )
    there = work.session.execute(
        select(InformationSystem.code, InformationSystem.id).where(
            InformationSystem.code.in_({code for e in given for code in e.systems}),
            InformationSystem.retired_at.is_(None),
            systems.visible(work, InformationSystem.unit_id),
        )
    )
    return Known(
        today=today(work.now),
        units={row.code: row.id for row in units},
        people=people(work, {e.responsible for e in given}),
        systems={row.code: row.id for row in there},
        networks=_networks(work, {e.code for e in given}, lock=lock),
        exceptions=_exceptions(work, {e.unit for e in given}),
    )


def people(work: Work, logins: Iterable[str]) -> dict[str, UUID]:
    """The accounts with these logins that stand in the actor's tree and can sign in."""
    rows = work.session.execute(
        select(Account.login, Account.id).where(
            Account.login.in_(set(logins)),
            Account.person_id.is_not(None),
            Account.disabled_at.is_(None),
            visible_units(work.actor, Account.unit_id, work.now),
        )
    )
    return {row.login: row.id for row in rows}


def _networks(work: Work, codes: set[str], *, lock: bool) -> dict[str, KnownNetwork]:
    mine = visible_units(work.actor, DedicatedNetwork.unit_id, work.now).label("mine")
    named: AnySelect = (
        select(DedicatedNetwork, Unit.code.label("unit_code"), mine)
        .join(Unit, Unit.id == DedicatedNetwork.unit_id)
        .where(DedicatedNetwork.code.in_(codes))
        .order_by(DedicatedNetwork.code)
        .execution_options(populate_existing=True)
    )
    rows = work.session.execute(named.with_for_update(of=DedicatedNetwork) if lock else named).all()
    ids = [row[0].id for row in rows]
    listed: dict[UUID, set[str]] = {network_id: set() for network_id in ids}
    ended: set[str] = set()
    for row in work.session.execute(
        select(NetworkSystem.network_id, InformationSystem.code, InformationSystem.retired_at)
        .join(InformationSystem, InformationSystem.id == NetworkSystem.system_id)
        .where(NetworkSystem.network_id.in_(ids), NetworkSystem.dropped_at.is_(None))
    ):
        listed[row.network_id].add(row.code)
        if row.retired_at is not None:
            ended.add(row.code)
    far = select(NetworkStep.network_id, NetworkStep.position).where(
        NetworkStep.network_id.in_(ids), NetworkStep.position != Step.CONNECT.position
    )
    steps = {(row.network_id, row.position) for row in work.session.execute(far)} if ids else set()
    return {
        network.code: KnownNetwork(
            id=network.id,
            unit=unit,
            mine=is_mine,
            closed=(network.id, Step.SHUT_DOWN.position) in steps,
            planned=(network.id, Step.PLAN.position) in steps,
            fixed=(network.id, Step.MIGRATE.position) in steps,
            systems=frozenset(listed[network.id]),
            ended=frozenset(listed[network.id] & ended),
            exception_id=network.exception_id,
        )
        for network, unit, is_mine in rows
    }


def _exceptions(work: Work, units: set[str]) -> dict[str, UUID]:
    """The newest exception to Art. 10 that holds for each of these units or one above it."""
    place = aliased(UnitPeriod)
    rows = work.session.execute(
        select(Unit.code, NetworkException.id)
        .join(place, (place.unit_id == Unit.id) & holds(place.during, work.now))
        .join(NetworkException, NetworkException.unit_id == any_(place.ancestors))
        .where(Unit.code.in_(units), holds(NetworkException.during, work.now))
        .order_by(NetworkException.id)
    )
    return {row.code: row.id for row in rows}


def register(work: Work, entry: NetworkEntry, *, plan_workdays: int) -> DedicatedNetwork:
    """Put a network on the list; its plan is due after ``plan_workdays`` working days (ours).

    Raises Forbidden ``network.not_yours``; Invalid with everything that ``entry.problems_of`` finds, and
    ``network.code_taken``.
    """
    require_writer(work)
    found = known(work, [entry])
    problems = problems_of(entry, found)
    if entry.code in found.networks:
        problems = [p for p in problems if p.field not in {"code", "unit"}] + [Problem("network.code_taken", "code")]
    if problems:
        raise Invalid(problems)
    return write(work, entry, found, source="form", plan_workdays=plan_workdays)


def revise(work: Work, network_id: UUID, entry: NetworkEntry, *, version: int | None) -> DedicatedNetwork:
    """Say anew what a network is; what was said stays as a revision.

    Raises NotFound ``network.not_found``, Stale ``version.stale``, Forbidden, Invalid as ``register``.
    """
    require_writer(work)
    network = writable(work, network_id)
    if version not in {None, network.version}:
        raise Stale("version.stale", found=network.version)
    if entry.code != network.code:
        raise Invalid([Problem("network.code_fixed", "code")])
    found = known(work, [entry])
    if problems := problems_of(entry, found):
        raise Invalid(problems)
    return write(work, entry, found, source="form", plan_workdays=0)


def write(work: Work, entry: NetworkEntry, found: Known, *, source: str, plan_workdays: int) -> DedicatedNetwork:
    """Write an entry that was checked: a new network with the day of its plan, or the next version of one."""
    there = found.networks.get(entry.code)
    values: dict[str, Any] = {name: getattr(entry, name) for name in _COLUMNS}
    values["responsible_id"] = found.people[entry.responsible]
    if entry.is_new:
        held = there.exception_id if there is not None else None
        values["exception_id"] = held or found.exceptions[entry.unit]
    if there is None:
        network = DedicatedNetwork(
            id=new_id(),
            code=entry.code,
            unit_id=found.units[entry.unit],
            registered_at=work.now,
            version=1,
            **values,
        )
        work.session.add(network)
        work.session.flush()
        _first_date(work, network, plan_workdays)
    else:
        network = work.session.get_one(DedicatedNetwork, there.id)
        for name, value in values.items():
            setattr(network, name, value)
        network.version += 1
    _list_systems(work, network, entry, found)
    action = "network.registered" if there is None else "network.revised"
    data = {"code": entry.code, "source": source}
    work.record(action, "dedicated_network", network.id, article="Art. 11(1)", data=data)
    _note(work, network, source, to_json(asdict(entry)))
    return network


def pass_on(work: Work, unit_id: UUID, into: UUID) -> None:
    """The networks of a unit that was merged are the other's, with their dates and whose funds stop (Art. 11)."""
    code = work.session.scalars(select(Unit.code).where(Unit.id == into)).one()
    mine = select(DedicatedNetwork).where(DedicatedNetwork.unit_id == unit_id).order_by(DedicatedNetwork.id)
    for network in work.session.scalars(mine.with_for_update()).all():
        said = work.session.get_one(NetworkRevision, (network.id, network.version)).entry
        network.unit_id = into
        network.version += 1
        _note(work, network, "move", {**said, "unit": code})
        data = {"code": network.code, "from": str(unit_id), "to": str(into)}
        work.record("network.passed_on", "dedicated_network", network.id, article="Art. 11", data=data)


def _note(work: Work, network: DedicatedNetwork, source: str, entry: dict[str, Any]) -> None:
    work.session.add(
        NetworkRevision(
            network_id=network.id,
            version=network.version,
            at=work.now,
            by=work.actor.account_id,
            source=source,
            entry=entry,
        )
    )


def _first_date(work: Work, network: DedicatedNetwork, workdays: int) -> None:
    due = work.calendar.deadline(work.now, workdays).at.astimezone(work.calendar.zone).date()
    work.session.add(
        NetworkDate(
            network_id=network.id,
            position=Step.PLAN.position,
            version=1,
            due_on=due,
            owner_id=network.responsible_id,
            set_by=work.actor.account_id,
            set_at=work.now,
        )
    )


def _list_systems(work: Work, network: DedicatedNetwork, entry: NetworkEntry, found: Known) -> None:
    there = found.networks.get(entry.code)
    before = there.systems if there is not None else frozenset()
    for code in entry.systems:
        if code not in before:
            system_id = found.systems[code]
            work.session.add(NetworkSystem(id=new_id(), network_id=network.id, system_id=system_id, added_at=work.now))
    if gone := before - set(entry.systems):
        ids = select(InformationSystem.id).where(InformationSystem.code.in_(gone))
        work.session.execute(
            update(NetworkSystem)
            .where(
                NetworkSystem.network_id == network.id,
                NetworkSystem.system_id.in_(ids),
                NetworkSystem.dropped_at.is_(None),
            )
            .values(dropped_at=work.now)
        )


def writable(work: Work, network_id: UUID) -> DedicatedNetwork:
    """A network of the actor's tree, locked. Raises NotFound ``network.not_found``."""
    mine = visible_units(work.actor, DedicatedNetwork.unit_id, work.now)
    return locked(work, network_id, mine)


def locked(work: Work, network_id: UUID, *conditions: Any) -> DedicatedNetwork:
    """A network, locked: who acts on it waits for who was first. Raises NotFound ``network.not_found``."""
    statement = select(DedicatedNetwork).where(DedicatedNetwork.id == network_id, *conditions).with_for_update()
    network = work.session.scalar(statement.execution_options(populate_existing=True))
    if network is None:
        raise NotFound("network.not_found")
    return network


def require_writer(work: Work) -> None:
    """Raises Forbidden ``network.not_yours`` for who may not write to the list."""
    if not work.actor.roles & _WRITERS or work.actor.account_id is None:
        raise Forbidden("network.not_yours")
