"""Reads a file of usage, Excel, CSV or Parquet, as lines of text within limits.

Called by: ``metering.usage_import``. Must not: know what a column means, or make a float of a number.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from broker.errors import Invalid, Problem
from broker.inventory import sheets
from broker.inventory.sheets import Line

MOST_BYTES = 8 << 20
MOST_LINES = 50_000
_PARQUET = b"PAR1"
_INTEGERS = ("bigint", "integer", "smallint", "tinyint", "ubigint", "uinteger", "usmallint", "utinyint", "hugeint")
_PLAIN = ("varchar", "uuid", "date", "timestamp", "decimal", *_INTEGERS)


def read(content: bytes) -> list[Line]:
    """The lines, the heading first. Raises Invalid as ``sheets.read`` does, and ``import.parquet``."""
    if content.startswith(_PARQUET) and len(content) <= MOST_BYTES:
        return _parquet(content)
    return sheets.read(content, most_bytes=MOST_BYTES, most_lines=MOST_LINES)


def _parquet(content: bytes) -> list[Line]:
    """A row's number is its place, the heading being line 1, as in a spreadsheet. No floats, lists or blobs."""
    with TemporaryDirectory(prefix="guiyun-usage-") as folder:
        path = Path(folder, "usage.parquet")
        path.write_bytes(content)
        with duckdb.connect(config={"threads": 1, "memory_limit": "256MB", "temp_directory": folder}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            try:
                found = connection.execute("SELECT * FROM read_parquet(?) LIMIT ?", [str(path), MOST_LINES + 1])
                rows = found.fetchall()
            except duckdb.Error as error:
                raise Invalid([Problem("import.parquet", "file")]) from error
            head = [(name, str(kind).lower()) for name, kind, *_ in found.description or ()]
    if len(rows) > MOST_LINES:
        raise Invalid([Problem("import.too_many_lines", "file", params={"most": MOST_LINES})])
    if len(head) > sheets.MOST_COLUMNS:
        raise Invalid([Problem("import.too_many_columns", "file", params={"most": sheets.MOST_COLUMNS})])
    odd = [name for name, kind in head if not kind.startswith(_PLAIN)]
    if odd:
        raise Invalid([Problem("import.parquet_type", "file", params={"column": name[:60]}) for name in odd])
    lines = [Line(1, [name.strip() for name, _ in head])]
    lines += [Line(number, [_text(value) for value in row]) for number, row in enumerate(rows, 2)]
    return [line for line in lines if any(line.cells)]


def _text(value: Any) -> str:
    """A value as a spreadsheet's text would be; an instant without a zone is UTC, as Parquet's writers have it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        at = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return at.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        whole = value.to_integral_value()
        return f"{whole:f}" if whole == value else f"{value:f}"
    return str(value).strip()
