"""What stops a month from being closed, as CSV: one thing a row, by its code, with what an operator looks for.

Called by: the API, the console, ``guiyun bill preview --csv``. Must not: decide what stops a close.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from api import formats, texts
from api.documents import spreadsheet
from api.texts import names
from broker.chargeback import obstacles
from broker.chargeback.values import Obstacle

COLUMNS = ("code", "number", "name", "meter", "payer", "month", "amount_cny", "line", "operator", "message", "id")


def write(path: Path, found: Iterable[Obstacle]) -> Path:
    """Write them, in their order."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        out.writerows(_row(one) for one in found)
    return path


def _row(one: Obstacle) -> list[str]:
    problem = obstacles.problem(one)
    return [
        problem.code,
        spreadsheet.text(one.number),
        spreadsheet.text(one.name),
        spreadsheet.text(names.METERS.get(one.meter, one.meter)),
        spreadsheet.text(one.payer),
        "" if one.month is None else f"{one.month:%Y-%m}",
        "" if one.amount_fen is None else formats.yuan(one.amount_fen).replace(",", ""),
        "" if one.line is None else str(one.line),
        spreadsheet.text(one.operator),
        spreadsheet.text(texts.sentence(problem.code, problem.params)),
        problem.field,
    ]
