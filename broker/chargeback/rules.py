"""The rules of a bill: which price holds where and when, who pays, what is free, what a stopped server costs. Pure.

Called by: ``feed`` (what the database joins usage to), ``columnar`` (the same for DuckDB), ``rating`` (row by row),
``tariff_file``. Must not: be written a second time: an engine joins, adds up and rounds what is decided here, and
decides nothing. Instants are whole seconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from broker.chargeback.problems import Problems
from broker.pricing.months import Month
from broker.pricing.rules import EXACT, seconds_of
from broker.pricing.values import Per

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOR_EVER = 253402300800
"""The end of what has none."""

_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Price:
    """A price version over [start, end), open without ``end``; for one sub-cloud, one operator, or everywhere.

    What is empty holds for all. ``discount`` is a factor; ``free_quantity`` is free for each payer and month, in what
    the price is for (``grants``); ``tariff_price`` (``pricing.models``) says the same in the database.

    ``valid_from`` is the start as the tariff writes it: the version's name in the lines.
    """

    place: str
    meter: str
    sub_cloud: str
    price_cny: Decimal
    per: Per
    valid_from: str
    start: int
    end: int | None
    operator: str = ""
    unit_class: str = ""
    term_months: int = 0
    discount: Decimal = Decimal(1)
    free_quantity: Decimal = Decimal(0)
    charged_when_stopped: bool = True

    @property
    def series(self) -> tuple[str, str, str, str, int, bool]:
        """What versions of one price have in common: a change of price begins no other."""
        where = (self.meter, self.sub_cloud, self.operator, self.unit_class, self.term_months)
        return (*where, self.per is Per.ONCE)

    def distance(self, place: Place) -> int | None:
        """How near this price is to a place (the least wins); None where it does not hold."""
        for own, there in ((self.sub_cloud, place.sub_cloud), (self.operator, place.operator)):
            if own not in {"", there}:
                return None
        if self.unit_class not in {"", place.unit_class} or self.term_months > place.term_months:
            return None
        where = 0 if self.sub_cloud else 10000 if self.operator else 20000
        return where + (0 if self.unit_class else 4000) + 2000 - self.term_months


class Place(NamedTuple):
    """What decides which price holds for a span, beside its meter and time."""

    meter: str
    sub_cloud: str
    operator: str
    unit_class: str
    term_months: int


class Grant(NamedTuple):
    """What a payer has free in the month under a price, in unit-seconds; all versions of one ``series`` share it."""

    series: int
    pool: Decimal


class Piece(NamedTuple):
    """A stretch of the month in which one price version holds."""

    start: int
    end: int
    number: int


def check_prices(prices: Sequence[Price], problems: Problems) -> None:
    """Notes ``tariff.overlap`` for two versions of one price that hold at the same time."""
    groups: dict[Place, list[Price]] = {}
    for price in prices:
        named = Place(price.meter, price.sub_cloud, price.operator, price.unit_class, price.term_months)
        groups.setdefault(named, []).append(price)
    for group in groups.values():
        for before, after in pairwise(sorted(group, key=lambda price: price.start)):
            if before.end is None or before.end > after.start:
                problems.add("tariff.overlap", after.place, other=before.place, meter=after.meter)


def grants(prices: Sequence[Price], month: Month) -> dict[int, Grant]:
    """For each price (by its place) with a free quantity in the month: what is free, and with which others together.

    Versions that follow each other are one price: a change within the month grants nothing again; where they differ,
    the most that was granted holds for the month.
    """
    start = epoch_seconds(month.start)
    series: dict[tuple[object, ...], int] = {}
    pools: dict[int, Decimal] = {}
    found: dict[int, int] = {}
    for number, price in enumerate(prices):
        over = price.start >= start + month.seconds or (price.end is not None and price.end <= start)
        if over or not price.free_quantity:
            continue
        mine = found[number] = series.setdefault(price.series, len(series))
        pool = EXACT.multiply(price.free_quantity, seconds_of(price.per, month.seconds))
        pools[mine] = max(pools.get(mine, _NONE), pool)
    return {number: Grant(mine, pools[mine]) for number, mine in found.items()}


class Seat(NamedTuple):
    """Where a unit stood in the tree over [start, end): from the root to itself."""

    unit_id: UUID
    ancestors: Sequence[UUID]
    start: int
    end: int


class PayerRow(NamedTuple):
    """Who pays over [start, end) for what a unit, and those below it, use on a tier of clouds or on one cloud."""

    unit_id: UUID
    tier: str
    sub_cloud_id: UUID | None
    payer_unit_id: UUID
    rule: str
    article: str
    start: int
    end: int


def nearest(candidates: Iterable[tuple[int, int, int, int]], start: int, end: int) -> list[Piece]:
    """The pieces of [start, end) in which one candidate (distance, number, start, end) holds, in order.

    A nearer one takes its time away from those farther off, of equally near ones the first; what is left is disjoint,
    so that nothing can be counted twice.
    """
    free = [(start, end)]
    out: list[Piece] = []
    for _, number, begins, ends in sorted(candidates):
        left: list[tuple[int, int]] = []
        for a, b in free:
            low, high = max(a, begins), min(b, ends)
            if low >= high:
                left.append((a, b))
                continue
            out.append(Piece(low, high, number))
            left += [(x, y) for x, y in ((a, low), (high, b)) if x < y]
        free = left
    return sorted(out)


def by_meter(prices: Sequence[Price]) -> Mapping[str, Sequence[tuple[int, Price]]]:
    """The prices of each meter, each with its place in ``prices``."""
    found: dict[str, list[tuple[int, Price]]] = {}
    for number, price in enumerate(prices):
        found.setdefault(price.meter, []).append((number, price))
    return found


def cut(prices: Mapping[str, Sequence[tuple[int, Price]]], place: Place, start: int, end: int) -> list[Piece]:
    """The pieces of [start, end) in which one price holds at a place; ``prices`` as of ``by_meter``."""
    near = (
        (distance, number, price.start, FOR_EVER if price.end is None else price.end)
        for number, price in prices.get(place.meter, ())
        if (distance := price.distance(place)) is not None
    )
    return nearest(near, start, end)


def paid(
    seats: Sequence[Seat],
    rows: Mapping[UUID, Sequence[tuple[int, PayerRow]]],
    cloud: tuple[UUID, str],
    start: int,
    end: int,
) -> list[Piece]:
    """The pieces of [start, end) in which one payer's rule holds for a unit on a cloud (its id and tier).

    The nearest unit, from the user upwards, with a rule for that very cloud, else the nearest with one for its tier, in
    the tree as it stood then. ``seats`` are the unit's; ``rows``: numbered, by the unit they speak of.
    """
    near = (
        ((0 if row.sub_cloud_id else 1000) + above, number, max(seat.start, row.start), min(seat.end, row.end))
        for seat in seats
        for above, unit_id in enumerate(reversed(seat.ancestors))
        for number, row in rows.get(unit_id, ())
        if row.tier == cloud[1] and row.sub_cloud_id in {None, cloud[0]}
    )
    return nearest(near, start, end)


def epoch_seconds(at: datetime) -> int:
    """Whole seconds since 1970."""
    return (at - EPOCH) // timedelta(seconds=1)
