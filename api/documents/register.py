"""The register's files: the template to fill in, and the register as it is, as Excel and CSV.

Called by: the API, the console. Must not: let text become a formula, or decide who sees what.
What is written here can be read back by the import without a change.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import xlsxwriter

from api import formats
from api.documents import spreadsheet
from api.texts import register as words
from broker.db.base import AnyRow
from broker.errors import Invalid, Problem
from broker.inventory.register import entry_of_row
from broker.inventory.system_entry import REQUIRED

FORMS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_WIDE = {"function": 36, "name": 24, "growth_reason": 36, "ended_reason": 24, "scope_of_use": 20, "unit_name": 24}


def template(folder: Path, form: str) -> Path:
    """A file with the headings; as Excel with a second sheet that explains them. Raises Invalid ``file.form``."""
    return _write(folder.joinpath(f"{words.TEMPLATE_NAME}.{form}"), list(words.HEADINGS), [], explain=True)


def export(folder: Path, form: str, rows: Iterable[AnyRow]) -> Path:
    """The register. ``rows``: of ``systems.everything``. Raises Invalid ``file.form``."""
    names = [*words.HEADINGS, *words.SHOWN_ONLY]
    return _write(
        folder.joinpath(f"{words.EXPORT_NAME}.{form}"), names, [_cells(row, names) for row in rows], explain=False
    )


def _cells(row: AnyRow, names: Sequence[str]) -> list[str]:
    system, entry = row[0], entry_of_row(row)
    shown: dict[str, Any] = {name: getattr(entry, name, "") for name in names}
    shown |= {
        "merges": "",
        "unit_name": row.unit_name or "",
        "state": words.STATES["in_use" if system.retired_at is None else "ended"],
        "registered_at": formats.when(system.registered_at),
        "ended_kind": words.ENDINGS.get(system.ended_kind or "", ""),
        "retired_at": formats.when(system.retired_at) if system.retired_at else "",
        "ended_reason": system.ended_reason or "",
    }
    return [_text(shown[name]) for name in names]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _write(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], *, explain: bool) -> Path:
    if path.suffix.removeprefix(".") not in FORMS:
        raise Invalid([Problem("file.form", "form")])
    headings = [{**words.HEADINGS, **words.SHOWN_ONLY}[name] for name in names]
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            out = csv.writer(file)
            out.writerow(headings)
            out.writerows([spreadsheet.text(cell) for cell in row] for row in rows)
        return path
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        head = book.add_format(
            {"bold": True, "bg_color": "#e8eef6", "bottom": 1, "text_wrap": True, "valign": "vcenter"}
        )
        text = book.add_format({"num_format": "@", "valign": "top", "text_wrap": True})
        sheet = book.add_worksheet(words.EXPORT_NAME)
        for place, name in enumerate(names):
            sheet.set_column(place, place, _WIDE.get(name, 15), text)
            sheet.write_string(0, place, f"{headings[place]}{' *' if name in REQUIRED else ''}", head)
        for number, row in enumerate(rows, start=1):
            for place, cell in enumerate(row):
                sheet.write_string(number, place, cell, text)
        sheet.freeze_panes(1, 0)
        if rows:
            sheet.autofilter(0, 0, len(rows), len(names) - 1)
        if explain:
            _explain(book, head, text)
    return path


def _explain(book: Any, head: Any, text: Any) -> None:
    sheet = book.add_worksheet("填写说明")
    sheet.set_column(0, 0, 22)
    sheet.set_column(1, 1, 90)
    for place, heading in enumerate(("列", "说明")):
        sheet.write_string(0, place, heading, head)
    for number, (name, hint) in enumerate(words.HINTS.items(), start=1):
        sheet.write_string(number, 0, words.HEADINGS[name], text)
        sheet.write_string(number, 1, hint, text)
