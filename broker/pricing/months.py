"""Calendar months of Asia/Shanghai as exact spans of time. Pure.

Called by: pricing, chargeback, ``guiyun rate``. Must not: know prices, or read the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")

_TEXT = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_FIRST_YEAR, _LAST_YEAR = 2000, 2999


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in Asia/Shanghai: [start, end), both in UTC."""

    year: int
    number: int

    @staticmethod
    def parse(text: str) -> Month:
        """The month written ``YYYY-MM``. Raises ValueError for anything else."""
        match = _TEXT.fullmatch(text)
        if match is None or not _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR:
            raise ValueError(text)
        return Month(int(match[1]), int(match[2]))

    @staticmethod
    def of(instant: datetime) -> Month:
        """The month that holds an aware instant."""
        local = instant.astimezone(ZONE)
        return Month(local.year, local.month)

    @property
    def next(self) -> Month:
        return Month(self.year + 1, 1) if self.number == 12 else Month(self.year, self.number + 1)

    @property
    def previous(self) -> Month:
        return Month(self.year - 1, 12) if self.number == 1 else Month(self.year, self.number - 1)

    @property
    def first_day(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=ZONE).astimezone(UTC)

    @property
    def end(self) -> datetime:
        return self.next.start

    @property
    def seconds(self) -> int:
        """The month's length in seconds: what a price per month is divided by."""
        return (self.end - self.start) // timedelta(seconds=1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"


def months(start: datetime, end: datetime) -> tuple[Month, ...]:
    """The months that have any time in [start, end)."""
    out = []
    month = Month.of(start)
    while month.start < end:
        out.append(month)
        month = month.next
    return tuple(out)
