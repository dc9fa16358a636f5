"""Rates a month from files, for audit and comparison: no database, the same amounts.

Called by: ``guiyun rate``. Must not: leave half a result behind: the files appear when both are complete.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from broker.chargeback import odd_rows
from broker.chargeback.columnar import Columns, columns
from broker.chargeback.problems import Problems
from broker.chargeback.rating import Line, Rating, Span, plain
from broker.chargeback.rules import Price
from broker.chargeback.span_file import is_parquet, read_spans, rows_as_spans
from broker.chargeback.span_source import NotOrdinary, parquet_rows
from broker.chargeback.tariff_file import read_tariff
from broker.errors import Invalid, Problem
from broker.pricing.months import Month

LINES = "lines.csv"
TOTALS = "totals.csv"


@dataclass(frozen=True, slots=True)
class Rated:
    """What a run did: rows read, lines and payers written, the sum of all amounts in fen."""

    spans: int
    lines: int
    payers: int
    amount_fen: int


def rate_files(spans: Path, tariff: Path, month: Month, out: Path) -> Rated:
    """Rate the spans of a file with the prices of another; writes ``lines.csv`` and ``totals.csv`` into ``out``.

    In columns, and what is out of the ordinary row by row: the same amounts, and every problem by its line.
    Raises Invalid with every problem found and their number, each with file and line, or ``rate.files`` where the
    system does not let a file be read or written; then nothing is written.
    """
    problems = Problems()
    prices = read_tariff(tariff, problems)
    problems.stop_if_any()
    try:
        return _rate(spans, prices, month, out, problems)
    except OSError as error:
        place, detail = str(error.filename or out), error.strerror or str(error)
        raise Invalid([Problem("rate.files", place, params={"detail": detail})]) from error


def _rate(spans: Path, prices: Sequence[Price], month: Month, out: Path, problems: Problems) -> Rated:
    parquet = is_parquet(spans)
    with TemporaryDirectory(dir=_existing(out), prefix=".rate-") as name:
        folder = Path(name)
        try:
            with columns(prices, month, folder) as fast:
                fast.rate(spans, parquet=parquet)
                _odd_ones(fast, spans, lambda: Rating(prices, month, problems), folder, problems, parquet=parquet)
                done = fast.write(folder.joinpath(LINES), folder.joinpath(TOTALS))
                rated = Rated(done.spans, done.lines, done.payers, done.amount_fen)
        except NotOrdinary:
            rated = _row_by_row(spans, prices, month, folder, problems)
        out.mkdir(parents=True, exist_ok=True)
        for file in (LINES, TOTALS):
            folder.joinpath(file).replace(out.joinpath(file))
    return rated


def _existing(folder: Path) -> Path:
    """The nearest folder that is there: nothing is made before there is a result, and a move stays on one disk."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())


def _odd_ones(
    fast: Columns, path: Path, rated_by: Callable[[], Rating], folder: Path, problems: Problems, *, parquet: bool
) -> None:
    """Rate what the columns set aside, so much at a time as memory allows. Raises NotOrdinary if that is not enough."""

    def spans(batch: int | None = None) -> Iterator[Span]:
        ends = None if parquet else odd_rows.line_ends(path, fast.spans + len(fast.broken), fast.broken)
        broken = fast.broken if batch is None else ()
        return odd_rows.spans(fast.odd_rows(batch), path.name, ends, broken, problems)

    if not fast.batches and not fast.broken:
        return
    # What cannot be read is told before anything is rated, all of it, in the order of the file.
    few = list(spans()) if fast.batches == 1 else None
    if few is None:
        deque(spans(), maxlen=0)
    problems.stop_if_any()
    for batch in range(fast.batches):
        rating = rated_by()
        for span in spans(batch) if few is None else few:
            rating.add(span)
        fast.add(rating.lines(), folder)
    problems.stop_if_any()
    if not fast.certain:
        raise NotOrdinary


def _spans(path: Path, problems: Problems) -> Iterator[Span]:
    if is_parquet(path):
        return rows_as_spans(parquet_rows(path), path.name, problems)
    return read_spans(path, problems)


def _row_by_row(spans: Path, prices: Sequence[Price], month: Month, folder: Path, problems: Problems) -> Rated:
    """The whole file, where it cannot be read in columns; what cannot be read at all is told before it fills memory."""
    for _ in _spans(spans, problems):
        pass
    problems.stop_if_any()
    rating = Rating(prices, month, problems)
    count = 0
    for span in _spans(spans, problems):
        rating.add(span)
        count += 1
    lines = rating.lines()
    problems.stop_if_any()
    totals = _totals(lines)
    _write_all(folder, lines, totals)
    return Rated(count, len(lines), len({payer for payer, _, _ in totals}), sum(line.amount_fen for line in lines))


def _totals(lines: Iterable[Line]) -> list[tuple[str, str, int]]:
    sums: dict[tuple[str, str], int] = {}
    for line in lines:
        key = (line.payer_id, line.city_code)
        sums[key] = sums.get(key, 0) + line.amount_fen
    return [(payer, city, fen) for (payer, city), fen in sorted(sums.items())]


def _write_all(folder: Path, lines: Sequence[Line], totals: Sequence[tuple[str, str, int]]) -> None:
    _write(
        folder.joinpath(LINES),
        ("payer_id", "resource_id", "meter", "valid_from", "quantity_seconds", "amount_fen", "price"),
        (
            (
                x.payer_id,
                x.resource_id,
                x.meter,
                x.price.valid_from,
                plain(x.quantity_seconds),
                x.amount_fen,
                x.price_number,
            )
            for x in lines
        ),
    )
    _write(folder.joinpath(TOTALS), ("payer_id", "city_code", "amount_fen"), totals)


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
