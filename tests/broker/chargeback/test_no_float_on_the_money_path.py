"""The code that handles money, read as source: there is no way for a float to get in."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import api
import api.cli.rate
import broker

SHOWN = (
    "documents/files.py",
    "documents/statement*.py",
    "cli/amounts.py",
    "cli/bill.py",
    "cli/disputes.py",
    "console/budgets.py",
    "console/chargeback.py",
    "formats.py",
    "console/disputes.py",
    "console/overviews.py",
    "routes/chargeback.py",
    "schemas/chargeback.py",
    "texts/money.py",
)
"""What shows and writes amounts."""
ROOT = Path(broker.__file__).parent
FILES = [
    *(path for room in ("pricing", "metering", "chargeback") for path in sorted((ROOT / room).glob("*.py"))),
    Path(api.cli.rate.__file__),
    *(path for name in SHOWN for path in sorted(Path(api.__file__).parent.glob(name))),
]
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE)\b")
LITERAL = re.compile(r"'[^']*'")
INEXACT_SQL = re.compile(r"(?<!/)/(?!/)|\bround\s*\(|\b(float[48]?|real|double\s+precision|money)\b", re.IGNORECASE)
INEXACT_NAMES = {"float", "round", "math", "statistics", "timestamp", "total_seconds", "getcontext"}


def inexact(tree: ast.AST) -> list[str]:
    """Where source could make or round a number inexactly: floats, true division, round(), SQL that does the same."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                found.append(f"{node.lineno}: float literal")
            case ast.Constant(value=str(text)) if SQL.search(text) and INEXACT_SQL.search(LITERAL.sub("", text)):
                found.append(f"{node.lineno}: inexact SQL")
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                found.append(f"{node.lineno}: true division")
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in INEXACT_NAMES:
                found.append(f"{node.lineno}: {name}")
            case ast.ImportFrom(module=str(module)) if module in INEXACT_NAMES:
                found.append(f"{node.lineno}: import {module}")
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found += [f"{node.lineno}: import {n.name}" for n in names if n.name.partition(".")[0] in INEXACT_NAMES]
            case _:
                pass
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_float_touches_money(path: Path) -> None:
    """No float literal, no true division, no ``float()``, no ``round()``, in Python or in SQL."""
    assert inexact(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 0.5",
        "x = a / b",
        "x /= 2",
        "x = float(a)",
        "x = round(a, 2)",
        "import math",
        "from math import floor",
        "x = at.timestamp()",
        "x = span.total_seconds()",
        "x = 'SELECT a / b'",
        "x = 'SELECT round(a)'",
        "x = 'SELECT CAST(a AS double precision)'",
    ],
)
def test_the_scan_sees_each_way_in(source: str) -> None:
    """A scan that finds nothing anywhere would prove nothing."""
    assert inexact(ast.parse(source)) != []


def test_the_scan_covers_the_rating() -> None:
    """The files that compute are among those read."""
    names = {path.name for path in FILES}
    assert {"statement_excel.py", "statement_csv.py", "focus.py", "overviews.py"} <= names
    assert {
        "rules.py",
        "rating.py",
        "rating_sql.py",
        "bill_sql.py",
        "closing_sql.py",
        "columnar.py",
        "offline.py",
        "rate.py",
    } <= names
