"""A statement as an Excel file: a sheet with its sums beside last month's, then its lines.

Called by: the API, ``guiyun statements``. Must not: hold a statement in memory (rows are written as they come), or let
text become a formula.

A spreadsheet keeps numbers as binary fractions of 15 to 17 digits. What is written into the file is the decimal text
of the amount, which such a number gives back to the fen up to 10^13 fen: more than any line may cost (0005).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from api.documents.statement import Cell, columns, facts, sum_name, yuan
from api.formats import percent
from api.texts import money
from broker.chargeback.views import Axis, ExplainedLine, StatementSummary

EXACT_DIGITS = 15
"""A number with more digits would lose some: it is written as text."""

SHEET_LINES = 1_000_000
"""A sheet holds 1,048,576 rows: a longer statement goes on in another one."""

_FORMATS: dict[str, dict[str, Any]] = {
    "title": {"bold": True, "font_size": 16},
    "name": {"font_color": "#5b6675"},
    "head": {"bold": True, "bg_color": "#e8eef6", "bottom": 1, "text_wrap": True, "valign": "vcenter"},
    "head_right": {"bold": True, "bg_color": "#e8eef6", "bottom": 1, "align": "right", "valign": "vcenter"},
    "text": {"valign": "top", "text_wrap": True},
    "money": {"num_format": "#,##0.00"},
    "fact": {"num_format": "#,##0.00", "align": "left"},
    "price": {"num_format": "0.00######"},
    "quantity": {"num_format": "#,##0.0###"},
    "whole": {"num_format": "#,##0"},
    "total": {"bold": True, "top": 1, "num_format": "#,##0.00"},
    "total_right": {"bold": True, "top": 1, "align": "right"},
    "right": {"align": "right"},
    "note": {"italic": True, "font_color": "#5b6675"},
}
_FONT: dict[str, Any] = {"font_name": "宋体", "font_size": 11}


def write(path: Path, summary: StatementSummary, lines: Iterable[ExplainedLine]) -> None:
    """Write a statement."""
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        formats = {name: book.add_format(_FONT | given) for name, given in _FORMATS.items()}
        _summary(book.add_worksheet("汇总"), summary, formats)
        _lines(book, columns(summary), lines, formats)


def _summary(sheet: Worksheet, summary: StatementSummary, formats: dict[str, Any]) -> None:
    sheet.set_column(0, 0, 60)
    sheet.set_row(0, 28)
    sheet.set_column(1, 4, 16)
    sheet.write_string(0, 0, f"{summary.head.payer_name} {summary.month} 账单", formats["title"])
    row = 2
    for name, value in facts(summary):
        sheet.write_string(row, 0, name, formats["name"])
        _cell(sheet, (row, 1), value, formats["fact"])
        row += 1
    sheet.write_string(row, 0, money.ROUNDING, formats["note"])
    for axis in Axis:
        row = _axis(sheet, row + 2, axis, summary, formats)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)


def _axis(sheet: Worksheet, row: int, axis: Axis, summary: StatementSummary, formats: dict[str, Any]) -> int:
    headings = (money.AXIS_HEADINGS[axis.value], "本月（元）", "上月（元）", "增减（元）", "增减幅度")
    for place, heading in enumerate(headings):
        sheet.write_string(row, place, heading, formats["head_right" if place else "head"])
    for one in summary.by(axis):
        row += 1
        sheet.write_string(row, 0, sum_name(one), formats["text"])
        for place, fen in enumerate((one.amount_fen, one.before_fen, one.change_fen), start=1):
            sheet.write_number(row, place, _number(yuan(fen)), formats["money"])
        sheet.write_string(row, 4, percent(one.change_fen, one.before_fen), formats["right"])
    row += 1
    before = summary.before_fen or 0
    sheet.write_string(row, 0, "合计", formats["total"])
    for place, fen in enumerate((summary.head.total_fen, before, summary.head.total_fen - before), start=1):
        sheet.write_number(row, place, _number(yuan(fen)), formats["total"])
    sheet.write_string(row, 4, percent(summary.head.total_fen - before, before), formats["total_right"])
    return row


def _lines(book: Any, shown: Any, lines: Iterable[ExplainedLine], formats: dict[str, Any]) -> None:
    sheets = 1
    sheet = _sheet(book, "明细", shown, formats)
    row = 0
    for line in lines:
        if row == SHEET_LINES:
            _finish(sheet, row, shown)
            sheets, row = sheets + 1, 0
            sheet = _sheet(book, f"明细{sheets}", shown, formats)
        row += 1
        for place, column in enumerate(shown):
            value = column.value(line)
            # With places that may be empty, a whole number would be shown with a point at its end.
            whole = column.kind == "quantity" and isinstance(value, Decimal) and value == value.to_integral_value()
            _cell(sheet, (row, place), value, formats["whole" if whole else column.kind])
    _finish(sheet, row, shown)


def _sheet(book: Any, name: str, shown: Any, formats: dict[str, Any]) -> Worksheet:
    sheet: Worksheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 2)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.set_row(0, 32)
    for place, column in enumerate(shown):
        sheet.set_column(place, place, column.width)
        sheet.write_string(0, place, column.heading, formats["head"])
    return sheet


def _finish(sheet: Worksheet, row: int, shown: Any) -> None:
    sheet.autofilter(0, 0, max(row, 1), len(shown) - 1)


def _cell(sheet: Worksheet, place: tuple[int, int], value: Cell, form: Any) -> None:
    if isinstance(value, Decimal) and len(value.as_tuple().digits) <= EXACT_DIGITS:
        sheet.write_number(*place, _number(value), form)
    else:
        sheet.write_string(*place, f"{value:f}" if isinstance(value, Decimal) else value, form)


def _number(value: Decimal) -> Any:
    """The library takes decimals, though its types do not say so, and writes their digits as text."""
    return value
