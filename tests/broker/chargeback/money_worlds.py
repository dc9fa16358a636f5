"""Worlds for the rating, and their rows: a tree, payers and prices that change, resources that come and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud, SubCloudOperator
from broker.db.base import Base, new_id
from broker.inventory.models import Project, Resource, ResourceOwner, ResourcePeriod
from broker.metering.models import OneOffItem, ResourceTerm, UsageRecord
from broker.pricing.models import Payer, TariffPrice
from broker.tenancy.models import Unit, UnitPeriod
from tests.broker.chargeback.money_oracle import PayerRow, Place, PriceRow, Use, Window, month_window

MONTHS = [(2024, 2), (2026, 2), (2026, 10), (2026, 12), (2027, 1)]
LONG_AGO = month_window(2019, 9)[0]
REGION, CITY, OTHER_CITY, COUNTY, DEPARTMENT = (UUID(int=n) for n in range(1, 6))
UNITS = {REGION: "region", CITY: "city", OTHER_CITY: "city", COUNTY: "county", DEPARTMENT: "department"}
DIVISIONS = {CITY: "450100", OTHER_CITY: "450200", COUNTY: "450102"}
MAIN, CITY_CLOUD, INDUSTRY = (UUID(int=n) for n in range(11, 14))
CLOUDS = {MAIN: "main", CITY_CLOUD: "city", INDUSTRY: "industry"}
OPERATORS = {MAIN: "one", CITY_CLOUD: "two", INDUSTRY: "two"}
METERS = ("vcpu_x86_64", "memory_gib", "block_gib_ssd")
RECORDED, ONE_OFF = "public_ip", "migration"


@dataclass(frozen=True)
class Period:
    """A size and state of a resource over a window."""

    state: str
    vcpu: int
    memory_gib: int
    block_gib: int
    window: Window


@dataclass(frozen=True)
class Thing:
    """A resource with its periods."""

    id: UUID
    unit: UUID
    cloud: UUID
    periods: tuple[Period, ...]
    term: int = 0
    records: tuple[tuple[str, int, Window], ...] = ()
    items: tuple[tuple[str, int, datetime], ...] = ()
    owners: tuple[tuple[UUID, Window], ...] = ()
    """Whose it was, one after the other, where it went from a unit to another; ``unit`` has it now."""

    def owned(self, window: Window) -> Iterator[tuple[UUID, Window]]:
        """A window cut by who had the thing."""
        for unit, (since, until) in self.owners or ((self.unit, (LONG_AGO, None)),):
            start = max(window[0], since)
            ends = [end for end in (window[1], until) if end is not None]
            if not ends or start < min(ends):
                yield unit, (start, min(ends) if ends else None)


@dataclass(frozen=True)
class Operating:
    """Who operates a cloud over a window."""

    cloud: UUID
    operator: str
    window: Window


def _always() -> list[Operating]:
    return [Operating(cloud, operator, (LONG_AGO, None)) for cloud, operator in OPERATORS.items()]


@dataclass(frozen=True)
class World:
    """Everything a bill depends on."""

    month: tuple[int, int]
    until: datetime
    places: list[Place]
    payers: list[PayerRow]
    prices: list[PriceRow]
    things: list[Thing]
    operators: list[Operating] = field(default_factory=_always)

    def operated(self, cloud: UUID, window: Window) -> Iterator[tuple[str, Window]]:
        """A window cut by who operates the cloud: to each it is use that begins with him."""
        for one in self.operators:
            start = max(window[0], one.window[0])
            ends = [end for end in (window[1], one.window[1]) if end is not None]
            if one.cloud == cloud and (not ends or start < min(ends)):
                yield one.operator, (start, min(ends) if ends else None)

    @property
    def uses(self) -> list[Use]:
        return [
            Use(
                t.id,
                unit,
                t.cloud,
                CLOUDS[t.cloud],
                meter,
                Fraction(amount),
                state,
                span,
                operator=operator,
                unit_class=UNITS[unit],
                term=t.term,
                once=state == "once",
            )
            for t in self.things
            for meter, amount, state, window in (
                *(
                    (meter, amount, p.state, p.window)
                    for p in t.periods
                    for meter, amount in zip(METERS, (p.vcpu, p.memory_gib, p.block_gib), strict=True)
                ),
                *((meter, amount, "active", window) for meter, amount, window in t.records),
                *((meter, amount, "once", (at, at + timedelta(seconds=1))) for meter, amount, at in t.items),
            )
            if amount
            for unit, part in t.owned(whole(window))
            for operator, span in self.operated(t.cloud, part)
        ]


def whole(window: Window) -> Window:
    """Usage is counted from whole second to whole second."""
    return window[0].replace(microsecond=0), window[1] and window[1].replace(microsecond=0)


def during(window: Window) -> Range[datetime]:
    return Range(window[0], window[1], bounds="[)")


def store(session: Session, world: World, request_id: UUID | None = None) -> None:
    """Write a world into an empty database."""
    session.add_all(
        Unit(id=unit, code=f"u{unit.int}", kind=kind, division_code=DIVISIONS.get(unit)) for unit, kind in UNITS.items()
    )
    session.flush()
    session.add_all(_tree(world.places))
    session.add_all(sub_cloud(cloud, tier) for cloud, tier in CLOUDS.items())
    session.flush()
    session.add_all(
        SubCloudOperator(
            sub_cloud_id=o.cloud,
            operator=o.operator,
            during=Range(None if o.window[0] == LONG_AGO else o.window[0], o.window[1], bounds="[)"),
        )
        for o in world.operators
    )
    session.add_all(
        TariffPrice(
            id=p.id,
            meter=p.meter,
            sub_cloud_id=p.cloud,
            price_cny=Decimal(p.price),
            per=p.per,
            version="v",
            source="test",
            during=during(p.window),
            operator=p.operator,
            unit_class=p.unit_class,
            term_months=p.term,
            discount=Decimal(p.discount),
            free_quantity=Decimal(p.free),
            charged_when_stopped=p.stopped,
        )
        for p in world.prices
    )
    session.add_all(
        Payer(
            unit_id=p.unit,
            tier=p.tier,
            sub_cloud_id=p.cloud,
            payer_unit_id=p.payer,
            rule=p.rule,
            article=p.article,
            during=during(p.window),
        )
        for p in world.payers
    )
    for n, thing in enumerate(world.things):
        add_thing(session, thing, number=f"R-{n}", request_id=request_id)
    session.flush()


def _tree(places: Sequence[Place]) -> list[UnitPeriod]:
    return [
        UnitPeriod(
            unit_id=p.unit,
            parent_id=p.chain[1] if len(p.chain) > 1 else None,
            name=f"unit {p.unit.int}",
            ancestors=list(reversed(p.chain)),
            during=during(p.window),
        )
        for p in places
    ]


def sub_cloud(cloud: UUID, tier: str) -> SubCloud:
    return SubCloud(
        id=cloud,
        code=f"c{cloud.int}",
        name=f"cloud {cloud.int}",
        tier=tier,
        provider="simulated",
        options={},
        mlps_level=3,
        zones=["shared"],
        unified_management=True,
        position=cloud.int,
    )


def add_thing(session: Session, thing: Thing, *, number: str, request_id: UUID | None = None) -> None:
    """A resource with a project of its own unit and cloud, and its periods."""
    key = (Project.unit_id == thing.unit) & (Project.sub_cloud_id == thing.cloud)
    project = session.query(Project).where(key).one_or_none()
    if project is None:
        project = Project(id=new_id(), unit_id=thing.unit, sub_cloud_id=thing.cloud)
        session.add(project)
        session.flush()
    rows: list[Base] = [
        ResourcePeriod(
            resource_id=thing.id,
            state=p.state,
            cpu_arch="x86_64" if p.vcpu else None,
            vcpu=p.vcpu,
            memory_gib=p.memory_gib,
            block_gib=p.block_gib,
            block_class="ssd" if p.block_gib else None,
            during=during(p.window),
        )
        for p in thing.periods
    ]
    session.add(
        Resource(
            id=thing.id,
            number=number,
            kind="server",
            origin="adopted",
            unit_id=thing.unit,
            sub_cloud_id=thing.cloud,
            project_id=project.id,
            request_id=request_id,
            name=number,
            spec={"vcpu": 1, "memory_gib": 1, "system_disk_gib": 1, "image": "debian-12-x86_64", "cpu_arch": "x86_64"},
            state="released",  # what it used is in its periods; no cloud has it, and nobody need look for it
        )
    )
    session.flush()
    if thing.term:
        rows.append(ResourceTerm(resource_id=thing.id, term_months=thing.term, during=during((LONG_AGO, None))))
    rows += [UsageRecord(resource_id=thing.id, meter=m, quantity=n, during=during(w)) for m, n, w in thing.records]
    rows += [OneOffItem(resource_id=thing.id, meter=m, quantity=n, at=at) for m, n, at in thing.items]
    rows += [
        ResourceOwner(resource_id=thing.id, unit_id=unit, during=Range(None if n == 0 else since, until, bounds="[)"))
        for n, (unit, (since, until)) in enumerate(thing.owners)
    ]
    session.add_all(rows)
    session.flush()
