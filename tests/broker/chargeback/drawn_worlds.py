"""Random worlds for the rating, as hypothesis draws them: odd seconds, reorganisations, changes, gaps.

Called by: the tests that hold the rating and the preview to the oracle.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

from hypothesis import strategies as st

from broker.db.base import new_id
from tests.broker.chargeback.money_oracle import PayerRow, Place, PriceRow, Window, month_window
from tests.broker.chargeback.money_worlds import (
    CITY,
    CITY_CLOUD,
    CLOUDS,
    COUNTY,
    DEPARTMENT,
    LONG_AGO,
    MAIN,
    METERS,
    MONTHS,
    ONE_OFF,
    OTHER_CITY,
    RECORDED,
    REGION,
    UNITS,
    Operating,
    Period,
    Thing,
    World,
)


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
