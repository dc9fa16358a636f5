"""What is read out of a spreadsheet, and what is refused: bombs, entities, formulas, foreign encodings."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from typing import Any

import openpyxl
import pytest

from broker.errors import Invalid
from broker.inventory import sheets


def workbook(*rows: list[Any]) -> bytes:
    """A workbook as Excel would save it."""
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def code_of(content: bytes) -> str:
    with pytest.raises(Invalid) as refused:
        sheets.read(content)
    return refused.value.problems[0].code


def package(**parts: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name.replace("__", "/") + ".xml", content)
    return out.getvalue()


def test_cells_come_as_text_whatever_excel_made_of_them() -> None:
    """A division code typed as a number, a date, a whole float; empty lines are passed over, line numbers kept."""
    head, line = sheets.read(workbook(["编号", "日期"], [], [450100, date(2020, 1, 2), 3.0, "  字 "]))
    assert (head.number, head.cells, line.number) == (1, ["编号", "日期"], 3)
    assert line.cells == ["450100", "2020-01-02", "3", "字"]
    assert not line.wrong


def test_a_formula_an_error_and_a_logical_value_are_told_by_their_cell() -> None:
    """What such a cell shows is not what somebody wrote."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["a", "=1+1", True, "=cmd|' /C calc'!A0"])
    sheet["E1"] = "#REF!"
    out = io.BytesIO()
    book.save(out)
    (line,) = sheets.read(out.getvalue())
    assert line.wrong == {
        1: "import.formula", 2: "import.cell_logical", 3: "import.formula", 4: "import.cell_error",
    }  # fmt: skip


def test_csv_is_read_in_both_encodings_that_excel_writes() -> None:
    """UTF-8 with a mark, GB 18030; a cell with a line break keeps the numbering of lines."""
    text = '编号,名称\r\n1,"甲\n乙"\r\n2,=SUM(A1)\r\n3,-5\r\n'
    for encoding in ("utf-8-sig", "gb18030"):
        lines = sheets.read(text.encode(encoding))
        assert [line.number for line in lines] == [1, 2, 4, 5]
        assert [line.wrong for line in lines] == [{}, {}, {1: "import.formula"}, {}]
    assert lines[1].cells == ["1", "甲\n乙"]


def test_what_would_unpack_to_too_much_is_refused_before_it_is_unpacked() -> None:
    """A zip bomb: 80 MiB of nothing in a few hundred KiB."""
    bomb = package(xl__workbook=b"<w/>", xl__sheet=b"\0" * (80 << 20))
    assert len(bomb) < sheets.MOST_BYTES
    assert code_of(bomb) == "import.bomb"
    assert code_of(package(**{f"p{n}": b"" for n in range(400)})) == "import.bomb"


def test_entities_are_refused() -> None:
    """No part may declare any (a billion laughs)."""
    assert code_of(package(xl__workbook=b'<!DOCTYPE w [<!ENTITY a "b">]><w/>')) == "import.entities"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "import.empty"),
        (b"\r\n , ,\r\n", "import.empty"),
        (b"PK\x03\x04 no package", "import.broken"),
        (package(other=b"<w/>"), "import.broken"),
        (package(xl__workbook=b"<w/>"), "import.broken"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "import.old_excel"),
        (b"\xff\xff\x81", "import.encoding"),
        (b"a,b\x00", "import.encoding"),
        (b'a,"b', "import.broken"),
        (b"a" * (sheets.MOST_BYTES + 1), "import.too_large"),
        (b"a\n" * (sheets.MOST_LINES + 2), "import.too_many_lines"),
        (b"a," * sheets.MOST_COLUMNS + b"a", "import.too_many_columns"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(content: bytes, code: str) -> None:
    """Bad input changes nothing."""
    assert code_of(content) == code


def test_a_cell_too_long_or_with_control_characters_is_told() -> None:
    """By its place; the rest of the file is read."""
    (line,) = sheets.read(b"a," + b"x" * (sheets.MOST_CHARACTERS + 1) + b",\x07\n")
    assert line.wrong == {1: "import.cell_long", 2: "import.cell_control"}
