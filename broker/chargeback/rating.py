"""Rating of usage without a database: spans and prices in, lines exact to the fen out. Pure.

Called by: ``chargeback.offline`` (``guiyun rate``). Must not: import SQL, use a float, or pass over usage without a
price. The rules are those of ``chargeback.rules``, which the database and DuckDB are fed by as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from broker.chargeback.problems import Problems
from broker.chargeback.rules import Piece, Place, Price, by_meter, cut, epoch_seconds, grants
from broker.pricing.months import Month
from broker.pricing.rules import EXACT, LIMIT_FEN, amount_fen
from broker.pricing.values import Per

_NONE = Decimal(0)
_NOWHERE = (-1, "")


class Span(NamedTuple):
    """One row of usage over [start, end). ``place`` says where it was read; ``once``: an item charged once."""

    place: str
    resource_id: str
    payer_id: str
    city_code: str
    sub_cloud: str
    meter: str
    quantity: Decimal
    start: int
    end: int
    operator: str = ""
    unit_class: str = ""
    term_months: int = 0
    stopped: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """What a payer owes for one meter of one resource under one price version in the month.

    ``price_number`` is the version's place in the tariff, from 1: two may begin at one time. ``city_code`` is that of
    its last span, as a close's line names the unit that had the resource last.
    """

    payer_id: str
    city_code: str
    resource_id: str
    meter: str
    price: Price
    price_number: int
    quantity_seconds: Decimal
    amount_fen: int


class Rating:
    """Adds up a month's usage, span by span in any order, and turns it into lines."""

    def __init__(self, prices: Sequence[Price], month: Month, problems: Problems) -> None:
        self._prices = prices
        self._by_meter = by_meter(prices)
        self._start = epoch_seconds(month.start)
        self._end = self._start + month.seconds
        self._month_seconds = month.seconds
        self._problems = problems
        self._pieces: dict[Place, list[Piece]] = {}
        self._grants = grants(prices, month)
        self._freeable: dict[tuple[str, int], list[tuple[int, str, int, Decimal, int]]] = {}
        self._sums: dict[tuple[str, str, str, int], Decimal] = {}
        self._cities: dict[tuple[str, str, str, int], tuple[int, str]] = {}
        self._taken: dict[tuple[str, str], list[tuple[int, int, str]]] = {}

    def add(self, span: Span) -> None:
        """Count a span's time in the month.

        Notes ``span.meter_unknown`` and ``span.price_missing``.
        """
        start, end = max(span.start, self._start), min(span.end, self._end)
        if start >= end:
            return
        if span.meter not in self._by_meter:
            self._problems.add("span.meter_unknown", span.place, meter=span.meter)
            return
        self._taken.setdefault((span.resource_id, span.meter), []).append((start, end, span.place))
        place = Place(span.meter, span.sub_cloud, span.operator, span.unit_class, span.term_months)
        pieces = self._pieces_of(place)
        covered = start
        for at in range(max(bisect_right(pieces, start, key=_start_of) - 1, 0), len(pieces)):
            piece = pieces[at]
            if piece.start >= end or piece.start > covered:
                break
            until = min(piece.end, end)
            if until > covered:
                self._count(span, piece.number, covered, until)
                covered = until
        if covered < end:
            self._problems.add("span.price_missing", span.place, meter=span.meter, sub_cloud=span.sub_cloud)

    def lines(self) -> list[Line]:
        """The month's lines by payer, resource, meter and time. Notes ``span.overlap`` and ``line.limit``."""
        self._find_overlaps()
        free = self._freed()
        out = []
        for key in sorted(self._sums, key=self._order):
            payer_id, resource_id, meter, number = key
            price, seconds = self._prices[number], self._sums[key]
            paid = EXACT.subtract(seconds, free.get((payer_id, resource_id, number), _NONE))
            cny = EXACT.multiply(price.price_cny, price.discount)
            fen = amount_fen(cny, price.per, paid, self._month_seconds)
            if fen > LIMIT_FEN:
                self._problems.add("line.limit", price.place, resource=resource_id, meter=meter, limit_fen=LIMIT_FEN)
            out.append(Line(payer_id, self._cities[key][1], resource_id, meter, price, number + 1, seconds, fen))
        return out

    def _freed(self) -> dict[tuple[str, str, int], Decimal]:
        """What is free of each payer's resource under a price: used up in order of start, then resource."""
        out: dict[tuple[str, str, int], Decimal] = {}
        pools = {grant.series: grant.pool for grant in self._grants.values()}
        for (payer_id, series), uses in self._freeable.items():
            left = pools[series]
            for _, resource_id, _, amount, number in sorted(uses):
                taken = min(left, amount)
                left = EXACT.subtract(left, taken)
                key = (payer_id, resource_id, number)
                out[key] = EXACT.add(out.get(key, _NONE), taken)
        return out

    def _count(self, span: Span, number: int, start: int, end: int) -> None:
        price, seconds = self._prices[number], end - start
        if span.stopped and not price.charged_when_stopped:
            return
        if price.per is Per.ONCE and span.end - span.start != 1:
            self._problems.add("span.once", span.place, resource=span.resource_id, meter=span.meter)
        if span.once and price.per is not Per.ONCE:
            self._problems.add("span.once_price", span.place, resource=span.resource_id, meter=span.meter)
        if number in self._grants:
            amount = EXACT.multiply(span.quantity, seconds)
            use = (span.start, span.resource_id, start, amount, number)
            self._freeable.setdefault((span.payer_id, self._grants[number].series), []).append(use)
        key = (span.payer_id, span.resource_id, span.meter, number)
        self._cities[key] = max((end, span.city_code), self._cities.get(key, _NOWHERE))
        self._sums[key] = EXACT.fma(span.quantity, seconds, self._sums.get(key, _NONE))

    def _order(self, key: tuple[str, str, str, int]) -> tuple[str, str, str, int, int]:
        return (*key[:3], self._prices[key[3]].start, key[3])

    def _pieces_of(self, place: Place) -> list[Piece]:
        found = self._pieces.get(place)
        if found is None:
            found = self._pieces[place] = cut(self._by_meter, place, self._start, self._end)
        return found

    def _find_overlaps(self) -> None:
        for (resource_id, meter), taken in self._taken.items():
            taken.sort()
            for before, after in pairwise(taken):
                if before[1] > after[0]:
                    self._problems.add("span.overlap", after[2], other=before[2], resource=resource_id, meter=meter)


def plain(number: Decimal) -> str:
    """A decimal without exponent and without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _start_of(piece: Piece) -> int:
    return piece.start
