"""How a cell of a file, or a field of a form, becomes a value: text, days, codes; and a whole line of them. Pure.

Called by: what people write by lines (``system_entry``, ``dedicated.entry``) and its imports. Must not: know a list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, TypeVar

from broker.errors import Problem
from broker.inventory import sheets
from broker.inventory.sheets import Line

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
E = TypeVar("E")


class BadCell(ValueError):
    """A cell that is not what its column holds; ``code`` says what it is not."""

    def __init__(self, code: str, **params: object) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


_DATE = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?")


def day(text: str) -> date | None:
    """``2019-05-20``, ``2019/5/20`` or ``2019年5月20日``; empty is None."""
    if not text:
        return None
    found = _DATE.fullmatch(text)
    try:
        return date(*(int(part) for part in found.groups())) if found else _not_a_day()
    except ValueError:
        return _not_a_day()


def _not_a_day() -> date:
    raise BadCell("field.date")


def codes(text: str) -> tuple[str, ...]:
    """Codes apart by commas, semicolons or spaces."""
    return tuple(part for part in re.split(r"[\s,，;；、]+", text) if part)


def words(most: int, *, required: bool = True) -> Callable[[str], str]:
    """Text of at most so many characters."""

    def read(text: str) -> str:
        if required and not text:
            raise BadCell("field.missing")
        if len(text) > most:
            raise BadCell("field.length", least=1 if required else 0, most=most)
        return text

    return read


def code(text: str) -> str:
    if not text:
        raise BadCell("field.missing")
    if not CODE.fullmatch(text):
        raise BadCell("system.code_form")
    return text


def read(
    make: type[E], reads: Mapping[str, Callable[[str], Any]], texts: Mapping[str, str]
) -> tuple[E | None, list[Problem]]:
    """An entry out of the text of its fields; None where some of it cannot be read. All problems at once."""
    values: dict[str, Any] = {}
    problems = []
    for name, value_of in reads.items():
        try:
            values[name] = value_of(texts.get(name, "").strip())
        except BadCell as error:
            problems.append(Problem(error.code, name, params=error.params))
    return (None, problems) if problems else (make(**values), [])


def read_line(
    reads: Callable[[Mapping[str, str]], tuple[E | None, list[Problem]]],
    line: Line,
    columns: Mapping[int, str],
    wide: int,
) -> tuple[E | None, list[Problem]]:
    """An entry out of a line of a file; what is wrong with a cell itself goes before what it does not hold."""
    entry, problems = reads(sheets.texts(line, columns))
    odd = sheets.complaints(line, columns, wide)
    bad = {problem.field for problem in odd}
    every = [*odd, *(p for p in problems if p.field not in bad)]
    return (None, every) if every else (entry, [])
