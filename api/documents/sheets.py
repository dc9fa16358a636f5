"""Writes a table as Excel or CSV: text only, read back by the imports without a change.

Called by: the files of the registers. Must not: know a column, or let text become a formula.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xlsxwriter

from api.documents import spreadsheet
from broker.errors import Invalid, Problem

FORMS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_USUAL = 15


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet: its name, headings by field, which must be filled in, wide columns; ``hints`` make a second one."""

    name: str
    headings: Mapping[str, str]
    required: Collection[str]
    wide: Mapping[str, int] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)


def write(path: Path, sheet: Sheet, rows: Sequence[Sequence[str]]) -> Path:
    """Write the rows, one cell for each heading. The form is the file's ending. Raises Invalid ``file.form``."""
    if path.suffix.removeprefix(".") not in FORMS:
        raise Invalid([Problem("file.form", "form")])
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            out = csv.writer(file)
            out.writerow(sheet.headings.values())
            out.writerows([spreadsheet.text(cell) for cell in row] for row in rows)
        return path
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        head = book.add_format(
            {"bold": True, "bg_color": "#e8eef6", "bottom": 1, "text_wrap": True, "valign": "vcenter"}
        )
        text = book.add_format({"num_format": "@", "valign": "top", "text_wrap": True})
        first = book.add_worksheet(sheet.name)
        for place, (name, heading) in enumerate(sheet.headings.items()):
            first.set_column(place, place, sheet.wide.get(name, _USUAL), text)
            first.write_string(0, place, f"{heading}{' *' if name in sheet.required else ''}", head)
        for number, row in enumerate(rows, start=1):
            for place, cell in enumerate(row):
                first.write_string(number, place, cell, text)
        first.freeze_panes(1, 0)
        if rows:
            first.autofilter(0, 0, len(rows), len(sheet.headings) - 1)
        if sheet.hints:
            _explain(book, sheet, head, text)
    return path


def _explain(book: Any, sheet: Sheet, head: Any, text: Any) -> None:
    second = book.add_worksheet("填写说明")
    second.set_column(0, 0, 22)
    second.set_column(1, 1, 90)
    for place, heading in enumerate(("列", "说明")):
        second.write_string(0, place, heading, head)
    for number, (name, hint) in enumerate(sheet.hints.items(), start=1):
        second.write_string(number, 0, sheet.headings[name], text)
        second.write_string(number, 1, hint, text)
