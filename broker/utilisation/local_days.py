"""Which local day an instant belongs to, as arithmetic on integers.

Called by: ``utilisation.scan``. Must not: guess a fixed offset: Asia/Shanghai had summer time from 1986 to 1991, so the
offsets are read from the time zone database for the very span that is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from broker.errors import Problem
from broker.utilisation.values import Unreadable

EPOCH = date(1970, 1, 1)
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Offset:
    """From ``since_s`` (seconds since 1970, UTC) on, local time is UTC plus ``offset_s``."""

    since_s: int
    offset_s: int


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises Invalid ``timezone.unknown``."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Unreadable([Problem("timezone.unknown", "timezone", params={"name": name[:80]})]) from error


def offsets(zone: ZoneInfo, first: datetime, last: datetime) -> tuple[Offset, ...]:
    """The offsets that hold from ``first`` to ``last`` (UTC); one when the zone keeps its clock still meanwhile.

    No zone changes its clock twice within six hours.
    """
    at, end = int(first.timestamp()), int(last.timestamp())
    found = [Offset(at, _offset_s(zone, at))]
    while at < end:
        step = min(at + 6 * 3600, end)
        offset_s = _offset_s(zone, step)
        if offset_s != found[-1].offset_s:
            found.append(Offset(_change(zone, at, step), offset_s))
        at = step
    return tuple(found)


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    new = _offset_s(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _offset_s(zone, middle) == new else (middle, after)
    return after


def _offset_s(zone: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def day_number_sql(instant_us: str, known: Sequence[Offset]) -> str:
    """SQL for the number of the local day since 1970-01-01, from an expression for microseconds since 1970 (UTC)."""
    shift = str(known[0].offset_s * 1_000_000)
    if len(known) > 1:
        cases = " ".join(
            f"WHEN {instant_us} >= {each.since_s * 1_000_000} THEN {each.offset_s * 1_000_000}"
            for each in reversed(known[1:])
        )
        shift = f"CASE {cases} ELSE {shift} END"
    # 2**10 divides the microseconds of a day: a shift first makes the division cheaper, and changes nothing.
    return f"CAST((({instant_us} + {shift}) >> 10) // {DAY_S * 1_000_000 >> 10} AS INTEGER)"


def day_number(instant: datetime, zone: ZoneInfo) -> int:
    """The number of the local day since 1970-01-01."""
    return (instant.astimezone(zone).date() - EPOCH).days


def day_starts(number: int, zone: ZoneInfo) -> datetime:
    """The first instant of a local day, in UTC."""
    day = day_of(number)
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


@lru_cache(4096)
def day_of(number: int) -> date:
    """The day with this number."""
    return EPOCH + timedelta(days=number)
