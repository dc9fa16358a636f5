"""At the edge of 128 bits ``guiyun rate`` is exact or refuses: DuckDB raises, and the exact path by rows takes over."""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.chargeback.columnar import columns
from broker.chargeback.offline import rate_files
from broker.chargeback.problems import Problems
from broker.chargeback.tariff_file import read_tariff
from broker.errors import Invalid
from broker.pricing.months import Month
from broker.pricing.rules import LIMIT_FEN
from tests.broker.chargeback.test_rate_command import HEADER, read

MOST = 2**127 - 1
MONTH = Month(2026, 10)
WHOLE = 31 * 86400
ALL_MONTH = "2026-09-30T16:00:00Z,2026-10-31T16:00:00Z"


@pytest.mark.parametrize(
    "question",
    [
        "SELECT x + 1 FROM most",
        "SELECT -x - 2 FROM most",
        "SELECT x * 2 FROM most",
        "SELECT sum(y) FROM (SELECT x AS y FROM most UNION ALL SELECT 1)",
        "SELECT sum(y) OVER (ORDER BY y ROWS UNBOUNDED PRECEDING) FROM (SELECT x AS y FROM most UNION ALL SELECT 1)",
    ],
)
def test_a_hugeint_overflow_raises(question: str) -> None:
    """In every operation of the columnar path: no sum, product or running sum wraps round or turns into a float."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE most AS SELECT CAST('{MOST}' AS HUGEINT) AS x")
        with pytest.raises(duckdb.OutOfRangeException):
            connection.execute(question).fetchall()


@given(n=st.integers(0, MOST), d=st.integers(1, MOST))
@example(n=MOST, d=7)
@settings(max_examples=30, deadline=None)
def test_hugeint_division_is_exact(n: int, d: int) -> None:
    """Quotient and rest to the last digit, up to the largest number there is."""
    with duckdb.connect() as connection:
        numbers = f"SELECT CAST('{n}' AS HUGEINT) AS n, CAST('{d}' AS HUGEINT) AS d"
        assert connection.execute(f"SELECT n // d, n % d FROM ({numbers})").fetchall() == [divmod(n, d)]


def write(folder: Path, quantity: str, price: str, *, discount: str, per: str, spans: int) -> None:
    """``spans`` resources that run all month, one of them with the quantity in two halves of its time."""
    rows = [f"r{n},p,c,s,m,{quantity},{ALL_MONTH}" for n in range(1, spans)]
    rows += [
        f"r0,p,c,s,m,{quantity},2026-09-30T16:00:00Z,2026-10-02T00:00:01Z",
        f"r0,p,c,s,m,{quantity},2026-10-02T00:00:01Z,2026-10-31T16:00:00Z",
    ]
    folder.joinpath("spans.csv").write_text("\n".join([HEADER, *rows, ""]))
    entry = f"meter: m, price_cny: {price}, discount: {discount}, per: {per}, valid_from: 2020-01-01T00:00:00Z"
    folder.joinpath("tariff.yaml").write_text(f"prices: [{{{entry}}}]")


def owed(quantity: str, price: str, discount: str, per: str) -> int:
    return round(
        Fraction(price) * Fraction(discount) * 100 * Fraction(quantity) * WHOLE / (3600 if per == "hour" else WHOLE)
    )


DIGITS = st.integers(0, 10**24 - 1).map(str)
QUANTITIES = st.one_of(
    st.tuples(DIGITS, DIGITS).map(".".join),
    st.tuples(st.integers(0, 10**15 - 1).map(str), st.integers(0, 10**9 - 1).map(lambda n: f"{n:09}")).map(".".join),
    st.tuples(st.integers(0, 10**6).map(str), st.integers(0, 10**9 - 1).map(lambda n: f"{n:09}")).map(".".join),
)


@given(
    quantity=QUANTITIES,
    price=st.one_of(st.integers(0, 10**18 - 1), st.integers(0, 10**6)).map(lambda n: f"{n // 10**8}.{n % 10**8:08}"),
    discount=st.integers(1, 10**4).map(lambda n: f"{n // 10**4}.{n % 10**4:04}"),
    per=st.sampled_from(["hour", "month"]),
    spans=st.integers(1, 3),
)
@example("999999999999999.999999999", "0.00009997", "0.9997", "month", 3)  # the product passes 2**127, the fen do not
@example("999999999999999.999999999", "9999999999.99999999", "0.9999", "hour", 3)
@example("999999999999999999999999.999999999999999999999999", "0.00000001", "0.0001", "month", 1)
@example("100000000000", "1", "1", "month", 1)  # ten trillion fen, the limit itself
@example("100000000000.00005", "1", "1", "month", 1)  # a tie just above it goes to the even fen, the limit
@example("100000000000.000050001", "1", "1", "month", 1)
@settings(max_examples=30, deadline=None)
def test_an_amount_is_exact_or_refused_never_wrong(
    quantity: str, price: str, discount: str, per: str, spans: int
) -> None:
    """Whatever the size: each line as fractions have it, or ``line.limit`` and nothing written."""
    expected = owed(quantity, price, discount, per)
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, quantity, price, discount=discount, per=per, spans=spans)
        refused = expected > LIMIT_FEN
        with pytest.raises(Invalid) if refused else nullcontext() as found:
            rate_files(folder / "spans.csv", folder / "tariff.yaml", MONTH, folder / "out")
        if found is not None:
            assert {p.code for p in found.value.problems} == {"line.limit"}
            assert not folder.joinpath("out").exists()
            return
        lines = read(folder, "lines.csv")
    assert [int(line["amount_fen"]) for line in lines] == [expected] * spans
    assert {Fraction(line["quantity_seconds"]) for line in lines} == {Fraction(quantity) * WHOLE}


def test_what_may_pass_128_bits_is_left_to_the_exact_path(tmp_path: Path) -> None:
    """The columnar path says so before it multiplies; the result is there all the same."""
    quantity, price, discount = "999999999999999.999999999", "0.00009997", "0.9997"
    write(tmp_path, quantity, price, discount=discount, per="month", spans=1)
    problems = Problems()
    prices = read_tariff(tmp_path / "tariff.yaml", problems)
    with columns(prices, MONTH, tmp_path) as fast:
        fast.rate(tmp_path / "spans.csv", parquet=False)
        assert (fast.odd, {(row[0], row[4]) for _, row in fast.odd_rows()}) == (2, {("r0", "m")})
    done = rate_files(tmp_path / "spans.csv", tmp_path / "tariff.yaml", MONTH, tmp_path / "out")
    assert done.amount_fen == owed(quantity, price, discount, "month")


def test_a_parquet_file_rates_as_the_csv_does(tmp_path: Path) -> None:
    """Typed columns (timestamps, decimals) and columns of text alike, in either path."""
    write(tmp_path, "3.25", "0.333", discount="0.9", per="hour", spans=3)
    rate_files(tmp_path / "spans.csv", tmp_path / "tariff.yaml", MONTH, tmp_path / "csv")
    wanted = (tmp_path / "csv" / "lines.csv").read_bytes()
    typed = "* REPLACE (CAST(quantity AS DECIMAL(18, 3)) AS quantity, CAST(start_at AS TIMESTAMPTZ) AS start_at)"
    for number, shape in enumerate(("*", typed)):
        path = tmp_path / f"{number}.parquet"
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            source = f"read_csv('{tmp_path / 'spans.csv'}', all_varchar = true)"
            connection.execute(f"COPY (SELECT {shape} FROM {source}) TO '{path}' (FORMAT parquet)")
        out = tmp_path / f"out{number}"
        done = rate_files(path, tmp_path / "tariff.yaml", MONTH, out)
        assert (done.lines, (out / "lines.csv").read_bytes()) == (3, wanted)
