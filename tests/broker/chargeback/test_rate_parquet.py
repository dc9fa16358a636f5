"""``guiyun rate`` on Parquet, and on files whose names are patterns."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tests.broker.chargeback.test_rate_command import HEADER, SPAN, call, read, run


def parquet(folder: Path, name: str, **columns: str) -> None:
    """A file of the one usual span; ``columns`` are more of them, or others in place of ours, as SQL."""
    ours = dict(zip(HEADER.split(","), (f"'{word}'" for word in SPAN.split(",")), strict=True)) | columns
    listed = ", ".join(f'{value} AS "{column}"' for column, value in ours.items() if value)
    duckdb.sql(f"COPY (SELECT {listed}) TO '{folder / name}' (FORMAT parquet)")


def test_a_number_too_large_for_its_column_is_no_empty_amount(tmp_path: Path) -> None:
    """A Parquet DECIMAL(38, 0) holds what the fast path cannot."""
    run(tmp_path)
    parquet(tmp_path, "spans.parquet", quantity=f"CAST({10**27} AS DECIMAL(38, 0))")
    done = call(tmp_path, spans="spans.parquet")
    assert (done.exit_code, "spans.parquet:1: span.quantity: " in done.stderr) == (1, True)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_is_read_by_its_name_not_by_a_pattern(tmp_path: Path, kind: str) -> None:
    """``spans[1]`` is not ``spans1``, though one matches the other."""
    run(tmp_path)
    for name, quantity in (("spans[1]", "4"), ("spans1", "400")):
        (tmp_path / f"{name}.csv").write_text(f"{HEADER}\n{SPAN.replace(',4,', f',{quantity},')}\n")
        parquet(tmp_path, f"{name}.parquet", quantity=f"'{quantity}'")
    assert call(tmp_path, spans=f"spans[1].{kind}").exit_code == 0
    assert [x["amount_fen"] for x in read(tmp_path, "lines.csv")] == ["922"]


def test_other_columns_of_parquet_change_nothing(tmp_path: Path) -> None:
    """Whatever they are called; and a name with blanks around it is that name, as in CSV."""
    run(tmp_path)
    others = dict.fromkeys(("begun_s", "over_s", "start_s", "end_s", "ordinary"), "CAST(0 AS BIGINT)")
    parquet(tmp_path, "spans.parquet", **others, **{"quantity": "", " quantity": "'4'"})
    assert call(tmp_path, spans="spans.parquet").exit_code == 0
    assert [x["amount_fen"] for x in read(tmp_path, "lines.csv")] == ["922"]


def test_a_broken_parquet_file_is_refused_with_its_code(tmp_path: Path) -> None:
    """Its end, where the columns are listed, is whole; its pages are not."""
    run(tmp_path)
    parquet(tmp_path, "spans.parquet")
    file = tmp_path / "spans.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    done = call(tmp_path, spans="spans.parquet")
    assert (done.exit_code, "spans.parquet: spans.parquet: " in done.stderr) == (1, True)
