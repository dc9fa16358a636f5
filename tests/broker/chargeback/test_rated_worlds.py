"""The bill of random worlds, in SQL and from files, against an oracle that shares no code with either."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from broker.chargeback import service
from broker.chargeback.columnar import columns
from broker.chargeback.export import export
from broker.chargeback.offline import _row_by_row, rate_files
from broker.chargeback.problems import Problems
from broker.chargeback.rating import Rating, Span
from broker.chargeback.rules import Price, check_prices, epoch_seconds
from broker.chargeback.span_file import COLUMNS
from broker.chargeback.tariff_file import read_tariff
from broker.errors import Invalid
from broker.pricing.months import Month
from broker.pricing.rules import LIMIT_FEN
from broker.pricing.values import Per
from tests.broker.chargeback.drawn_worlds import ORDINARY_PRICE, instants, windows, worlds
from tests.broker.chargeback.money_oracle import PriceRow, Use, bill, month_window
from tests.broker.chargeback.money_worlds import DIVISIONS, World, store
from tests.broker.chargeback.small_region import begin_books

ROLLED_BACK = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""Each example undoes what it wrote, so they may share the session."""


@settings(max_examples=40, deadline=None, suppress_health_check=ROLLED_BACK)
@given(world=worlds())
def test_the_database_bills_every_line_as_the_oracle_does(session: Session, world: World) -> None:
    """Resizes, stops, moves in the tree, payers and prices that change at odd seconds: equal lines, amounts, gaps."""
    trial = session.begin_nested()
    try:
        store(session, world)
        shown = service.preview(session, Month(*world.month), until=world.until)
    finally:
        trial.rollback()
        session.expunge_all()
    lines, gaps = bill(world.uses, world.prices, world.month, world.until, places=world.places, payers=world.payers)
    got = {(x.payer_unit_id, x.resource_id, x.meter, x.tariff_price_id): x for x in shown.lines}
    assert len(got) == len(shown.lines)
    assert {k: (Fraction(x.quantity_seconds), x.amount_fen, x.exact_fen) for k, x in got.items()} == {
        k: (x.seconds, x.fen, x.exact) for k, x in lines.items()
    }
    assert {k: set(x.payer_rule.split(" + ")) for k, x in got.items()} == {k: x.rules for k, x in lines.items()}
    assert {(g.resource_id, g.meter): Fraction(g.quantity_seconds) for g in shown.gaps} == gaps
    assert shown.total_fen == sum(x.fen for x in lines.values()) == sum(shown.totals.values())


@st.composite
def files(draw: st.DrawFn) -> tuple[tuple[int, int], list[Use], list[PriceRow], list[str]]:
    """Spans and prices as files hold them: whole seconds, decimal quantities, two payers, two sub-clouds."""
    month = draw(st.sampled_from([(2024, 2), (2025, 2), (2026, 10), (2026, 12)]))

    prices = [
        PriceRow(
            f"{meter} {cloud} {n}",
            meter,
            cloud,
            draw(ORDINARY_PRICE),
            draw(st.sampled_from(["hour", "month"])),
            w,
        )
        for meter in ("a", "b")
        for cloud in (None, "own")
        for n, w in enumerate(draw(windows(month, 3)))
        if (cloud is None or draw(st.booleans()))
    ]
    uses, payers = [], []
    # At the highest price a month of this much stays below the most that a line may come to (``line.limit``).
    quantity = st.one_of(st.integers(0, 10**5).map(str), st.decimals(0, 100, places=9, allow_nan=False).map(str))
    for n in range(draw(st.integers(1, 4))):
        cuts = sorted({t.replace(microsecond=0) for t in draw(st.lists(instants(month), min_size=2, max_size=5))})
        for start, end in [*pairwise(cuts), (cuts[0], cuts[0])]:
            cloud, meter = draw(st.sampled_from(["own", "other"])), draw(st.sampled_from(["a", "b"]))
            payers.append(draw(st.sampled_from(["p", "q"])))
            uses.append(Use(f"r{n}", None, cloud, "", meter, Fraction(draw(quantity)), "active", (start, end)))
    return month, uses, prices, payers


@settings(max_examples=60, deadline=None)
@given(files())
def test_files_are_billed_as_the_oracle_does(
    world: tuple[tuple[int, int], list[Use], list[PriceRow], list[str]],
) -> None:
    """The same without a database; zero-length spans, months' ends, years' ends and leap days among them."""
    month, uses, prices, payers = world
    problems = Problems()
    versions = [_price(p) for p in prices]
    check_prices(versions, problems)
    rating = Rating(versions, Month(*month), problems)
    for use, payer in zip(uses, payers, strict=True):
        rating.add(_span(use, payer))
    got = {
        (x.payer_id, x.resource_id, x.meter, x.price.place): (x.quantity_seconds, x.amount_fen) for x in rating.lines()
    }
    problems.stop_if_any()
    expected = {}
    for payer in ("p", "q"):
        mine = [use for use, who in zip(uses, payers, strict=True) if who == payer]
        lines, gaps = bill(mine, prices, month, month_window(*month)[1], payer=payer)
        assert not gaps
        expected.update({key: (line.seconds, line.fen) for key, line in lines.items()})
    assert {k: (Fraction(s), fen) for k, (s, fen) in got.items()} == expected
    with TemporaryDirectory() as name:
        assert columnar_lines(Path(name), uses, payers, versions, Month(*month)) == {
            (p, r, m, v): (s, fen) for (p, r, m, v), (s, fen) in expected.items()
        }


def columnar_lines(
    folder: Path, uses: list[Use], payers: list[str], prices: list[Price], month: Month
) -> dict[tuple[str, str, str, str], tuple[Fraction, int]]:
    """The same through DuckDB, which must not have passed it on to the slow path."""
    named = [replace(p, valid_from=p.place) for p in prices]
    with folder.joinpath("spans.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for use, payer in zip(uses, payers, strict=True):
            span = _span(use, payer)
            times = [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (span.start, span.end)]
            writer.writerow((span.resource_id, payer, "", span.sub_cloud, span.meter, f"{span.quantity:f}", *times))
    with columns(named, month, folder) as fast:
        fast.rate(folder / "spans.csv", parquet=False)
        assert (fast.odd, fast.batches) == (0, 0)
        fast.write(folder / "lines.csv", folder / "totals.csv")
    return read_lines(folder)


def read_lines(folder: Path) -> dict[tuple[str, str, str, str], tuple[Fraction, int]]:
    """Lines by what names them; for tariffs in which no two prices of a meter begin at one time."""
    return {(x["payer_id"], x["resource_id"], x["meter"], x["valid_from"]): amount_of(x) for x in read_rows(folder)}


def read_rows(folder: Path) -> list[dict[str, str]]:
    with folder.joinpath("lines.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def amount_of(row: dict[str, str]) -> tuple[Fraction, int]:
    return Fraction(row["quantity_seconds"]), int(row["amount_fen"])


@settings(max_examples=25, deadline=None, suppress_health_check=ROLLED_BACK)
@given(world=worlds(complete=True))
def test_what_is_exported_rates_to_the_same_fen(session: Session, world: World) -> None:
    """All three engines: an auditor with two files comes to the lines of the database, in columns as row by row.

    Free quantities and discounts, terms, classes, stops, other meters and items: the very files, to the byte. Also by
    city: a resource that went from one to another under one payer is its last one's.
    """
    trial = session.begin_nested()
    try:
        store(session, world)
        month = Month(*world.month)
        begin_books(session, month, now=month.end)  # whatever was used later only: a month before the books has no bill
        shown = service.preview(session, month)
        with TemporaryDirectory() as name:
            folder = Path(name)
            export(session, month, month.end, folder)
            refused = any(x.amount_fen > LIMIT_FEN for x in shown.lines)
            with pytest.raises(Invalid) if refused else nullcontext():
                rate_files(folder / "spans.csv", folder / "tariff.yaml", month, folder)
                by_rows = folder / "by-rows"
                by_rows.mkdir()
                problems = Problems()
                prices = read_tariff(folder / "tariff.yaml", problems)
                _row_by_row(folder / "spans.csv", prices, month, by_rows, problems)
                for file in ("lines.csv", "totals.csv"):
                    assert (folder / file).read_bytes() == (by_rows / file).read_bytes()
                got = sorted((x["payer_id"], x["resource_id"], x["meter"], amount_of(x)) for x in read_rows(folder))
                with folder.joinpath("totals.csv").open(newline="") as written:
                    totals = {(x["payer_id"], x["city_code"]): int(x["amount_fen"]) for x in csv.DictReader(written)}
    finally:
        trial.rollback()
        session.expunge_all()
    if not refused:
        assert got == sorted(
            (f"u{x.payer_unit_id.int}", str(x.resource_id), x.meter, (Fraction(x.quantity_seconds), x.amount_fen))
            for x in shown.lines
        )
        owed: Counter[tuple[str, str]] = Counter()
        for x in shown.lines:
            owed[f"u{x.payer_unit_id.int}", DIVISIONS.get(x.unit_id, "")] += x.amount_fen
        assert totals == owed


def _price(row: PriceRow) -> Price:
    start, end = row.window
    return Price(
        place=str(row.id),
        meter=row.meter,
        sub_cloud=str(row.cloud or ""),
        price_cny=Decimal(row.price),
        per=Per(row.per),
        valid_from=start.isoformat(),
        start=epoch_seconds(start),
        end=None if end is None else epoch_seconds(end),
    )


def _span(use: Use, payer: str) -> Span:
    start, end = use.window
    assert end is not None
    quantity = Decimal(use.quantity.numerator) / Decimal(use.quantity.denominator)
    assert Fraction(quantity) == use.quantity
    return Span(
        "", str(use.resource), payer, "", str(use.cloud), use.meter, quantity, epoch_seconds(start), epoch_seconds(end)
    )


def test_usage_in_a_gap_between_two_prices_is_refused() -> None:
    """Never free in silence: one second without a price stops the run."""
    start = datetime(2026, 10, 1, tzinfo=UTC)
    day = epoch_seconds(start)
    prices = [
        Price("1", "a", "", Decimal(1), Per.HOUR, "", 0, day + 100),
        Price("2", "a", "", Decimal(1), Per.HOUR, "", day + 101, None),
    ]
    problems = Problems()
    rating = Rating(prices, Month(2026, 10), problems)
    rating.add(Span("3", "r", "p", "", "", "a", Decimal(1), day, day + 100))
    rating.add(Span("4", "s", "p", "", "", "a", Decimal(1), day + 101, day + 200))
    problems.stop_if_any()
    rating.add(Span("5", "t", "p", "", "", "a", Decimal(1), day + 99, day + 102))
    with pytest.raises(Invalid) as refused:
        problems.stop_if_any()
    assert [(p.code, p.field) for p in refused.value.problems] == [("span.price_missing", "5")]
