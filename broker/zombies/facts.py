"""Gathers what is known of every system: register, requests and inventory in the database, utilisation in its store.

Called by: ``zombies.service``. Must not: score, or keep a transaction open while samples are read: ``gather``
reads rows, ``measure`` reads files, ``freeze`` brings both together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select
from sqlalchemy.orm import aliased

from broker.db.base import AnyRow, AnySelect
from broker.inventory.models import InformationSystem, Resource, ResourcePeriod
from broker.request.models import ServiceRequest
from broker.settings import Settings
from broker.tenancy.models import UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.work import Work
from broker.utilisation import service as utilisation
from broker.utilisation.samples import Report
from broker.utilisation.values import AnyOf, Condition, Daily, Facts, MissingDay, Policy, PolicySet
from broker.zombies.rules import alike
from broker.zombies.values import ServerFacts, Similar, SystemFacts

LOCAL = ZoneInfo("Asia/Shanghai")
_LIVE = ("active", "stopped")
_MEASURED = Policy(
    name="zombie-measured",
    title="",
    kind="server",
    when=AnyOf((
        Condition("cpu_avg_pct", Daily.MEAN, above=Decimal(-1)),
        Condition("vcpu", Daily.MAX, above=Decimal(-1)),
    )),
    days=1,
    min_samples_per_day=1,
    missing_day=MissingDay.SKIP,
)  # fmt: skip
"""Every day on which a server was measured at all: idle is not the same as unmeasured."""


@dataclass(frozen=True, slots=True)
class Known:
    """Rows as they are read: systems with their requests, their servers, and by which names samples know these."""

    now: datetime
    systems: Sequence[AnyRow]
    servers: Mapping[UUID, Sequence[AnyRow]]
    names: Mapping[str, Facts]


@dataclass(frozen=True, slots=True)
class Measured:
    """Of each server (by its number) that has samples: the days of the run that reaches its last one, and that day."""

    idle_days: Mapping[str, int]
    until: Mapping[str, date]


def gather(work: Work) -> Known:
    """Every system in use, and those that ended and still hold resources; three statements.

    Raises Forbidden ``role.missing``: a scan looks at the whole region.
    """
    return Known(work.now, _systems(work), _servers(work), utilisation.facts_of(work))


def _systems(work: Work) -> list[AnyRow]:
    other = aliased(InformationSystem)
    asked = (
        select(func.max(ServiceRequest.submitted_at))
        .where(ServiceRequest.system_id == InformationSystem.id)
        .correlate(InformationSystem)
        .scalar_subquery()
    )
    live = select(Resource.id).where(Resource.system_id == InformationSystem.id, Resource.state.in_(_LIVE)).exists()
    statement: AnySelect = (
        select(
            InformationSystem,
            UnitPeriod.ancestors,
            asked.label("asked_at"),
            other.name.label("replaced_by"),
        )
        .join(UnitPeriod, (UnitPeriod.unit_id == InformationSystem.unit_id) & holds(UnitPeriod.during, work.now))
        .outerjoin(other, (other.id == InformationSystem.replaceable_by_id) & other.retired_at.is_(None))
        .where(or_(InformationSystem.retired_at.is_(None), live))
        .order_by(InformationSystem.code)
    )
    return list(work.session.execute(statement).all())


def _servers(work: Work) -> dict[UUID, list[AnyRow]]:
    statement: AnySelect = (
        select(
            Resource.system_id,
            Resource.number,
            ResourcePeriod.state,
            func.lower(ResourcePeriod.during).label("since"),
        )
        .join(ResourcePeriod, (ResourcePeriod.resource_id == Resource.id) & func.upper_inf(ResourcePeriod.during))
        .where(Resource.kind == "server", Resource.state.in_(_LIVE), Resource.system_id.is_not(None))
        .order_by(Resource.number)
    )
    found: dict[UUID, list[AnyRow]] = defaultdict(list)
    for row in work.session.execute(statement):
        found[row.system_id].append(row)
    return found


def measure(settings: Settings, known: Known) -> Measured:
    """What the stored samples say of the servers, by the detection policies in force; no database.

    A run that an exemption covers is no run.
    """
    if not any(facts.kind == "server" for facts in known.names.values()):
        return Measured({}, {})
    policies = utilisation.policies_of(settings)
    idle = tuple(each for each in policies.policies if each.kind == "server")
    looked = PolicySet(policies.version, (*idle, _MEASURED), policies.exemptions)
    runs: dict[str, list[tuple[date, int]]] = defaultdict(list)
    until: dict[str, date] = {}
    for found in utilisation.scan_store(settings, known.names, looked, (LOCAL, known.now), Report()):
        assert found.facts is not None
        number, run = found.facts.number, found.run
        if run.policy == _MEASURED.name:
            until[number] = max(run.last_day, until.get(number, run.last_day))
        elif found.exemption is None:
            runs[number].append((run.last_day, run.days))
    days = {
        number: max((count for last, count in runs[number] if last >= measured), default=0)
        for number, measured in until.items()
    }
    return Measured(days, until)


def freeze(known: Known, measured: Measured) -> dict[UUID, SystemFacts]:
    """The facts of every system, by its id."""
    today = known.now.astimezone(LOCAL).date()
    alikes = _alikes(known.systems)
    return {
        row[0].id: SystemFacts(
            today=today,
            frequency=row[0].frequency_of_use,
            scope=row[0].scope_of_use,
            ended=row[0].retired_at is not None,
            reported_on=row[0].reported_on,
            last_business_on=row[0].last_business_on,
            business_stopped_on=row[0].business_stopped_on,
            last_maintained_on=row[0].last_maintained_on,
            maintenance_until=row[0].maintenance_until,
            monthly_users=row[0].monthly_users,
            replaceable_by=row.replaced_by,
            similar=alikes.get(row[0].id),
            last_request_on=row.asked_at.astimezone(LOCAL).date() if row.asked_at else None,
            servers=tuple(_server(server, measured, today) for server in known.servers.get(row[0].id, ())),
            mlps_level=row[0].mlps_level,
        )
        for row in known.systems
    }


def _server(row: AnyRow, measured: Measured, today: date) -> ServerFacts:
    off = (today - row.since.astimezone(LOCAL).date()).days if row.state == "stopped" else None
    return ServerFacts(row.number, measured.idle_days.get(row.number), off, measured.until.get(row.number))


def _alikes(systems: Sequence[AnyRow]) -> dict[UUID, Similar]:
    """Of each system in use the one of the same department or city whose function reads most alike."""
    groups: dict[UUID, list[InformationSystem]] = defaultdict(list)
    for row in systems:
        if row[0].retired_at is None:
            groups[row.ancestors[min(1, len(row.ancestors) - 1)]].append(row[0])
    found: dict[UUID, Similar] = {}
    for group in groups.values():
        for one in group:
            shared = [
                (alike(one.function, other.function), other.code, other.name) for other in group if other is not one
            ]
            if shared:
                percent, code, name = max(shared)
                found[one.id] = Similar(code, name, percent)
    return found
