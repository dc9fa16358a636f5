"""A statement's lines as CSV: UTF-8 with a mark that Excel knows, exact decimals, one line a row.

Called by: the API, ``guiyun statements``. Must not: hold a statement in memory.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from api.documents import spreadsheet
from api.documents.statement import Cell, columns
from broker.chargeback.views import ExplainedLine, StatementSummary


def write(path: Path, summary: StatementSummary, lines: Iterable[ExplainedLine]) -> None:
    """Write the lines of a statement."""
    shown = columns(summary)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        out = csv.writer(file)
        out.writerow([column.heading for column in shown])
        for line in lines:
            out.writerow([_text(column.value(line)) for column in shown])


def _text(cell: Cell) -> str:
    """A number without exponent; text that a spreadsheet would take for a formula is told to be text."""
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    return spreadsheet.text(cell)
