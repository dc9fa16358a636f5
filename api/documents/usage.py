"""Usage as a file that can be brought back in: CSV with the columns of an import.

Called by: the API. Must not: decide who may see what.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from api import texts
from api.documents import spreadsheet
from broker.errors import Problem
from broker.metering.usage_lines import COLUMNS


def write(path: Path, kind: str, rows: Iterable[Mapping[str, str]]) -> Path:
    """Write rows."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        out = csv.DictWriter(file, COLUMNS[kind], lineterminator="\n")
        out.writeheader()
        out.writerows({name: spreadsheet.text(cell) for name, cell in row.items()} for row in rows)
    return path


def problems(path: Path, found: Iterable[Problem]) -> Path:
    """Write everything that is wrong with a file, one thing a row, however long the list."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("line", "column", "code", "message"))
        for one in found:
            line, _, column = one.field.partition(".")
            out.writerow((line, column, one.code, spreadsheet.text(texts.sentence(one.code, one.params))))
    return path
