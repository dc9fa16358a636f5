"""What a month costs, worked out the slow way: fractions, and a walk over every stretch of time. Shares no code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

Window = tuple[datetime, datetime | None]
Key = tuple[object, object, str, object]
"""Payer, resource, meter, price version."""

STOPPED_IS_FREE = {"vcpu_x86_64", "vcpu_aarch64", "memory_gib"}


@dataclass(frozen=True)
class Use:
    """A quantity of a meter over a window, in a place."""

    resource: object
    unit: object
    cloud: object
    tier: str
    meter: str
    quantity: Fraction
    state: str
    window: Window


@dataclass(frozen=True)
class PriceRow:
    """A price version; ``cloud`` None is the general one."""

    id: object
    meter: str
    cloud: object | None
    price: str
    per: str
    window: Window


@dataclass(frozen=True)
class PayerRow:
    """Who pays for a unit's use of a tier."""

    unit: UUID
    tier: str
    payer: UUID
    rule: str
    article: str
    window: Window


@dataclass(frozen=True)
class Place:
    """Where a unit stood in the tree: from itself upwards."""

    unit: UUID
    chain: tuple[UUID, ...]
    window: Window


@dataclass
class Owed:
    """A line: exact quantity-seconds, fen, and the rules that put it there."""

    seconds: Fraction = Fraction(0)
    exact: Fraction = Fraction(0)
    rules: set[str] = field(default_factory=set)

    @property
    def fen(self) -> int:
        return round(self.exact)  # Fraction.__round__ is exact, ties to even


def month_window(year: int, month: int) -> tuple[datetime, datetime]:
    """A month of a clock eight hours ahead of UTC."""
    ahead = timedelta(hours=8)
    following = (year + month // 12, month % 12 + 1)
    return datetime(year, month, 1, tzinfo=UTC) - ahead, datetime(*following, 1, tzinfo=UTC) - ahead


def holds(window: Window, at: datetime) -> bool:
    return window[0] <= at and (window[1] is None or at < window[1])


def seconds(start: datetime, end: datetime) -> Fraction:
    return Fraction((end - start) // timedelta(microseconds=1), 1_000_000)


def bill(
    uses: Iterable[Use],
    prices: list[PriceRow],
    month: tuple[int, int],
    until: datetime,
    *,
    payer: object = None,
    places: list[Place] | None = None,
    payers: list[PayerRow] | None = None,
) -> tuple[dict[Key, Owed], dict[tuple[object, str], Fraction]]:
    """Lines and gaps of a month. ``payer`` is a fixed one; without it the tree says who pays."""
    start, end = month_window(*month)
    whole = seconds(start, end)
    stop = min(end, until)
    changes = [row.window for row in prices]
    changes += [row.window for row in places or []] + [row.window for row in payers or []]
    edges = {e for window in changes for e in window if e is not None}
    lines: dict[Key, Owed] = {}
    gaps: dict[tuple[object, str], Fraction] = {}
    for use in uses:
        if use.state == "stopped" and use.meter in STOPPED_IS_FREE:
            continue
        low, high = max(use.window[0], start), min(use.window[1] or stop, stop)
        if low >= high:
            continue
        for a, b in pairwise(sorted({low, high, *(e for e in edges if low < e < high)})):
            price = _price(prices, use, a)
            found = (payer, "", "") if payer is not None else _payer(places or [], payers or [], use, a)
            amount = use.quantity * seconds(a, b)
            if price is None or found is None:
                gaps[use.resource, use.meter] = gaps.get((use.resource, use.meter), Fraction(0)) + amount
                continue
            line = lines.setdefault((found[0], use.resource, use.meter, price.id), Owed())
            line.seconds += amount
            line.exact += Fraction(price.price) * 100 * amount / (3600 if price.per == "hour" else whole)
            line.rules.add(found[1])
    return lines, gaps


def _price(prices: list[PriceRow], use: Use, at: datetime) -> PriceRow | None:
    found = [p for p in prices if p.meter == use.meter and p.cloud in (None, use.cloud) and holds(p.window, at)]
    return min(found, key=lambda p: p.cloud is None, default=None)


def _payer(places: list[Place], payers: list[PayerRow], use: Use, at: datetime) -> tuple[UUID, str, str] | None:
    for place in places:
        if place.unit == use.unit and holds(place.window, at):
            for ancestor in place.chain:
                for row in payers:
                    if row.unit == ancestor and row.tier == use.tier and holds(row.window, at):
                        return row.payer, row.rule, row.article
    return None
