"""Rounding, months and quotes: exact to the fen."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, Inexact
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.pricing.months import Month, months
from broker.pricing.rules import EXACT, amount_fen, half_even, quote, show_fen
from broker.pricing.values import Per, PriceVersion

OCTOBER = Month(2026, 10)
AT = datetime(2026, 10, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "fen"),
    [(100, 0), (300, 2), (500, 2), (700, 4), (900, 4), (99, 0), (101, 1), (499, 2), (501, 3)],
)
def test_half_a_fen_goes_to_the_even_one(seconds: int, fen: int) -> None:
    """0.18 CNY an hour is half a fen per 100 seconds: ties at 0.5, 1.5, 2.5, ... and the seconds beside them."""
    assert amount_fen(Decimal("0.18"), Per.HOUR, Decimal(seconds), OCTOBER.seconds) == fen


def test_the_smallest_price_step_decides_a_near_tie() -> None:
    """A hundred-millionth of a yuan above or below a tie is enough."""
    hour = Decimal(3600)
    assert amount_fen(Decimal("0.02500000"), Per.HOUR, hour, OCTOBER.seconds) == 2
    assert amount_fen(Decimal("0.02500001"), Per.HOUR, hour, OCTOBER.seconds) == 3
    assert amount_fen(Decimal("0.03499999"), Per.HOUR, hour, OCTOBER.seconds) == 3
    assert amount_fen(Decimal("0.03500000"), Per.HOUR, hour, OCTOBER.seconds) == 4


@pytest.mark.parametrize(
    ("price", "quantity_seconds", "fen"),
    [
        ("1.115", 3600, 112),  # 111.5 exactly; binary 1.115 * 100 is 111.50000000000001 or 111.49999999999999
        ("2.675", 3600, 268),  # binary 2.675 is a little less
        ("1.005", 3600, 100),
        ("9999999999.99999999", 3600, 1000000000000),
        ("90071992547.40993", 3600, 9007199254741),  # 2**53 + 1 hundredths of a fen cannot be told apart in binary
    ],
)
def test_values_where_binary_floating_point_errs(price: str, quantity_seconds: int, fen: int) -> None:
    """The exact value is rounded, not the nearest binary fraction."""
    exact = Fraction(price) * 100 * quantity_seconds / 3600
    assert amount_fen(Decimal(price), Per.HOUR, Decimal(quantity_seconds), OCTOBER.seconds) == fen == round(exact)


def test_floats_would_have_billed_other_amounts() -> None:
    """The reason for all this: for ordinary prices of three decimals the plain formula in floats is wrong by a fen."""
    hour = Decimal(3600)
    prices = [Decimal(p).scaleb(-3) for p in range(1, 3000)]
    wrong = [p for p in prices if round(float(p) * 100) != amount_fen(p, Per.HOUR, hour, OCTOBER.seconds)]
    assert Decimal("0.545") in wrong
    assert all(amount_fen(p, Per.HOUR, hour, OCTOBER.seconds) == round(Fraction(p) * 100) for p in prices)


@given(st.integers(0, 10**30), st.integers(1, 10**15))
def test_rounding_agrees_with_the_fractions_of_the_standard_library(numerator: int, denominator: int) -> None:
    """Nearest, ties to even, for any size of number."""
    assert half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(0, 10**20), st.integers(1, 10**6))
def test_every_tie_goes_to_an_even_fen(whole: int, scale: int) -> None:
    """Ties written with any denominator."""
    assert half_even((2 * whole + 1) * scale, 2 * scale) == whole + whole % 2


def test_arithmetic_that_would_lose_a_digit_raises() -> None:
    """A product too long for the context is an error, never a rounded number."""
    with pytest.raises(Inexact):
        EXACT.multiply(Decimal("1." + "3" * 70), Decimal("1." + "7" * 70))


@pytest.mark.parametrize(
    ("text", "start", "days"),
    [
        ("2024-02", "2024-01-31T16:00:00+00:00", 29),
        ("2026-02", "2026-01-31T16:00:00+00:00", 28),
        ("2100-02", "2100-01-31T16:00:00+00:00", 28),
        ("2026-10", "2026-09-30T16:00:00+00:00", 31),
        ("2026-12", "2026-11-30T16:00:00+00:00", 31),
    ],
)
def test_a_month_is_the_calendars_in_shanghai(text: str, start: str, days: int) -> None:
    """It begins at 16:00 UTC the day before, and its length divides a price per month."""
    month = Month.parse(text)
    assert (str(month), month.start.isoformat(), month.seconds) == (text, start, days * 86400)
    assert month.end - month.start == timedelta(days=days)
    assert Month.of(month.start) == month == Month.of(month.end - timedelta(microseconds=1))
    assert Month.of(month.end) == month.next


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", " 2026-10", "２０２６-10", "0001-01", ""]
)
def test_what_is_not_a_month_is_refused(text: str) -> None:
    """Only YYYY-MM."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Month.parse(text)


def test_the_months_of_a_time_across_a_year() -> None:
    """Each month with any time in it, no more."""
    start = Month(2026, 11).end - timedelta(seconds=1)
    assert [str(m) for m in months(start, Month(2027, 2).start)] == ["2026-11", "2026-12", "2027-01"]
    assert [str(m) for m in months(start, Month(2027, 2).start + timedelta(seconds=1))][-1] == "2027-02"
    assert months(start, start - timedelta(days=40)) == ()


def version(meter: str, price: str, per: Per, name: str = "v1", cloud: UUID | None = None) -> PriceVersion:
    return PriceVersion(UUID(int=9), meter, cloud, Decimal(price), per, name, None, None)


def test_a_quote_shows_each_meter_its_version_and_what_has_no_price() -> None:
    """An hourly price counts 730 hours; a meter without a price is named, not counted as free."""
    prices = [version("vcpu", "0.096", Per.HOUR, "v7"), version("memory", "17", Per.MONTH)]
    made = quote({"vcpu": 8, "memory": 32, "gpu": 1, "tape": 0}, prices, AT)
    assert [(x.meter, x.quantity, x.monthly_fen, x.version) for x in made.lines] == [
        ("memory", 32, 54400, "v1"),
        ("vcpu", 8, 56064, "v7"),
    ]
    assert (made.total_fen, made.missing, made.versions) == (110464, ("gpu",), ("v1", "v7"))
    assert made.to_json()["lines"][1]["price_cny"] == "0.096"


def test_a_quote_prefers_the_sub_clouds_price_and_the_version_of_its_day() -> None:
    """Whatever order the prices come in."""
    before = PriceVersion(UUID(int=1), "vcpu", None, Decimal(1), Per.MONTH, "old", None, AT)
    after = PriceVersion(UUID(int=2), "vcpu", None, Decimal(2), Per.MONTH, "new", AT, None)
    own = version("vcpu", "3", Per.MONTH, "own", UUID(int=3))
    assert quote({"vcpu": 1}, [before, after], AT).lines[0].version == "new"
    assert quote({"vcpu": 1}, [before, after], AT - timedelta(microseconds=1)).lines[0].version == "old"
    assert {quote({"vcpu": 1}, order, AT).versions for order in ([own, after], [after, own])} == {("own",)}


def test_a_quote_rounds_each_line_once_half_even() -> None:
    """0.005 CNY is half a fen: none for one, two for three (1.5)."""
    prices = [version("a", "0.005", Per.MONTH)]
    assert [quote({"a": n}, prices, AT).total_fen for n in (1, 2, 3, 5)] == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("fen", "decimals", "text"), [(Fraction(1, 3), 4, "0.3333"), (Fraction(20, 3), 2, "6.66"), (Fraction(7), 0, "7")]
)
def test_running_costs_are_cut_not_rounded(fen: Fraction, decimals: int, text: str) -> None:
    """A live display never shows more than has been used."""
    assert show_fen(fen, decimals) == text
