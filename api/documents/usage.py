"""Usage as a file that can be brought back in: CSV with the columns of an import.

Called by: the API. Must not: decide who may see what.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from api.documents import spreadsheet
from broker.metering.usage_lines import COLUMNS


def write(path: Path, kind: str, rows: Iterable[Mapping[str, str]]) -> Path:
    """Write rows; our own words and numbers but for a note, so nothing else could become a formula."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        out = csv.DictWriter(file, COLUMNS[kind], lineterminator="\n")
        out.writeheader()
        out.writerows({name: spreadsheet.text(cell) for name, cell in row.items()} for row in rows)
    return path
