"""Reads a file of usage spans (CSV), row by row.

Called by: ``chargeback.offline``. Must not: hold the file in memory, guess at a time without a zone, or use a float.
Columns may stand in any order and others beside them; blank lines are passed over, and empty cells beyond the header (a
comma at the end), as DuckDB does (``columnar``).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from broker.chargeback.problems import Problems
from broker.chargeback.rating import Span
from broker.chargeback.rules import epoch_seconds
from broker.errors import Invalid, Problem

COLUMNS = ("resource_id", "payer_id", "city_code", "sub_cloud", "meter", "quantity", "start_at", "end_at")

OPTIONAL = ("operator", "unit_class", "term_months", "state")
"""May be absent; then empty, 0, active."""

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z|\+00:00)")
_DECIMAL = re.compile(r"-?[0-9]{1,24}(?:\.[0-9]{1,24})?")
_TERM = re.compile(r"[0-9]{0,4}")
STATES = ("", "active", "stopped", "once")
"""``once``: no usage over time but an item charged once; its span is one second."""

_PARQUET = b"PAR1"


def is_parquet(path: Path) -> bool:
    """By its first bytes, or by its name."""
    with path.open("rb") as raw:
        return raw.read(len(_PARQUET)) == _PARQUET or path.suffix.lower() == ".parquet"


def read_spans(path: Path, problems: Problems) -> Iterator[Span]:
    """The spans of a CSV file. What is wrong with a row is noted with its line, and the row is left out.

    Raises Invalid for a file that cannot be read at all: ``spans.not_utf8``, ``spans.broken``, ``spans.empty``,
    ``spans.column_missing``, ``spans.column_twice``.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from _rows(file, path.name, problems)


def _rows(file: TextIO, name: str, problems: Problems) -> Iterator[Span]:
    reader = csv.reader(file, strict=True)
    try:
        pick, width = None, 0
        for row in reader:
            if pick is None:
                pick, width = _columns(row, name), len(row)
            elif row:
                place = f"{name}:{reader.line_num}"
                if not any(row[width:]):
                    del row[width:]
                if len(row) != width:
                    problems.add("span.columns", place, expected=width, found=len(row))
                elif (span := span_of(pick(row), place, problems)) is not None:
                    yield span
        if pick is None:
            raise Invalid([Problem("spans.empty", name)])
    except csv.Error as error:
        raise Invalid([Problem("spans.broken", f"{name}:{reader.line_num}", params={"detail": str(error)})]) from error
    except UnicodeDecodeError as error:
        raise Invalid([Problem("spans.not_utf8", f"{name}:{reader.line_num + 1}")]) from error


def rows_as_spans(rows: Iterator[list[str]], name: str, problems: Problems) -> Iterator[Span]:
    """The spans of rows that are no CSV (Parquet), the header first; a row's place is its number."""
    pick = _columns(next(rows), name)
    for number, row in enumerate(rows, 1):
        if (span := span_of(pick(row), f"{name}:{number}", problems)) is not None:
            yield span


def columns_of(header: list[str] | None, name: str) -> dict[str, int]:
    """Where each of our columns stands. Raises Invalid as ``read_spans`` does."""
    if not header:
        raise Invalid([Problem("spans.empty", name)])
    found = [word.strip() for word in header]
    wrong = [Problem("spans.column_missing", f"{name}:1", params={"column": c}) for c in COLUMNS if c not in found]
    wrong += [
        Problem("spans.column_twice", f"{name}:1", params={"column": c})
        for c in (*COLUMNS, *OPTIONAL)
        if found.count(c) > 1
    ]
    if wrong:
        raise Invalid(wrong)
    return {column: found.index(column) for column in (*COLUMNS, *OPTIONAL) if column in found}


def _columns(header: list[str] | None, name: str) -> Callable[[list[str]], list[str]]:
    """Picks our columns out of a row, in our order; an absent one is empty."""
    where = columns_of(header, name)
    order = [where.get(column) for column in (*COLUMNS, *OPTIONAL)]
    return lambda row: ["" if at is None else row[at] for at in order]


def span_of(values: Sequence[str], place: str, problems: Problems) -> Span | None:
    """A row (``COLUMNS``, then ``OPTIONAL``) as a span; None where something is wrong with it, which is noted."""
    resource_id, payer_id, city_code, sub_cloud, meter, quantity, start_at, end_at, *more = values
    operator, unit_class, term, state = more
    if not (resource_id and payer_id and meter):
        column = next(
            c for c, v in zip(COLUMNS, values, strict=False) if not v and c in {"resource_id", "payer_id", "meter"}
        )
        problems.add("span.empty", place, column=column)
        return None
    amount = read_decimal(quantity)
    start, end = _time(start_at), _time(end_at)
    if amount is None:
        problems.add("span.quantity", place, value=quantity[:40])
    elif amount < 0:
        problems.add("span.quantity_negative", place, value=quantity[:40])
    elif start is None or end is None:
        problems.add("span.time", place, value=(start_at if start is None else end_at)[:40])
    elif not _TERM.fullmatch(term):
        problems.add("span.term", place, value=term[:40])
    elif state not in STATES:
        problems.add("span.state", place, value=state[:40])
    elif end < start:
        problems.add("span.ends_before_start", place, start_at=start_at, end_at=end_at)
    else:
        rest = (operator, unit_class, int(term or 0), state == "stopped", state == "once")
        return Span(place, resource_id, payer_id, city_code, sub_cloud, meter, amount, start, end, *rest)
    return None


def read_decimal(text: str) -> Decimal | None:
    """A plain decimal of at most 24 digits on either side of the point; None for anything else."""
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def _time(text: str) -> int | None:
    """A whole second in UTC; None for anything else."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return epoch_seconds(datetime.fromisoformat(text))
    except ValueError:
        return None
