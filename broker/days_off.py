"""Reads the file of days off and days made up that an operator keeps (its shape: ``region/data/holidays.yaml``).

Called by: ``broker.workdays``. Must not: decide which day is worked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker.errors import Invalid, Problem
from broker.yaml_file import YamlError, path_of, read_yaml


class CalendarError(Invalid):
    """The days-off file cannot be used; every problem of it at once. 422."""


_Dates = Annotated[tuple[date, ...], Field(strict=False)]
"""YAML gives a list; its entries stay strict."""


class Notice(BaseModel):
    """One notice, as the file states it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    year: Annotated[int, Field(ge=1949, le=2200)]
    issuer: Literal["state", "region"]
    name: Annotated[str, Field(min_length=1, max_length=40)]
    source: Annotated[str, Field(min_length=1, max_length=400)]
    provisional: bool = False
    off: _Dates = ()
    worked: _Dates = ()


class _Notices(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    notices: tuple[Notice, ...]


def read_notices(path: Path) -> tuple[Notice, ...]:
    """The notices of one file. Raises CalendarError with every problem found."""
    try:
        notices = _Notices.model_validate(read_yaml(path)).notices
    except YamlError as error:
        raise CalendarError(
            [Problem(error.code, path.name, params={"line": error.line, "detail": error.detail})]
        ) from error
    except ValidationError as error:
        raise CalendarError(
            [
                Problem("calendar.invalid", path_of(found["loc"]), params={"detail": found["msg"]})
                for found in error.errors(include_url=False)
            ]
        ) from error
    problems = list(_contradictions(notices))
    if problems:
        raise CalendarError(problems)
    return notices


def _contradictions(notices: Sequence[Notice]) -> Iterator[Problem]:
    seen: set[tuple[int, str]] = set()
    for index, notice in enumerate(notices):
        where = f"notices[{index}]"
        if (notice.year, notice.issuer) in seen:
            yield Problem("calendar.two_notices", where, params={"year": notice.year, "issuer": notice.issuer})
        seen.add((notice.year, notice.issuer))
        for day in sorted(set(notice.off) & set(notice.worked)):
            yield Problem("calendar.off_and_worked", where, params={"day": day.isoformat()})
        for day in (*notice.off, *notice.worked):
            if day.year != notice.year and (day.year, day.month) != (notice.year - 1, 12):
                yield Problem("calendar.other_year", where, params={"day": day.isoformat(), "year": notice.year})
