"""Working days, office hours, deadlines and stopped clocks (``broker.workdays``)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import chinese_calendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.workdays import Reason, load_calendar

patient = settings(deadline=None)  # a busy machine is no failure
SHANGHAI = ZoneInfo("Asia/Shanghai")
CALENDAR = load_calendar(None)


def at(text: str) -> datetime:
    """An instant by Shanghai's clock, given without a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def due(received: str, workdays: int, *stops: tuple[str, str | None]) -> str:
    """The deadline by Shanghai's clock."""
    found = CALENDAR.deadline_with_stops(
        at(received), workdays, [(at(began), at(ended) if ended else None) for began, ended in stops]
    )
    assert found is not None
    return found.at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


# ---- which days are worked ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "working", "reason", "name"),
    [
        ("2025-09-27", False, Reason.WEEKEND, ""),
        ("2025-09-28", True, Reason.MADE_UP, "国庆节"),
        ("2025-10-01", False, Reason.HOLIDAY, "国庆节"),
        ("2025-10-06", False, Reason.HOLIDAY, "中秋"),
        ("2025-10-08", False, Reason.HOLIDAY, "国庆节"),
        ("2025-10-09", True, Reason.WEEKDAY, ""),
        ("2025-10-11", True, Reason.MADE_UP, "国庆节"),
        ("2026-02-14", True, Reason.MADE_UP, "春节"),
        ("2026-02-23", False, Reason.HOLIDAY, "春节"),
        ("2026-02-28", True, Reason.MADE_UP, "春节"),
        ("2026-04-16", True, Reason.WEEKDAY, ""),
        ("2026-04-17", False, Reason.REGIONAL_HOLIDAY, "壮族三月三"),
        ("2026-04-20", False, Reason.REGIONAL_HOLIDAY, "壮族三月三"),
        ("2026-04-21", True, Reason.WEEKDAY, ""),
        ("2023-04-23", False, Reason.REGIONAL_HOLIDAY, "壮族三月三"),
    ],
)
def test_a_published_day_is_what_the_notices_say(*, day: str, working: bool, reason: Reason, name: str) -> None:
    """The State Council's holidays and make-up days count; for the same day the region's notice holds."""
    kind = CALENDAR.is_workday(date.fromisoformat(day))
    assert (kind.working, kind.reason, kind.name, kind.provisional) == (working, reason, name, False)


def test_every_day_the_wheel_knows_is_as_it_says_but_for_the_regions_own_days() -> None:
    """2004-2026 equal the State Council's notices, except where Guangxi gives days off of its own."""
    day, differing = date(2004, 1, 1), []
    while day <= date(2026, 12, 31):
        if CALENDAR.is_workday(day).working != chinese_calendar.is_workday(day):
            differing.append(day.isoformat())
        day += timedelta(days=1)
    assert differing == [
        *("2023-04-21", "2023-04-23"),
        *("2024-04-11", "2024-04-12"),
        *("2025-03-31", "2025-04-01"),
        *("2026-04-17", "2026-04-20"),
    ]


@pytest.mark.parametrize(
    ("day", "working"), [("2027-03-01", True), ("2027-03-06", False), ("2027-01-01", False), ("2027-04-09", False)]
)
def test_a_day_of_an_unpublished_year_is_provisional(*, day: str, working: bool) -> None:
    """Weekday rule and computed festivals until the notice comes, and it says so."""
    kind = CALENDAR.is_workday(date.fromisoformat(day))
    assert (kind.working, kind.provisional) == (working, True)


def test_the_last_days_of_december_wait_for_next_years_notice() -> None:
    """New Year's shifts reach back into December (Saturday, 29 December 2018 was worked for 2019)."""
    assert not CALENDAR.is_workday(date(2026, 12, 25)).provisional
    assert CALENDAR.is_workday(date(2026, 12, 28)).provisional
    assert not CALENDAR.is_workday(date(2025, 12, 28)).provisional
    assert CALENDAR.is_workday(date(2018, 12, 29)).working


@patient
@given(st.dates())
def test_any_date_at_all_has_an_answer(day: date) -> None:
    """Never a crash, whatever the year."""
    assert CALENDAR.is_workday(day).working in {True, False}


def test_three_march_days_computed_for_later_years_are_two_working_days_each() -> None:
    """Two days off each year for everybody; computed ones fall on days that would otherwise be worked."""
    for year in range(2027, 2031):
        days = [d for d, k in CALENDAR.exceptions.items() if k.reason is Reason.REGIONAL_HOLIDAY and d.year == year]
        assert len(days) == 2
        assert all(day.weekday() < 5 and CALENDAR.is_workday(day).provisional for day in days)


# ---- deadlines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "workdays", "expected"),
    [
        # Friday 2025-11-14, one working day: the close of Monday; from 17:30:00 on it is Monday's post.
        ("2025-11-14 17:29:59", 1, "2025-11-17 17:30:00"),
        ("2025-11-14 17:30:00", 1, "2025-11-18 17:30:00"),
        ("2025-11-14 08:00:00", 1, "2025-11-17 17:30:00"),
        ("2025-11-14 00:00:00", 0, "2025-11-14 17:30:00"),
        ("2025-11-15 10:00:00", 1, "2025-11-18 17:30:00"),
        ("2025-11-16 23:59:59", 3, "2025-11-20 17:30:00"),
        # National Day and Mid-Autumn 2025: Sunday the 28th and Saturday the 11th are worked, 1-8 October are off.
        ("2025-09-26 10:00:00", 1, "2025-09-28 17:30:00"),
        ("2025-09-26 18:00:00", 1, "2025-09-29 17:30:00"),
        ("2025-09-28 10:00:00", 3, "2025-10-09 17:30:00"),
        ("2025-09-30 17:30:00", 1, "2025-10-10 17:30:00"),
        ("2025-10-05 12:00:00", 3, "2025-10-13 17:30:00"),
        # Spring Festival 2026: 15-23 February off, Saturdays 14 and 28 worked.
        ("2026-02-13 17:29:00", 1, "2026-02-14 17:30:00"),
        ("2026-02-14 09:00:00", 1, "2026-02-24 17:30:00"),
        ("2026-02-14 17:30:00", 3, "2026-02-27 17:30:00"),
        ("2026-02-26 11:00:00", 3, "2026-03-02 17:30:00"),
        # Guangxi's own 三月三 2026: Friday 17 and Monday 20 April off.
        ("2026-04-16 15:00:00", 1, "2026-04-21 17:30:00"),
        ("2026-04-16 17:30:00", 3, "2026-04-24 17:30:00"),
    ],
)
def test_a_term_ends_at_the_close_of_its_last_working_day(received: str, workdays: int, expected: str) -> None:
    """Art. 17: N working days end at the close of the N-th after receipt; what is late in the day is tomorrow's."""
    assert due(received, workdays) == expected
    plain = CALENDAR.deadline(at(received), workdays)
    assert plain.at == at(expected)
    assert plain.at.tzinfo is UTC
    assert not plain.provisional


def test_a_deadline_that_reaches_an_unpublished_year_is_provisional() -> None:
    """Received on the last working days of 2026, due in 2027: computed, marked, and never a crash."""
    found = CALENDAR.deadline(at("2026-12-30 10:00:00"), 3)
    assert found.provisional
    assert found.at == at("2027-01-05 17:30:00")
    assert not CALENDAR.deadline(at("2026-12-21 10:00:00"), 3).provisional


@pytest.mark.parametrize("workdays", [-1, 1001, 10**9])
def test_an_absurd_term_is_refused(workdays: int) -> None:
    """A term is 0 to 1000 working days."""
    with pytest.raises(ValueError, match="working days"):
        CALENDAR.deadline(at("2026-03-02 10:00:00"), workdays)


def test_a_time_without_a_zone_is_refused() -> None:
    """A naive time is no instant."""
    naive = datetime(2026, 3, 2, 10)  # noqa: DTZ001 - the very thing under test
    with pytest.raises(ValueError, match="zone"):
        CALENDAR.deadline(naive, 1)
    with pytest.raises(ValueError, match="zone"):
        CALENDAR.deadline_with_stops(at("2026-03-02 10:00:00"), 1, [(naive, None)])
