"""Rows that DuckDB sets aside, as spans: by their line in the file, without reading the file in Python.

Called by: ``chargeback.offline``. Must not: rate them, or judge them otherwise than ``span_file`` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count, filterfalse, islice
from pathlib import Path

from broker.chargeback.broken_rows import BrokenRow
from broker.chargeback.problems import Problems
from broker.chargeback.rating import Span
from broker.chargeback.span_file import span_of

BLOCK = 1 << 20


def spans(
    rows: Iterable[tuple[int, list[str]]],
    name: str,
    ends: Iterator[int] | None,
    broken: Sequence[BrokenRow],
    problems: Problems,
) -> Iterator[Span]:
    """The spans of some rows (number from 1, values as ``span_file`` orders them), in the order of the file.

    ``ends``: the line that each row ends in (``line_ends``); without, as in Parquet, a row's number is its place. What
    is wrong with a row is noted, and the row left out; ``broken`` ones are noted among them.
    """
    before, told = 0, deque(broken)
    for number, values in rows:
        line = number if ends is None else next(islice(ends, number - before - 1, None))
        before = number
        while told and told[0].line < line:
            _tell(told.popleft(), name, problems)
        if (span := span_of(values, f"{name}:{line}", problems)) is not None:
            yield span
    for row in told:
        _tell(row, name, problems)


def _tell(row: BrokenRow, name: str, problems: Problems) -> None:
    problems.add("span.columns", f"{name}:{row.line}", expected=row.expected, found=row.cells)


def line_ends(path: Path, rows: int, broken: Sequence[BrokenRow]) -> Iterator[int]:
    """The line that each row of a CSV file ends in, but header and ``broken`` ones; ``rows`` are counted with these."""
    ends = count(1) if _lines(path) == rows + 1 else _walk(path)
    next(ends)
    return filterfalse({row.line for row in broken}.__contains__, ends)


def _lines(path: Path) -> int | None:
    """How many lines there are, if all end alike; None: it is not that simple."""
    newlines = returns = both = 0
    last = b""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            newlines += block.count(b"\n")
            returns += block.count(b"\r")
            both += block.count(b"\r\n") + (last == b"\r" and block[:1] == b"\n")
            last = block[-1:]
    return newlines + (last != b"\n") if returns == both else None


def _walk(path: Path) -> Iterator[int]:
    """The same for a file with blank lines, or lines within quotes: a row ends where the quotes before are even."""
    opened = False
    with suppress(UnicodeDecodeError), path.open(encoding="utf-8-sig", newline="") as file:
        for line, text in enumerate(file, 1):
            if opened or text.strip("\r\n"):
                opened ^= text.count('"') % 2 == 1
                if not opened:
                    yield line
