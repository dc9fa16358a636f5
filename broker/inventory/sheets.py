"""Reads a table that somebody made in a spreadsheet: Excel (.xlsx) or CSV, as text, line by line, within limits.

Called by: the imports of the register and of usage. Must not: know a column's meaning, compute a formula, or unpack
without bounds.

A workbook is refused whole when it is none, would unpack to too much (a zip bomb) or declares XML entities. A cell with
a formula, an error or a logical value is an answer of its own: what it shows is not what was written.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl

from broker.errors import Invalid, Problem

MOST_BYTES = 2 << 20
MOST_LINES = 5_000
MOST_COLUMNS = 60
MOST_CHARACTERS = 4_000
UNPACKED_BYTES = 64 << 20
MOST_PARTS = 300
MOST_EXACT = 10**15
"""A larger number in a spreadsheet has lost digits."""
_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet may take for the beginning of a formula; our own files put an apostrophe before it."""
_FORMULA = re.compile(r"[=@]|[+-](?![\d.,]+$)")
_ENTITIES = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass(slots=True)
class Line:
    """A line of the file: its number as a spreadsheet shows it, its cells as text, what is wrong by column."""

    number: int
    cells: list[str]
    wrong: dict[int, str] = field(default_factory=dict)


def read(content: bytes, *, most_bytes: int = MOST_BYTES, most_lines: int = MOST_LINES) -> list[Line]:
    """The lines that hold anything, the heading first.

    Raises Invalid: ``import.too_large``, ``import.empty``, ``import.old_excel``, ``import.broken``, ``import.bomb``,
    ``import.entities``, ``import.encoding``, ``import.too_many_lines``, ``import.too_many_columns``.
    """
    if len(content) > most_bytes:
        raise _refused("import.too_large", most_mib=most_bytes >> 20)
    if content.startswith(_OLE):
        raise _refused("import.old_excel")
    rows = _excel(content) if content.startswith(_ZIP) else _csv(content)
    lines = [line for line in _bounded(rows, most_lines) if any(line.cells) or line.wrong]
    if not lines:
        raise _refused("import.empty")
    return lines


def columns(head: Line, headings: Mapping[str, str], required: Iterable[str]) -> dict[int, str]:
    """Place -> field. What is wrong with the heading stops all: no line could be read rightly.

    Raises Invalid with all of ``import.unknown_column``, ``import.column_twice``, ``import.missing_column``.
    """
    found: dict[int, str] = {}
    problems = []
    for place, heading in enumerate(head.cells):
        name = headings.get(heading.replace("*", "").replace("＊", "").replace("\n", "").strip())
        if name is None:
            problems.append(Problem("import.unknown_column", "file", params={"column": heading[:60] or "—"}))
        elif name in found.values():
            problems.append(Problem("import.column_twice", "file", params={"column": heading[:60]}))
        else:
            found[place] = name
    for name in (name for name in required if name not in found.values()):
        called = next(h for h, given in headings.items() if given == name and not h.isascii())
        problems.append(Problem("import.missing_column", "file", params={"column": called}))
    if problems:
        raise Invalid(problems)
    return found


def texts(line: Line, places: Mapping[int, str]) -> dict[str, str]:
    """A line's cells by their fields."""
    return {name: line.cells[place] if place < len(line.cells) else "" for place, name in places.items()}


def complaints(line: Line, places: Mapping[int, str], wide: int) -> list[Problem]:
    """What is wrong with a line's cells themselves. ``wide``: how many the heading has."""
    found = [Problem(code, places[place]) for place, code in line.wrong.items() if place in places]
    return found + [Problem("import.cell_beyond", "file")] * any(line.cells[wide:])


def _refused(code: str, **params: object) -> Invalid:
    return Invalid([Problem(code, "file", params=params)])


def _bounded(rows: Iterator[Line], most_lines: int) -> Iterator[Line]:
    held = 0
    for line in rows:
        while line.cells and not line.cells[-1] and len(line.cells) - 1 not in line.wrong:
            line.cells.pop()
        if len(line.cells) > MOST_COLUMNS:
            raise _refused("import.too_many_columns", most=MOST_COLUMNS)
        held += bool(line.cells)
        if held > most_lines + 1 or line.number > 20 * most_lines:
            raise _refused("import.too_many_lines", most=most_lines)
        for place, cell in enumerate(line.cells):
            if len(cell) > MOST_CHARACTERS:
                line.wrong[place] = "import.cell_long"
            elif not cell.isprintable() and any(not (c.isprintable() or c in "\n\t") for c in cell):
                line.wrong[place] = "import.cell_control"
        yield line


def _csv(content: bytes) -> Iterator[Line]:
    """UTF-8, or GB 18030 as Excel writes it in China."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise _refused("import.encoding")
    if "\x00" in text:
        raise _refused("import.encoding")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        for cells in reader:
            found = [cell.strip() for cell in cells]
            wrong = {n: "import.formula" for n, cell in enumerate(found) if _FORMULA.match(cell)}
            # An apostrophe before it says that it is text: so our own export writes it.
            yield Line(start, [c[1:] if c[:1] == "'" and c[1:].startswith(FORMULA_STARTS) else c for c in found], wrong)
            start = reader.line_num + 1
    except csv.Error as error:
        raise _refused("import.broken", detail=f"第 {reader.line_num} 行") from error


def _excel(content: bytes) -> Iterator[Line]:
    _inspect(content)
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=False, keep_links=False)
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # a file may lie about its size
            for number, row in enumerate(sheet.iter_rows(max_col=MOST_COLUMNS + 1), start=1):
                line = Line(number, [])
                for place, cell in enumerate(row):
                    shown, problem = _cell(cell.value, cell.data_type)
                    line.cells.append(shown)
                    if problem:
                        line.wrong[place] = problem
                yield line
        finally:
            book.close()
    except Invalid:
        raise
    except (
        zipfile.BadZipFile,
        ParseError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        OSError,
        AttributeError,
    ) as error:
        # Whatever the library makes of a broken workbook, the person is told that it is broken.
        raise _refused("import.broken", detail=type(error).__name__) from error


def _inspect(content: bytes) -> None:
    """Look at the package before anything is unpacked; a part never unpacks to more than it says here."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            parts = package.infolist()
            if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > UNPACKED_BYTES:
                raise _refused("import.bomb", most_mib=UNPACKED_BYTES >> 20)
            if not any(part.filename == "xl/workbook.xml" for part in parts):
                raise _refused("import.broken", detail="xl/workbook.xml")
            for part in parts:
                if part.filename.endswith((".xml", ".rels")):
                    with package.open(part) as file:
                        if _ENTITIES.search(file.read()):
                            raise _refused("import.entities")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise _refused("import.broken", detail=type(error).__name__) from error


def _cell(value: Any, kind: str) -> tuple[str, str]:
    """A cell as text, and what is wrong with it."""
    value = "" if value is None else value
    if isinstance(value, bool):
        return str(value), "import.cell_logical"
    if kind == "e":
        return str(value), "import.cell_error"
    if kind == "f" or not isinstance(value, str | int | float | date):
        return str(value)[:80], "import.formula"
    if isinstance(value, date):
        plain = not isinstance(value, datetime) or value.time() == time()
        return value.isoformat()[:10] if plain else value.isoformat(), ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < MOST_EXACT else repr(value), ""
    return str(value).strip(), ""
