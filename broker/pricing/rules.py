"""Exact money: price times quantity times time, rounded once, half-even, to the fen. Pure.

Called by: quotes, all rating. Must not: use a float, round twice, or read the database.
The last product and its rounding stand in SQL in ``broker.chargeback.arithmetic_sql``; tests hold both to one oracle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from fractions import Fraction

from broker.pricing.values import Per, PriceVersion, Quote, QuoteLine

FEN_PER_CNY = 100
SECONDS_PER_HOUR = 3600
QUOTE_HOURS_PER_MONTH = 730
"""A quote knows no calendar: for an hourly price a month has 730 hours (365 x 24 / 12). Ours; a bill counts seconds."""

FREE_WHEN_STOPPED = ("vcpu_x86_64", "vcpu_aarch64", "memory_gib")
"""Meters that a stopped server is not charged for (ours). Its disks, and segments, are."""

LIMIT_FEN = 10**13
"""No line of a bill may cost more: beyond it there is a mistake in a size or a price, not a bill."""

TOTAL_LIMIT_FEN = 10**17
"""No statement, settlement or month may come to more: so twelve months, and seven years, stay below 2**63."""

EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
"""Decimal arithmetic that raises instead of losing a digit. Products here have fewer than 80 digits."""


def half_even(numerator: int, denominator: int) -> int:
    """The whole number nearest to a fraction; a tie goes to the even one. ``denominator`` is positive."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + 1 if twice > denominator or (twice == denominator and whole % 2 == 1) else whole


def seconds_of(per: Per, month_seconds: int) -> int:
    """How many unit-seconds a price is for."""
    return {Per.HOUR: SECONDS_PER_HOUR, Per.MONTH: month_seconds, Per.ONCE: 1}[per]


def charged_when_stopped(meter: str, *, said: bool | None) -> bool:
    """Whether a stopped server is charged for a meter: as the price has ``said``, else by what the meter is."""
    return meter not in FREE_WHEN_STOPPED if said is None else said


def fen_per_unit_second(price_cny: Decimal, per: Per, month_seconds: int) -> Fraction:
    """What one unit costs for one second, in fen: all engines multiply by this, and round once."""
    numerator, denominator = price_cny.as_integer_ratio()
    return Fraction(numerator * FEN_PER_CNY, denominator * seconds_of(per, month_seconds))


def exact_fen(price_cny: Decimal, per: Per, quantity_seconds: Decimal, month_seconds: int) -> Fraction:
    """What quantity-seconds cost, in fen, not rounded."""
    return fen_per_unit_second(price_cny, per, month_seconds) * Fraction(quantity_seconds)


def amount_fen(price_cny: Decimal, per: Per, quantity_seconds: Decimal, month_seconds: int) -> int:
    """What quantity-seconds cost, rounded once, half-even, to the fen."""
    exact = exact_fen(price_cny, per, quantity_seconds, month_seconds)
    return half_even(exact.numerator, exact.denominator)


def quote(quantities: Mapping[str, int], prices: Sequence[PriceVersion], at: datetime) -> Quote:
    """The monthly cost of ``quantities`` (by meter) with the prices valid at ``at``; a sub-cloud's own price wins.

    ``prices`` are those of one sub-cloud (or none) and the general ones, as ``pricing.service.prices_at`` gives them.
    """
    valid: dict[str, PriceVersion] = {}
    for price in prices:
        if price.holds(at) and (price.meter not in valid or price.sub_cloud_id is not None):
            valid[price.meter] = price
    wanted = {meter: quantity for meter, quantity in sorted(quantities.items()) if quantity}
    lines = tuple(_line(valid[meter], quantity) for meter, quantity in wanted.items() if meter in valid)
    return Quote(
        lines=lines,
        total_fen=sum(line.monthly_fen for line in lines),
        missing=tuple(meter for meter in wanted if meter not in valid),
    )


def _line(price: PriceVersion, quantity: int) -> QuoteLine:
    units = quantity * QUOTE_HOURS_PER_MONTH if price.per is Per.HOUR else quantity
    numerator, denominator = price.price_cny.as_integer_ratio()
    fen = half_even(numerator * units * FEN_PER_CNY, denominator)
    return QuoteLine(price.meter, quantity, price.price_cny, price.per, price.version, fen)


def show_fen(fen: Fraction, decimals: int = 4) -> str:
    """Fen that are not yet whole, as text for a live display, cut (not rounded) after ``decimals`` digits."""
    scaled = fen.numerator * 10**decimals // fen.denominator
    whole, rest = divmod(scaled, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}" if decimals else str(whole)
