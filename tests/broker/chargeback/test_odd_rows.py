"""A row out of the ordinary takes the slow exact path alone; whatever the mixture, the same files to the byte."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.chargeback import columnar, offline
from broker.chargeback.problems import Problems
from broker.chargeback.span_source import NotOrdinary
from broker.chargeback.tariff_file import read_tariff
from broker.errors import Invalid
from broker.pricing.months import Month
from tests.broker.chargeback.test_rate_command import HEADER, call, read, run

MONTH = Month(2026, 10)
TARIFF = """
prices:
  - {meter: plain, price_cny: 0.36, per: hour, valid_from: 2026-01-01T00:00:00Z, valid_to: 2026-10-09T07:08:09Z}
  - {meter: plain, price_cny: 0.35, per: hour, valid_from: 2026-10-09T07:08:09Z}
  - {meter: free, price_cny: 31, per: month, valid_from: 2026-01-01T00:00:00Z, free_quantity: 0.75}
"""
ODD = ["1.0000000000001", "0.333333333333"]
SPELLED = ["007.50", "1.500000000000", "000000000000000000000002"]


@st.composite
def rows(draw: st.DrawFn) -> list[str]:
    out = []
    quantity = st.one_of(st.integers(0, 9).map(str), st.sampled_from(SPELLED + ODD))
    for n in range(draw(st.integers(1, 5))):
        for meter in ("plain", "free"):
            hours = draw(st.lists(st.integers(0, 23), min_size=2, max_size=4, unique=True).map(sorted))
            day = draw(st.sampled_from(["05", "09"]))
            for a, b in pairwise(hours):
                at = ",".join(f"2026-10-{day}T{hour:02}:00:0{n}Z" for hour in (a, b))
                out.append(f"r{n},{draw(st.sampled_from('pq'))},c,s,{meter},{draw(quantity)},{at}")
    return out


@settings(max_examples=10, deadline=None)
@given(rows())
def test_a_mixture_rates_as_the_slow_path_rates_it_whole(found: list[str]) -> None:
    """With prices that change and a free quantity that odd and ordinary rows share."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        assert run(folder, *found, tariff=TARIFF).exit_code == 0
        problems = Problems()
        prices = read_tariff(folder / "tariff.yaml", problems)
        whole = folder / "whole"
        whole.mkdir()
        offline._row_by_row(folder / "spans.csv", prices, MONTH, whole, problems)
        for file in ("lines.csv", "totals.csv"):
            assert (folder / "out" / file).read_bytes() == (whole / file).read_bytes()


def set_aside(folder: Path) -> tuple[int, set[tuple[str, str]]]:
    problems = Problems()
    with columnar.columns(read_tariff(folder / "tariff.yaml", problems), MONTH, folder) as fast:
        fast.rate(folder / "spans.csv", parquet=False)
        found = [row for batch in range(fast.batches) for _, row in fast.odd_rows(batch)]
        assert len(found) == fast.odd
        return fast.odd, {(row[0], row[4]) for row in found}


DAY = "2026-10-05T00:00:00Z,2026-10-06T00:00:00Z"


@pytest.mark.parametrize("quantity", ODD)
def test_only_the_odd_row_is_set_aside(tmp_path: Path, quantity: str) -> None:
    """Among a thousand; with a free quantity, all that one payer has of that meter."""
    many = [f"r{n},{'pq'[n % 2]},c,s,{m},2,{DAY}" for n in range(500) for m in ("plain", "free")]
    assert run(tmp_path, *many, f"x,p,c,s,plain,{quantity},{DAY}", tariff=TARIFF).exit_code == 0
    assert set_aside(tmp_path) == (1, {("x", "plain")})
    run(tmp_path, *many, f"x,p,c,s,free,{quantity},{DAY}", tariff=TARIFF)
    assert set_aside(tmp_path)[0] == 251


@pytest.mark.parametrize("quantity", SPELLED)
def test_a_number_may_be_spelled_with_more_zeros(tmp_path: Path, quantity: str) -> None:
    """It is what it is, and no reason to be slow."""
    assert run(tmp_path, f"x,p,c,s,plain,{quantity},{DAY}", tariff=TARIFF).exit_code == 0
    assert set_aside(tmp_path) == (0, set())


def told(folder: Path, *, slowly: bool) -> list[tuple[str, str, dict[str, object]]]:
    """Everything that is wrong with the files of a folder; and that the whole file went through Python only if so."""
    ways: list[str] = []

    def noted(*what: Any) -> offline.Rated:
        ways.append("slow")
        return whole(*what)

    whole = offline._row_by_row
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(offline, "_row_by_row", noted)
        if slowly:
            patched.setattr(columnar.Columns, "rate", Mock(side_effect=NotOrdinary))
        with pytest.raises(Invalid) as refused:
            offline.rate_files(folder / "spans.csv", folder / "tariff.yaml", MONTH, folder / "out")
    assert ways == (["slow"] if slowly else [])
    return [(p.code, p.field, dict(p.params)) for p in refused.value.problems]


BROKEN = ["r,p,c", f"r,p,c,s,plain,2,{DAY},more", "   ", f'"a\nb",p,c,s,plain,2,{DAY},"x\ny"']
WHOLE = [f"r,p,c,s,plain,2,{DAY}", f'"a\nb",p,c,s,plain,2,{DAY}', ""]


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.sampled_from(BROKEN + WHOLE), max_size=8),
    broken=st.sampled_from(BROKEN),
    wrong=st.lists(st.just(f"w,p,c,s,plain,-1,{DAY}"), max_size=1),
    head=st.sampled_from(["", "\ufeff"]),
)
def test_a_broken_row_is_told_by_its_line_and_the_others_stay_quick(
    rows: list[str], broken: str, wrong: list[str], head: str
) -> None:
    """The same problems, in the same places, as when Python reads the whole file; it does so no more."""
    lines = [f"{n}{row}" if row and row[0] == "r" else row for n, row in enumerate([*rows, broken, *wrong])]
    lines = [row.replace('"a', f'"{n}a') for n, row in enumerate(lines)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tariff.yaml").write_text(TARIFF)
        (folder / "spans.csv").write_text("\n".join([head + HEADER, *lines, ""]), newline="")
        assert told(folder, slowly=False) == told(folder, slowly=True)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("between", [[], ["", f'"a\nb",p,c,s,plain,2,{DAY}']])
def test_nothing_but_what_is_odd_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: list[str], ending: str
) -> None:
    """Not even where rows have several lines; a wrong one is told by the line it ends in."""
    monkeypatch.setattr(offline, "_spans", Mock(side_effect=AssertionError))
    (tmp_path / "tariff.yaml").write_text(TARIFF)
    rows = [f"r{n},p,c,s,plain,2,{DAY}" for n in range(9)]
    odd, wrong = f"x,p,c,s,plain,0.333333333333,{DAY}", f"w,p,c,s,plain,-2,{DAY}"

    def write(*some: str) -> None:
        (tmp_path / "spans.csv").write_text("\n".join([HEADER, *some, ""]).replace("\n", ending), newline="")

    write(*rows, *between, odd)
    assert call(tmp_path).exit_code == 0
    write(*rows, *between, odd, wrong)
    refused = call(tmp_path)
    line = len(rows) + 3 + sum(1 + row.count("\n") for row in between)
    assert (refused.exit_code, f"spans.csv:{line}" in refused.stderr) == (1, True)


def test_what_is_odd_is_taken_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is: memory holds one batch, and every line is there once."""
    monkeypatch.setattr(columnar, "BATCH", 50)
    many = [f"r{n},p,c,s,plain,0.1234567890123,{DAY}" for n in range(400)]
    assert run(tmp_path, *many, tariff=TARIFF).exit_code == 0
    assert {x["amount_fen"] for x in read(tmp_path, "lines.csv")} == {"107"}
    assert len(read(tmp_path, "lines.csv")) == 400
    (tmp_path / "spans.csv").write_text("\n".join([HEADER, *many, many[7], ""]))
    refused = call(tmp_path)
    assert (refused.exit_code, "span.overlap: " in refused.stderr) == (1, True)
