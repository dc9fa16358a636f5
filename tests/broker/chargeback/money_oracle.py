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
    operator: str = ""
    unit_class: str = ""
    term: int = 0
    once: bool = False


@dataclass(frozen=True)
class PriceRow:
    """A price version; ``cloud`` None is the general one."""

    id: object
    meter: str
    cloud: object | None
    price: str
    per: str
    window: Window
    operator: str | None = None
    unit_class: str | None = None
    term: int = 0
    discount: str = "1"
    free: str = "0"
    stopped: bool | None = None

    @property
    def scope(self) -> tuple[object, ...]:
        """What a version is a version of: they share what is free in a month."""
        return self.meter, self.cloud, self.operator, self.unit_class, self.term, self.per == "once"

    @property
    def charges_stopped(self) -> bool:
        return self.meter not in STOPPED_IS_FREE if self.stopped is None else self.stopped

    def nearness(self, use: Use) -> tuple[int, int, int] | None:
        """The greatest wins; None: not for this use."""
        if self.meter != use.meter or self.term > use.term:
            return None
        if self.cloud not in {None, use.cloud} or self.operator not in {None, use.operator}:
            return None
        if self.unit_class not in {None, use.unit_class}:
            return None
        where = 2 if self.cloud is not None else 1 if self.operator is not None else 0
        return where, int(self.unit_class is not None), self.term


@dataclass(frozen=True)
class PayerRow:
    """Who pays for a unit's use of a tier."""

    unit: UUID
    tier: str
    payer: UUID
    rule: str
    article: str
    window: Window
    cloud: UUID | None = None


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
    free: Fraction = Fraction(0)

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


def meets(window: Window, start: datetime, end: datetime) -> bool:
    return window[0] < end and (window[1] is None or window[1] > start)


def seconds(start: datetime, end: datetime) -> Fraction:
    return Fraction((end - start) // timedelta(microseconds=1), 1_000_000)


def bill(  # noqa: C901 - one walk, so that it can be read beside the rules
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
    pools: dict[tuple[object, tuple[object, ...]], list[tuple[tuple[datetime, str, datetime], Fraction, Owed]]] = {}
    per = {"hour": Fraction(3600), "month": whole, "once": Fraction(1)}
    by_id = {row.id: row for row in prices}
    charged_once_stopped = {row.meter for row in prices if row.stopped}
    for use in uses:
        if use.state == "stopped" and use.meter in STOPPED_IS_FREE - charged_once_stopped:
            continue
        low, high = max(use.window[0], start), min(use.window[1] or stop, stop)
        if low >= high:
            continue
        before: object = None
        begun = use.window[0]
        cuts = {use.window[0], low, high, *(e for e in edges if use.window[0] < e < high)}
        for a, b in pairwise(sorted(cuts)):
            price = _price(prices, use, a)
            found = (payer, "", "", None) if payer is not None else _payer(places or [], payers or [], use, a)
            if found is None or found[3] != before:
                before, begun = found and found[3], max(a, start)  # a month's own: no other is asked
            if a < low:
                continue
            amount = use.quantity * seconds(a, b)
            if use.state == "stopped" and price is not None and not price.charges_stopped:
                continue
            if price is None or found is None or (price.per == "once") != use.once:
                gaps[use.resource, use.meter] = gaps.get((use.resource, use.meter), Fraction(0)) + amount
                continue
            line = lines.setdefault((found[0], use.resource, use.meter, price.id), Owed())
            line.seconds += amount
            line.rules.add(found[1])
            if price.free != "0":
                pools.setdefault((found[0], price.scope), []).append(((begun, str(use.resource), a), amount, line))
    for (_, scope), claims in pools.items():
        versions = [row for row in prices if row.scope == scope and meets(row.window, start, end)]
        _use_up(max(Fraction(row.free) * per[row.per] for row in versions), claims)
    for (_, _, _, price_id), line in lines.items():
        row = by_id[price_id]
        line.exact = Fraction(row.price) * Fraction(row.discount) * 100 * (line.seconds - line.free) / per[row.per]
    return lines, gaps


def _use_up(left: Fraction, claims: list[tuple[tuple[datetime, str, datetime], Fraction, Owed]]) -> None:
    """A free quantity goes to whoever began first, then by resource."""
    for _, amount, line in sorted(claims, key=lambda claim: claim[0]):
        line.free += min(left, amount)
        left -= min(left, amount)


def _price(prices: list[PriceRow], use: Use, at: datetime) -> PriceRow | None:
    found = [(near, row) for row in prices if holds(row.window, at) and (near := row.nearness(use)) is not None]
    return max(found, key=lambda one: one[0])[1] if found else None


def _payer(places: list[Place], payers: list[PayerRow], use: Use, at: datetime) -> tuple[UUID, str, str, object] | None:
    for place in places:
        if place.unit == use.unit and holds(place.window, at):
            for own_cloud in (True, False):
                for ancestor in place.chain:
                    for row in payers:
                        ours = row.cloud == use.cloud if own_cloud else row.cloud is None
                        if ours and row.unit == ancestor and row.tier == use.tier and holds(row.window, at):
                            return row.payer, row.rule, row.article, (place, row)
    return None
