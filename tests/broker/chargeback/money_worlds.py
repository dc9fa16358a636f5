"""Random worlds for the rating: a tree reorganised, payers and prices that change, resources that come and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

from hypothesis import strategies as st
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


def instants(month: tuple[int, int]) -> st.SearchStrategy[datetime]:
    """Odd seconds (and now and then microseconds) around a month, and its very edges."""
    start, end = month_window(*month)
    around = st.integers(-5 * 86400, 36 * 86400).map(lambda s: start + timedelta(seconds=s))
    fine = st.integers(0, 31 * 86400 * 10**6).map(lambda us: start + timedelta(microseconds=us))
    second = timedelta(seconds=1)
    return st.one_of(around, around, st.sampled_from([start, end, start + second, end - second, end + second]), fine)


def windows(month: tuple[int, int], most: int) -> st.SearchStrategy[list[Window]]:
    """Windows one after the other at whole seconds, the last one open."""
    seconds = instants(month).map(lambda at: at.replace(microsecond=0))
    return st.lists(seconds, max_size=most, unique=True).map(
        lambda cuts: [*pairwise(ordered := sorted([LONG_AGO, *cuts])), (ordered[-1], None)]
    )


ORDINARY_PRICE = st.one_of(
    st.decimals(0, 1000, places=8, allow_nan=False),
    st.decimals(0, 10, places=2, allow_nan=False),
    st.sampled_from([Decimal("0.18"), Decimal("0.36"), Decimal(0)]),
).map(lambda price: f"{price:f}")
PRICE = st.one_of(ORDINARY_PRICE, ORDINARY_PRICE, st.just("9999999999.99999999"))


@st.composite
def worlds(draw: st.DrawFn, *, complete: bool = False) -> World:
    """A world; a ``complete`` one has no usage without a price or payer."""
    month = draw(st.sampled_from(MONTHS))
    end = month_window(*month)[1]
    until = draw(st.one_of(st.just(end), instants(month))).replace(microsecond=0)
    payers = [row for unit in UNITS for tier in CLOUDS.values() for row in draw(_payers(month, unit, tier, complete))]
    prices = [row for meter in METERS for cloud in (None, MAIN) for row in draw(_prices(month, meter, cloud, complete))]
    for meter, kinds in ((RECORDED, ["hour", "month"]), (ONE_OFF, ["once"])):
        windows_ = draw(windows(month, 1))
        kinds_ = kinds if complete else [*kinds, *kinds, *kinds, "hour", "once"]
        prices += [
            PriceRow(
                new_id(), meter, None, draw(ORDINARY_PRICE), draw(st.sampled_from(kinds_)), window,
                free=draw(st.sampled_from(["0", "3"])),
            )
            for window in windows_
        ]  # fmt: skip
    payers += draw(
        st.lists(st.just(PayerRow(REGION, "city", CITY, "its own", "", (LONG_AGO, None), CITY_CLOUD)), max_size=1)
    )
    for meter in METERS:
        operator, unit_class = draw(st.sampled_from([(None, None), ("two", None), (None, "city")]))
        if operator or unit_class:
            price, per = draw(PRICE), draw(st.sampled_from(["hour", "month"]))
            since = draw(instants(month)).replace(microsecond=0)
            prices.append(PriceRow(new_id(), meter, None, price, per, (since, None), operator, unit_class))
        for term in draw(st.sampled_from([(), (), (12,), (6, 24)])):
            committed = PriceRow(
                new_id(), meter, None, draw(PRICE), "hour", (LONG_AGO, None), term=term, discount="0.9"
            )
            prices.append(committed)
    things = draw(st.lists(_things(month), min_size=1, max_size=4))
    operators = [
        Operating(cloud, draw(st.sampled_from(["one", "two"])), window)
        for cloud in CLOUDS
        for window in draw(windows(month, 1))
    ]
    return World(month, until, draw(_places(month)), payers, prices, things, operators)


@st.composite
def _places(draw: st.DrawFn, month: tuple[int, int]) -> list[Place]:
    moved = draw(instants(month)).replace(microsecond=0)
    return [
        Place(REGION, (REGION,), (LONG_AGO, None)),
        Place(CITY, (CITY, REGION), (LONG_AGO, None)),
        Place(OTHER_CITY, (OTHER_CITY, REGION), (LONG_AGO, None)),
        Place(DEPARTMENT, (DEPARTMENT, REGION), (LONG_AGO, None)),
        Place(COUNTY, (COUNTY, CITY, REGION), (LONG_AGO, moved)),
        Place(COUNTY, (COUNTY, OTHER_CITY, REGION), (moved, None)),
    ]


@st.composite
def _payers(draw: st.DrawFn, month: tuple[int, int], unit: UUID, tier: str, complete: bool) -> list[PayerRow]:  # noqa: FBT001 - hypothesis
    always = unit == REGION and (complete or draw(st.integers(0, 9)) > 0)
    return [
        PayerRow(unit, tier, draw(st.sampled_from([unit, REGION])), f"rule {n % 2}", "Art. 16(2)" * (n % 2), window)
        for n, window in enumerate(draw(windows(month, 2)))
        if always or draw(st.booleans())
    ]


@st.composite
def _prices(
    draw: st.DrawFn,
    month: tuple[int, int],
    meter: str,
    cloud: UUID | None,
    complete: bool,  # noqa: FBT001 - hypothesis
) -> list[PriceRow]:
    always = cloud is None and (complete or draw(st.integers(0, 9)) > 0)
    return [
        PriceRow(
            new_id(),
            meter,
            cloud,
            draw(PRICE),
            draw(st.sampled_from(["hour", "month"])),
            window,
            discount=draw(st.sampled_from(["1", "1", "0.9", "0.3333"])),
            free=draw(st.sampled_from(["0", "0", "0", "12.5", "700"])),
            stopped=draw(st.sampled_from([None, None, True, False])),
        )
        for window in draw(windows(month, 2))
        if always or draw(st.booleans())
    ]


@st.composite
def _things(draw: st.DrawFn, month: tuple[int, int]) -> Thing:
    cuts = sorted(draw(st.lists(instants(month), min_size=1, max_size=4, unique=True)))
    found: list[Window] = [*pairwise(cuts), (cuts[-1], None)]
    if len(found) > 1 and draw(st.booleans()):
        found.pop()
    size = st.one_of(st.integers(0, 64), st.just(65536))
    periods = [
        Period(draw(st.sampled_from(["active", "active", "stopped"])), draw(size), draw(size), draw(size), window)
        for window in found
        if draw(st.integers(0, 5)) > 0
    ]
    recorded = draw(st.sampled_from([(), (), tuple(found)]))
    at = draw(st.lists(instants(month).map(lambda at: at.replace(microsecond=0)), max_size=2, unique=True))
    spans = draw(st.one_of(st.just([]), windows(month, 2)))
    owners = tuple((draw(st.sampled_from(list(UNITS))), span) for span in spans)
    return Thing(
        new_id(),
        owners[-1][0] if owners else draw(st.sampled_from(list(UNITS))),
        draw(st.sampled_from(list(CLOUDS))),
        tuple(periods),
        draw(st.sampled_from([0, 0, 12, 36])),
        tuple((RECORDED, n, window) for n, window in enumerate(recorded)),
        tuple((ONE_OFF, n, each) for n, each in enumerate(at, 1)),
        owners,
    )


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
