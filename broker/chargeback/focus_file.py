"""Writes what was billed as FOCUS 1.2, CSV or Parquet. Complete and checked, or not there at all.

Called by: ``guiyun bill export --format focus``, the API. Must not: hold a month in memory, or write a row that does
not pass ``focus.check``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import duckdb

from broker.chargeback.focus import COLUMNS, Writer, check, text_of, yuan
from broker.chargeback.problems import Problems
from broker.chargeback.views import ExplainedLine, StatementSummary

FORMATS = ("csv", "parquet")


@dataclass(frozen=True, slots=True)
class Written:
    """What a file holds: rows, billing accounts, and the sum of all billed costs in fen."""

    rows: int
    accounts: int
    total_fen: int


def write(
    path: Path,
    statements: Iterable[tuple[StatementSummary, Iterable[ExplainedLine]]],
    *,
    form: str = "csv",
    ascii_only: bool = False,
) -> Written:
    """Write the statements' lines to ``path``. ``form`` is one of ``FORMATS``.

    Raises Invalid with ``focus.cost``, ``focus.price`` or ``focus.period`` for each row that cannot be right, and
    ``focus.total`` for a statement whose lines do not sum to its total: then there is no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    problems = Problems()
    with TemporaryDirectory(dir=path.parent, prefix=".focus-") as folder:
        made = Path(folder, "focus.csv")
        with made.open("w", encoding="utf-8", newline="") as file:
            written = _rows(file, statements, problems, ascii_only=ascii_only)
        problems.stop_if_any()
        if form == "parquet":
            made = _as_parquet(made)
        made.replace(path)
    return written


def _rows(
    file: IO[str],
    statements: Iterable[tuple[StatementSummary, Iterable[ExplainedLine]]],
    problems: Problems,
    *,
    ascii_only: bool,
) -> Written:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(COLUMNS)
    rows = accounts = total = 0
    for statement, lines in statements:
        writer, billed = Writer(statement, ascii_only=ascii_only), 0
        for line in lines:
            row = writer.row(line)
            for problem in check(row, f"{line.resource_number} {line.meter}"):
                problems.add(problem.code, problem.field, **dict(problem.params))
            out.writerow([text_of(value) for value in row.values()])
            billed += line.amount_fen
            rows += 1
        accounts += 1
        total += billed
        if billed != statement.head.total_fen:
            _differs(problems, statement, billed)
    return Written(rows, accounts, total)


def _differs(problems: Problems, statement: StatementSummary, billed: int) -> None:
    amounts = {"lines": f"{yuan(billed):f}", "total": f"{yuan(statement.head.total_fen):f}"}
    problems.add("focus.total", str(statement.head.id), **amounts)


def _as_parquet(source: Path) -> Path:
    """The same rows with their types; DuckDB casts text to DECIMAL exactly or fails."""
    target = source.with_suffix(".parquet")
    columns = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in COLUMNS.items())
    names = ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS)
    with closing(duckdb.connect(":memory:", config={"threads": 2})) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"COPY (SELECT {columns} FROM read_csv('{source}', header = true, nullstr = '', columns = {{{names}}}))"  # noqa: S608 - our own constants and our own temporary file
            f" TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )
    return target
