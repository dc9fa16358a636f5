"""Working days, office hours and deadlines: mainland China's, with make-up days and the region's own days off. Pure.

Called by: the stages that have a clock (approval, assessment, delivery), the desks that show what is due, dispatch.
Must not: read the clock, know SQL or the web. Everything is a function of its arguments and of a ``WorkCalendar``.

The rule (Art. 17 gives the numbers, ``docs/decisions/0003-working-days.md`` the reasons and worked examples):

* Office hours are half open, [open, close). What arrives outside them is received at the next opening.
* N working days end at the close of business of the N-th working day after the day of receipt.
* The clock can be stopped. A stop moves the deadline by the office time that it covers, to the second: a deadline that
  was a close of business becomes an instant within office hours. A stop outside office hours moves nothing.
* A year nobody has published follows the weekday rule, and every date derived from it says so: ``provisional``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import chinese_calendar
from chinese_calendar.constants import Holiday

from broker.days_off import CalendarError, Notice, read_notices
from broker.errors import Problem

PACKAGED_NOTICES = Path(__file__).parent / "region" / "data" / "holidays.yaml"
MAX_WORKDAYS = 1000
"""A term longer than this (four years) is a mistake of the caller."""

_ONE_DAY = timedelta(days=1)
_STATE_NAMES = {holiday.value: holiday.chinese for holiday in Holiday}


class Reason(StrEnum):
    """Why a day is or is not worked."""

    WEEKDAY = "weekday"
    WEEKEND = "weekend"
    HOLIDAY = "holiday"
    """Off by the State Council's notice."""
    REGIONAL_HOLIDAY = "regional_holiday"
    """Off by the region's own notice."""
    MADE_UP = "made_up"
    """A Saturday or Sunday that is worked (调休)."""


@dataclass(frozen=True, slots=True)
class DayKind:
    """Whether a day is worked, whether that may still change, and why. ``name`` and ``source`` are for people."""

    working: bool
    provisional: bool
    reason: Reason
    name: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a term ends (UTC). ``provisional``: it passes over a day that no notice has settled yet."""

    at: datetime
    provisional: bool


Stop = tuple[datetime, datetime | None]
"""While a clock stood still, [from, to); ``None``: it still does."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of one step of one request: when it was received, how long it may take, when it stood still."""

    received_at: datetime
    workdays: int
    stops: tuple[Stop, ...] = ()

    @property
    def standing(self) -> bool:
        """Whether it stands still now (its last stop has no end)."""
        return bool(self.stops) and self.stops[-1][1] is None

    def stopped(self, at: datetime) -> Clock:
        """The same clock, stopped at an instant. Raises ValueError if it stands already or ran later than that."""
        if self.standing:
            raise ValueError("the clock stands already")
        if at < (self.stops[-1][1] if self.stops and self.stops[-1][1] else self.received_at):
            raise ValueError("a clock cannot be stopped in its past")
        return replace(self, stops=(*self.stops, (_aware(at), None)))

    def resumed(self, at: datetime) -> Clock:
        """The same clock, running again. Raises ValueError if it runs already or was stopped later than that."""
        if not self.standing:
            raise ValueError("the clock runs already")
        began = self.stops[-1][0]
        if at < began:
            raise ValueError("a clock cannot run again before it was stopped")
        return replace(self, stops=(*self.stops[:-1], (began, _aware(at))))


@dataclass(frozen=True, slots=True)
class WorkCalendar:
    """Which days are worked and between which hours. ``version`` changes whenever an answer could.

    A caller that stores a deadline stores the version beside it, and recomputes when the version is another one.
    """

    opens: time
    closes: time
    zone: ZoneInfo
    exceptions: Mapping[date, DayKind]
    """Days that are not what their weekday says, or whose name is worth knowing."""
    published: frozenset[int]
    """Years whose national notice is known."""
    version: str = field(default="", compare=False)

    def is_workday(self, day: date) -> DayKind:
        """What kind of day it is. Any date has an answer."""
        known = self.exceptions.get(day)
        if known is not None:
            return known
        if day.weekday() < 5:
            return DayKind(working=True, provisional=self._unsettled(day), reason=Reason.WEEKDAY)
        return DayKind(working=False, provisional=self._unsettled(day), reason=Reason.WEEKEND)

    def received_on(self, received_at: datetime) -> date:
        """The working day on which something counts as received."""
        local = _aware(received_at).astimezone(self.zone)
        day = local.date()
        if self.is_workday(day).working and local < self._closing(day):
            return day
        return self._next_workday(day)

    def deadline(self, received_at: datetime, workdays: int) -> Deadline:
        """The end of a term of ``workdays`` (0: the close of the day of receipt).

        Raises ValueError for a naive time or a term outside 0..1000.
        """
        due = self._due_day(received_at, workdays)
        at = self._closing(due).astimezone(UTC)
        return Deadline(at, self._provisional_between(received_at, at))

    def deadline_with_stops(self, received_at: datetime, workdays: int, stops: Sequence[Stop]) -> Deadline | None:
        """The end of a term whose clock stood still during ``stops``. ``None`` while it still does.

        Stops may overlap and come in any order; what lies before the receipt does not count. A term that had run out
        before the open stop began keeps its deadline. Raises ValueError as ``deadline`` does, and for a stop that ends
        before it begins.
        """
        cursor = _aware(received_at).astimezone(UTC)
        remaining = self._office_time(cursor, self.deadline(cursor, workdays).at)
        for began, ended in _merged(stops):
            ran = self._office_time(cursor, began)
            if ran >= remaining:
                break
            if ended is None:
                return None
            remaining -= ran
            cursor = max(cursor, ended)
        at = self._after(cursor, remaining)
        return Deadline(at, self._provisional_between(received_at, at))

    def due(self, clock: Clock) -> Deadline | None:
        """The end of a clock's term; ``None`` while it stands still."""
        return self.deadline_with_stops(clock.received_at, clock.workdays, clock.stops)

    def working_seconds_between(self, start: datetime, end: datetime) -> int:
        """Office time in [start, end), whole seconds; 0 when ``end`` is not later."""
        return int(self._office_time(_aware(start), _aware(end)).total_seconds())

    def workdays_late(self, deadline: datetime, now: datetime) -> int:
        """Working days late, a begun one counting as whole; 0 until office time has passed since the deadline."""
        seconds = self.working_seconds_between(deadline, now)
        return -(-seconds // self.day_seconds)

    @property
    def day_seconds(self) -> int:
        """Office time of one working day, in seconds."""
        whole = datetime.combine(date.min, self.closes) - datetime.combine(date.min, self.opens)
        return int(whole.total_seconds())

    def settled_by(self, day: date) -> int:
        """The year whose notice settles a day: its own; once that is known, next year's for the end of December."""
        return day.year + (day.year in self.published and day.month == 12 and day.day >= 26)

    def _unsettled(self, day: date) -> bool:
        """Whether a notice may still turn this day."""
        return self.settled_by(day) not in self.published

    def _next_workday(self, day: date) -> date:
        # Ends: a thousand days hold a working day unless the file gives three years off in a row.
        for ahead in range(1, 1000):
            later = day + ahead * _ONE_DAY
            if self.is_workday(later).working:
                return later
        raise ValueError(f"no working day in the three years after {day}")

    def _due_day(self, received_at: datetime, workdays: int) -> date:
        if not 0 <= workdays <= MAX_WORKDAYS:
            raise ValueError(f"a term is 0 to {MAX_WORKDAYS} working days, not {workdays}")
        day = self.received_on(received_at)
        for _ in range(workdays):
            day = self._next_workday(day)
        return day

    def _opening(self, day: date) -> datetime:
        return datetime.combine(day, self.opens, self.zone)

    def _closing(self, day: date) -> datetime:
        return datetime.combine(day, self.closes, self.zone)

    def _hours_from(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Office hours (UTC) of each working day from the local day of ``start`` on, without end."""
        day = start.astimezone(self.zone).date() - _ONE_DAY
        while True:
            day = self._next_workday(day)
            yield self._opening(day).astimezone(UTC), self._closing(day).astimezone(UTC)

    def _office_time(self, start: datetime, end: datetime) -> timedelta:
        total = timedelta()
        if end <= start:
            return total
        for opening, closing in self._hours_from(start):
            if opening >= end:
                break
            total += max(timedelta(), min(closing, end) - max(opening, start))
        return total

    def _after(self, start: datetime, office_time: timedelta) -> datetime:
        """The first instant by which that much office time (more than none) has passed since ``start``."""
        for opening, closing in self._hours_from(start):
            begins = max(opening, start)
            if begins + office_time <= closing:
                return begins + office_time
            office_time -= max(timedelta(), closing - begins)
        raise AssertionError("office hours never end")

    def _provisional_between(self, start: datetime, end: datetime) -> bool:
        day, last = start.astimezone(self.zone).date(), end.astimezone(self.zone).date()
        while day <= last:
            if self.is_workday(day).provisional:
                return True
            day += _ONE_DAY
        return False


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("a time without a zone is no instant")
    if not 1900 <= instant.year <= 9000:
        # Far from the ends of what Python can count, so that no sum below can run over them.
        raise ValueError(f"the year {instant.year} is outside 1900 to 9000")
    return instant


def _merged(stops: Sequence[Stop]) -> list[Stop]:
    """The stops in order, overlapping ones joined, in UTC. Raises ValueError for one that ends before it begins."""
    merged: list[Stop] = []
    for began, ended in sorted(stops, key=lambda stop: _aware(stop[0])):
        if ended is not None and _aware(ended) < began:
            raise ValueError("a stop cannot end before it begins")
        if merged and ((last := merged[-1][1]) is None or began <= last):
            latest = None if last is None or ended is None else max(last, ended)
            merged[-1] = (merged[-1][0], latest)
        else:
            merged.append((began.astimezone(UTC), ended))
    return [(began, ended and ended.astimezone(UTC)) for began, ended in merged]


def load_calendar(
    overrides_path: Path | None,
    open: str = "09:00",  # noqa: A002 - the words of the settings (office_open, office_close)
    close: str = "17:30",
    zone: str = "Asia/Shanghai",
) -> WorkCalendar:
    """The calendar from `chinesecalendar`, the packaged notices and, over them, the operator's file.

    Raises CalendarError with every problem of the file or of the hours.
    """
    opens, closes, zone_info = _hours(open, close, zone)
    notices = {(n.year, n.issuer): n for n in read_notices(PACKAGED_NOTICES)}
    if overrides_path is not None:
        notices |= {(n.year, n.issuer): n for n in read_notices(overrides_path)}
    in_wheel = frozenset(day.year for day in chinese_calendar.holidays)
    exceptions = _known_to_wheel()
    # The region after the state: where both speak of one day, the region's notice holds.
    for notice in sorted(notices.values(), key=lambda n: (n.issuer == "region", n.year)):
        superseded = notice.issuer == "state" and notice.provisional and notice.year in in_wheel
        if not superseded:
            exceptions |= _days_of(notice)
    published = in_wheel | {n.year for n in notices.values() if n.issuer == "state" and not n.provisional}
    return WorkCalendar(
        opens,
        closes,
        zone_info,
        MappingProxyType(exceptions),
        published,
        _version(opens, closes, zone, exceptions, published),
    )


def _hours(opens: str, closes: str, zone: str) -> tuple[time, time, ZoneInfo]:
    try:
        first, last = time.fromisoformat(opens), time.fromisoformat(closes)
        zone_info = ZoneInfo(zone)
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise CalendarError([Problem("calendar.hours", "open", params={"detail": str(error)})]) from error
    if first >= last or first.tzinfo or last.tzinfo:
        raise CalendarError([Problem("calendar.hours", "open", params={"detail": f"{opens}-{closes}"})])
    return first, last, zone_info


def _known_to_wheel() -> dict[date, DayKind]:
    """The State Council's notices as `chinesecalendar` has them, days off and days made up."""
    source = f"chinesecalendar {chinese_calendar.__version__}"
    off = {
        day: DayKind(working=False, provisional=False, reason=Reason.HOLIDAY, name=_STATE_NAMES[name], source=source)
        for day, name in chinese_calendar.holidays.items()
    }
    made_up = {
        day: DayKind(working=True, provisional=False, reason=Reason.MADE_UP, name=_STATE_NAMES[name], source=source)
        for day, name in chinese_calendar.workdays.items()
    }
    return off | made_up


def _days_of(notice: Notice) -> dict[date, DayKind]:
    reason = Reason.HOLIDAY if notice.issuer == "state" else Reason.REGIONAL_HOLIDAY
    off = DayKind(working=False, provisional=notice.provisional, reason=reason, name=notice.name, source=notice.source)
    worked = replace(off, working=True, reason=Reason.MADE_UP)
    return dict.fromkeys(notice.off, off) | dict.fromkeys(notice.worked, worked)


def _version(
    opens: time, closes: time, zone: str, exceptions: Mapping[date, DayKind], published: frozenset[int]
) -> str:
    """A short hash of everything an answer depends on."""
    digest = hashlib.sha256(f"{opens} {closes} {zone} {sorted(published)}".encode())
    for day, kind in sorted(exceptions.items(), key=lambda entry: entry[0]):
        digest.update(f"\n{day} {kind.working} {kind.provisional} {kind.reason} {kind.name} {kind.source}".encode())
    return digest.hexdigest()[:16]
