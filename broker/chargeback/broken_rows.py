"""Rows of a CSV file with too many or too few cells: DuckDB sets them aside, and here each is told by its line.

Called by: ``chargeback.columnar``, for a file that it could not read as it is; the rest is rated as ever. Must not:
guess: whatever else is wrong with a row (a quote, the encoding) is for the slow path, which says what.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from broker.chargeback.span_source import NotOrdinary

MOST = 100_000
"""Beyond this the file is another one than it says; the slow path tells that as well."""

BLOCK = 1 << 20

_REJECTED = """
SELECT line_byte_position, any_value(csv_line), bool_and(error_type IN ('TOO MANY COLUMNS', 'MISSING COLUMNS'))
FROM reject_errors GROUP BY line_byte_position ORDER BY line_byte_position
"""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """``line`` as ``span_file`` counts them: where the row ends; ``cells`` are how many it has."""

    line: int
    cells: int
    expected: int


def find(connection: duckdb.DuckDBPyConnection, path: Path) -> list[BrokenRow]:
    """What was set aside of a file read with ``store_rejects``. Raises NotOrdinary where that is not all, or unsure."""
    rows = connection.execute(_REJECTED).fetchall()
    if not 0 < len(rows) <= MOST or not all(ordinary for _, _, ordinary in rows):
        raise NotOrdinary
    with path.open(encoding="utf-8-sig", newline="") as file:
        expected = len(next(csv.reader(file, strict=True)))
    with path.open("rb") as raw:
        ending = "\n" if b"\n" in raw.read(BLOCK) else "\r"
    found = []
    for (_, text, _), line in zip(rows, _lines_at(path, [row[0] for row in rows], ending.encode()), strict=True):
        try:  # blank lines before it are with it
            [cells] = csv.reader(text.strip("\r\n").splitlines(keepends=True), strict=True)
        except (csv.Error, ValueError) as error:
            raise NotOrdinary from error
        if len(cells) == expected:
            raise NotOrdinary
        found.append(BrokenRow(line + text.rstrip("\r\n").count(ending), len(cells), expected))
    return found


def _lines_at(path: Path, positions: list[int], ending: bytes) -> Iterator[int]:
    """The number of the line that each byte of a file stands in; the bytes in order, the first is 1."""
    line, done = 1, 1
    with path.open("rb") as file:
        for position in positions:
            while done < position:
                block = file.read(min(BLOCK, position - done))
                if not block:
                    raise NotOrdinary
                line += block.count(ending)
                done += len(block)
            yield line
