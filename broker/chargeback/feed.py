"""What the database is fed with to rate usage: the decisions of ``rules`` as small tables. Pure.

Called by: ``chargeback.facts``, which has read what it takes. Must not: see usage: how much was used where is joined to
these tables by ``rating_sql``, millions of rows at a time.

How it reads. A ``place`` is where a resource can belong (unit, sub-cloud), a ``spot`` all places with the same prices
(sub-cloud, class of unit). ``piece``: for a place, a meter and a term, a stretch of time under one price and one payer;
its ``line_n`` numbers what makes a line of one resource (payer, place, price version), ``bill_n`` the same wherever the
place, ``pool_n`` whose free quantity it takes from. ``unpaid``: priced, but nobody pays. ``covered``: what has a piece
for every second of the time, all of one kind. ``head`` explains a ``line_n``, ``rate`` says what a price comes to for a
unit-second of a month, as a whole fraction of fen, and the same for 64 bits, which hold up to ``most`` unit-seconds.
``supply…``: the other side, what operators are owed: a sub-cloud's time is each operator's own (``tenure``), settled
where it has any settlement price (``supplied_spot``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from broker.chargeback.rules import (
    PayerRow,
    Piece,
    Place,
    Price,
    Seat,
    by_meter,
    cut,
    epoch_seconds,
    grants,
    paid,
)
from broker.pricing.months import Month
from broker.pricing.rules import EXACT, fen_per_unit_second
from broker.pricing.values import Per


class Home(NamedTuple):
    """Where a resource can belong: a ``place``, and the ``spot`` it is of."""

    place_n: int
    spot_n: int
    unit_id: UUID
    unit_class: str
    sub_cloud_id: UUID
    tier: str


class Tenure(NamedTuple):
    """Who operates a sub-cloud over [start, end)."""

    sub_cloud_id: UUID
    operator: str
    start: int
    end: int


class Named(NamedTuple):
    """A price version by its id and side; ``Price.sub_cloud`` is the cloud's id as text."""

    id: UUID
    side: str
    price: Price


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read: price versions, who pays, where units stood, the terms of any commitment, who operated clouds."""

    prices: Sequence[Named]
    payers: Sequence[PayerRow]
    seats: Sequence[Seat]
    terms: Sequence[int]
    tenures: Sequence[Tenure]


_BIGINT = 2**63 - 1

Rows = dict[str, list[tuple[Any, ...]]]
"""The tables by name; ``given_sql.SHAPES`` has their columns."""


@dataclass(slots=True)
class _Numbers:
    """Numbers things as they come, from 1."""

    seen: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def of(self, *key: Any) -> int:
        return self.seen.setdefault(key, len(self.seen) + 1)


def feed(facts: Facts, homes: Sequence[Home], months: Sequence[Month], since: int, until: int) -> Rows:
    """Everything that usage of [since, until) at ``homes`` is joined with."""
    side = {name: [one for one in facts.prices if one.side == name] for name in ("charge", "settlement")}
    charges = _Charges(side["charge"], facts, homes, since, until)
    out = charges.rows()
    out["granted"] = charges.granted(months)
    out |= _supplies(side["settlement"], facts, homes, since, until)
    out["rate"] = list(_rates(side["charge"], months)) + list(_rates(side["settlement"], months))
    return out


def payers_at(facts: Facts, homes: Sequence[Home], since: int, until: int) -> dict[int, list[Piece]]:
    """By place, who pays when; ``number``: the rule's place in ``facts.payers``."""
    seats: dict[UUID, list[Seat]] = {}
    for seat in facts.seats:
        seats.setdefault(seat.unit_id, []).append(seat)
    rows: dict[UUID, list[tuple[int, PayerRow]]] = {}
    for number, row in enumerate(facts.payers):
        rows.setdefault(row.unit_id, []).append((number, row))
    return {
        home.place_n: paid(seats.get(home.unit_id, ()), rows, (home.sub_cloud_id, home.tier), since, until)
        for home in homes
    }


def operated(tenures: Iterable[Tenure], since: int, until: int) -> dict[UUID, list[Tenure]]:
    """By sub-cloud, who operates it when within [since, until), in order."""
    out: dict[UUID, list[Tenure]] = {}
    for one in sorted(tenures, key=lambda one: one.start):
        start, end = max(one.start, since), min(one.end, until)
        if start < end:
            out.setdefault(one.sub_cloud_id, []).append(one._replace(start=start, end=end))
    return out


class _Priced(NamedTuple):
    """A stretch of time under one price version and one operator."""

    start: int
    end: int
    number: int
    tenure: Tenure


class _Charges:
    """The payers' side of one feed."""

    def __init__(self, prices: Sequence[Named], facts: Facts, homes: Sequence[Home], since: int, until: int) -> None:
        self._prices = prices
        self._payers = facts.payers
        self._homes = homes
        self._since, self._until = since, until
        self._lines, self._bills, self._pools = _Numbers(), _Numbers(), _Numbers()
        self._rules: dict[int, tuple[str, str]] = {}
        self._at_spot = _at_spots([one.price for one in prices], facts, homes, since, until)
        self._payers_at = payers_at(facts, homes, since, until)

    def rows(self) -> Rows:
        """``piece``, ``unpaid``, ``covered``, ``head``."""
        out: Rows = {"piece": [], "unpaid": [], "covered": []}
        for home in self._homes:
            payers = self._payers_at[home.place_n]
            for meter, term, priced in self._at_spot[home.spot_n]:
                pieces = [row for piece in priced for row in self._cut(home, term, piece, payers)]
                paid_for = [row for row in pieces if row[0] is not None]
                out["piece"] += paid_for
                out["unpaid"] += [(*row[1:4], row[6], row[7], row[9], row[10]) for row in pieces if row[0] is None]
                kinds = {row[6] for row in paid_for}
                if len(kinds) == 1 and sum(row[10] - row[9] for row in paid_for) == self._until - self._since:
                    out["covered"].append((home.place_n, term, meter, *kinds))
        homes = {home.place_n: home for home in self._homes}
        out["head"] = [
            (line_n, payer, homes[place_n].unit_id, homes[place_n].sub_cloud_id, *self._price(number))
            + self._rules[line_n]
            for (payer, place_n, number), line_n in self._lines.seen.items()
        ]
        return out

    def granted(self, months: Iterable[Month]) -> list[tuple[Any, ...]]:
        """What of each pool is free in each month."""
        prices = [one.price for one in self._prices]
        return [
            (epoch_seconds(month.start), pool_n, free[series])
            for month in months
            if (free := {prices[n].series: grant.pool for n, grant in grants(prices, month).items()})
            for (_, series), pool_n in self._pools.seen.items()
            if series in free
        ]

    def _cut(self, home: Home, term: int, priced: _Priced, payers: Sequence[Piece]) -> Iterable[tuple[Any, ...]]:
        """One price's stretch cut by who pays; where nobody does, without a number.

        What is free goes to whoever began first under one payer and operator: an export's spans begin there too.
        """
        price = self._prices[priced.number].price
        kind = (price.per is Per.ONCE, price.charged_when_stopped)
        over = priced.start
        for piece in payers:
            start, end = max(piece.start, priced.start), min(piece.end, priced.end)
            if start >= end:
                continue
            if over < start:
                yield (None, home.place_n, term, price.meter, None, None, *kind, None, over, start, "", "")
            over = end
            payer = self._payers[piece.number]
            line_n = self._lines.of(payer.payer_unit_id, home.place_n, priced.number)
            rule = (payer.rule, payer.article)
            self._rules[line_n] = min(rule, self._rules.get(line_n, rule))
            bill_n = self._bills.of(payer.payer_unit_id, priced.number)
            pool_n = self._pools.of(payer.payer_unit_id, price.series) if price.free_quantity else None
            key = (line_n, home.place_n, term, price.meter, bill_n, pool_n)
            yield (*key, *kind, max(piece.start, priced.tenure.start), start, end, *rule)
        if over < priced.end:
            yield (None, home.place_n, term, price.meter, None, None, *kind, None, over, priced.end, "", "")

    def _price(self, number: int) -> tuple[Any, ...]:
        one = self._prices[number]
        return (one.price.meter, one.id, _discounted(one.price), one.price.per.value)


def _at_spots(
    prices: Sequence[Price], facts: Facts, homes: Sequence[Home], since: int, until: int
) -> Mapping[int, list[tuple[str, int, list[_Priced]]]]:
    """For each spot: meter, term and the pieces of time under one price and operator, where there is any."""
    meters, clouds = by_meter(prices), operated(facts.tenures, since, until)
    out: dict[int, list[tuple[str, int, list[_Priced]]]] = {}
    for spot_n, home in {home.spot_n: home for home in homes}.items():
        found = (
            (
                meter,
                term,
                [
                    _Priced(*piece, tenure)
                    for tenure in clouds.get(home.sub_cloud_id, ())
                    for piece in cut(meters, _place(meter, home, tenure.operator, term), tenure.start, tenure.end)
                ],
            )
            for meter in meters
            for term in facts.terms
        )
        out[spot_n] = [one for one in found if one[2]]
    return out


def _supplies(prices: Sequence[Named], facts: Facts, homes: Sequence[Home], since: int, until: int) -> Rows:
    """``supply``, ``supply_covered``, ``supply_head``, ``supplied_spot``: what operators are owed, by spot."""
    out: Rows = {"supply": [], "supply_covered": [], "supply_head": [], "supplied_spot": []}
    spots = {home.spot_n: home for home in homes}
    clouds, longest = operated(facts.tenures, since, until), max(facts.terms, default=0)
    settled = {
        tenure.operator
        for home in spots.values()
        for tenure in clouds.get(home.sub_cloud_id, ())
        for one in prices
        if one.price.distance(_place(one.price.meter, home, tenure.operator, longest)) is not None
    }
    out["supplied_spot"] = [
        (spot_n, *tenure)
        for spot_n, home in spots.items()
        for tenure in clouds.get(home.sub_cloud_id, ())
        if tenure.operator in settled
    ]
    supplied = Counter[int]()
    for spot_n, _, _, start, end in out["supplied_spot"]:
        supplied[spot_n] += end - start
    numbers = _Numbers()
    for spot_n, cuts in _at_spots([one.price for one in prices], facts, homes, since, until).items():
        for meter, term, pieces in cuts:
            kinds = set()
            for piece in pieces:
                price = prices[piece.number].price
                kinds.add(price.per is Per.ONCE)
                supply_n = numbers.of(spots[spot_n].sub_cloud_id, piece.tenure.operator, piece.number)
                kind = (price.per is Per.ONCE, price.charged_when_stopped)
                out["supply"].append((supply_n, spot_n, term, meter, *kind, piece.start, piece.end))
            if len(kinds) == 1 and sum(piece.end - piece.start for piece in pieces) == supplied[spot_n]:
                out["supply_covered"].append((spot_n, term, meter, *kinds))
    out["supply_head"] = [
        (supply_n, cloud, operator, prices[number].price.meter, prices[number].id)
        for (cloud, operator, number), supply_n in numbers.seen.items()
    ]
    return out


def _rates(prices: Iterable[Named], months: Iterable[Month]) -> Iterable[tuple[Any, ...]]:
    """What a unit-second costs under each price in each month it holds in."""
    for month in months:
        start = epoch_seconds(month.start)
        for one in prices:
            price = one.price
            if price.start < start + month.seconds and (price.end is None or price.end > start):
                fen = fen_per_unit_second(_discounted(price), price.per, month.seconds)
                yield (start, one.id, fen.numerator, fen.denominator, *_in_64_bits(fen.numerator, fen.denominator))


def _in_64_bits(numerator: int, denominator: int) -> tuple[int, int, int]:
    """The fraction for bigint, and up to how many unit-seconds no product of ``half_even`` leaves it; -1: never."""
    if max(numerator, 2 * denominator) > _BIGINT:
        return 0, 1, -1
    return numerator, denominator, (_BIGINT - denominator) // (2 * numerator) if numerator else _BIGINT


def _discounted(price: Price) -> Decimal:
    return EXACT.multiply(price.price_cny, price.discount)


def _place(meter: str, home: Home, operator: str, term: int) -> Place:
    return Place(meter, str(home.sub_cloud_id), operator, home.unit_class, term)
