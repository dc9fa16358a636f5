"""Rating of usage without a database: spans and prices in, lines exact to the fen out. Pure.

Called by: ``chargeback.offline`` (``guiyun rate``). Must not: import SQL, use a float, or pass over usage without a
price. The same rules stand in SQL in ``chargeback.rating_sql``. Instants here are whole seconds since 1970, UTC.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from broker.chargeback.problems import Problems
from broker.pricing.months import Month
from broker.pricing.rules import EXACT, LIMIT_FEN, amount_fen
from broker.pricing.values import Per

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NONE = Decimal(0)


class Span(NamedTuple):
    """One row of usage over [start, end). ``place`` says where it was read."""

    place: str
    resource_id: str
    payer_id: str
    city_code: str
    sub_cloud: str
    meter: str
    quantity: Decimal
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Price:
    """A price version over [start, end), open without ``end``; for one sub-cloud, or for all when that is empty.

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


@dataclass(frozen=True, slots=True)
class Line:
    """What a payer owes for one meter of one resource under one price version in the month."""

    payer_id: str
    city_code: str
    resource_id: str
    meter: str
    price: Price
    quantity_seconds: Decimal
    amount_fen: int


class Piece(NamedTuple):
    """A stretch of the month in which one price version holds."""

    start: int
    end: int
    number: int


def check_prices(prices: Sequence[Price], problems: Problems) -> None:
    """Notes ``tariff.overlap`` for two versions of one price that hold at the same time."""
    groups: dict[tuple[str, str], list[Price]] = {}
    for price in prices:
        groups.setdefault((price.meter, price.sub_cloud), []).append(price)
    for group in groups.values():
        for before, after in pairwise(sorted(group, key=lambda price: price.start)):
            if before.end is None or before.end > after.start:
                problems.add("tariff.overlap", after.place, other=before.place, meter=after.meter)


class Rating:
    """Adds up a month's usage, span by span in any order, and turns it into lines."""

    def __init__(self, prices: Sequence[Price], month: Month, problems: Problems) -> None:
        self._prices = prices
        self._meters = {price.meter for price in prices}
        self._start = epoch_seconds(month.start)
        self._end = self._start + month.seconds
        self._month_seconds = month.seconds
        self._problems = problems
        self._pieces: dict[tuple[str, str], list[Piece]] = {}
        self._sums: dict[tuple[str, str, str, int], Decimal] = {}
        self._cities: dict[tuple[str, str, str, int], str] = {}
        self._taken: dict[tuple[str, str], list[tuple[int, int, str]]] = {}

    def add(self, span: Span) -> None:
        """Count a span's time in the month.

        Notes ``span.meter_unknown``, ``span.price_missing`` and ``span.city_differs``.
        """
        start, end = max(span.start, self._start), min(span.end, self._end)
        if start >= end:
            return
        if span.meter not in self._meters:
            self._problems.add("span.meter_unknown", span.place, meter=span.meter)
            return
        self._taken.setdefault((span.resource_id, span.meter), []).append((start, end, span.place))
        pieces = self._pieces_of(span.meter, span.sub_cloud)
        covered = start
        for at in range(max(bisect_right(pieces, start, key=_start_of) - 1, 0), len(pieces)):
            piece = pieces[at]
            if piece.start >= end or piece.start > covered:
                break
            until = min(piece.end, end)
            if until > covered:
                self._count(span, piece.number, until - covered)
                covered = until
        if covered < end:
            self._problems.add("span.price_missing", span.place, meter=span.meter, sub_cloud=span.sub_cloud)

    def lines(self) -> list[Line]:
        """The month's lines by payer, resource, meter and time. Notes ``span.overlap`` and ``line.limit``."""
        self._find_overlaps()
        out = []
        for key in sorted(self._sums, key=self._order):
            payer_id, resource_id, meter, number = key
            price, seconds = self._prices[number], self._sums[key]
            fen = amount_fen(price.price_cny, price.per, seconds, self._month_seconds)
            if fen > LIMIT_FEN:
                self._problems.add("line.limit", price.place, resource=resource_id, meter=meter, limit_fen=LIMIT_FEN)
            out.append(Line(payer_id, self._cities[key], resource_id, meter, price, seconds, fen))
        return out

    def _count(self, span: Span, number: int, seconds: int) -> None:
        key = (span.payer_id, span.resource_id, span.meter, number)
        if self._cities.setdefault(key, span.city_code) != span.city_code:
            self._problems.add("span.city_differs", span.place, resource=span.resource_id)
        self._sums[key] = EXACT.fma(span.quantity, seconds, self._sums.get(key, _NONE))

    def _order(self, key: tuple[str, str, str, int]) -> tuple[str, str, str, int, int]:
        return (*key[:3], self._prices[key[3]].start, key[3])

    def _pieces_of(self, meter: str, sub_cloud: str) -> list[Piece]:
        found = self._pieces.get((meter, sub_cloud))
        if found is None:
            ours = [(n, p) for n, p in enumerate(self._prices) if p.meter == meter and p.sub_cloud in {"", sub_cloud}]
            found = self._pieces[meter, sub_cloud] = cut(ours, self._start, self._end)
        return found

    def _find_overlaps(self) -> None:
        for (resource_id, meter), taken in self._taken.items():
            taken.sort()
            for before, after in pairwise(taken):
                if before[1] > after[0]:
                    self._problems.add("span.overlap", after[2], other=before[2], resource=resource_id, meter=meter)


def cut(prices: Iterable[tuple[int, Price]], start: int, end: int) -> list[Piece]:
    """The pieces of [start, end) in which one price holds, in order; a sub-cloud's own price wins over the general."""
    inside = [(n, max(p.start, start), end if p.end is None else min(p.end, end), p.sub_cloud) for n, p in prices]
    inside = [one for one in inside if one[1] < one[2]]
    own = sorted((one for one in inside if one[3]), key=lambda one: one[1])
    out = [Piece(a, b, n) for n, a, b, _ in own]
    for number, a, b, sub_cloud in inside:
        if not sub_cloud:
            free = a
            for _, own_start, own_end, _ in own:
                if own_start >= b:
                    break
                if own_start > free:
                    out.append(Piece(free, own_start, number))
                free = max(free, own_end)
            if free < b:
                out.append(Piece(free, b, number))
    return sorted(out)


def epoch_seconds(at: datetime) -> int:
    """Whole seconds since 1970."""
    return (at - EPOCH) // timedelta(seconds=1)


def _start_of(piece: Piece) -> int:
    return piece.start
