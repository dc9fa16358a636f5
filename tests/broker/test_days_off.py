"""The operator's file of days off and days made up (``broker.days_off``)."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from broker.days_off import CalendarError
from broker.workdays import Reason, WorkCalendar, load_calendar

SHANGHAI = ZoneInfo("Asia/Shanghai")
CALENDAR = load_calendar(None)


def at(text: str) -> datetime:
    """An instant by Shanghai's clock, given without a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def written(folder: Path, text: str) -> Path:
    path = folder / "holidays.yaml"
    path.write_text(text, encoding="utf-8")
    return path


PUBLISHED_2027 = """
notices:
  - year: 2027
    issuer: state
    name: 国务院通知
    source: made up for this test
    off: [2027-01-01, 2027-02-05, 2027-02-08, 2027-02-09]
    worked: [2026-12-27, 2027-02-13]
"""

PROVISIONAL_SATURDAY = """
notices:
  - year: 2026
    issuer: region
    name: 调休
    source: made up for this test
    provisional: true
    worked: [2026-08-08]
"""


def test_a_published_year_settles_its_days_and_last_december(tmp_path: Path) -> None:
    """The operator lays the notice over the computed days; what followed the weekday rule is final then."""
    calendar = load_calendar(written(tmp_path, PUBLISHED_2027))
    assert not calendar.is_workday(date(2027, 3, 1)).provisional
    assert calendar.is_workday(date(2027, 2, 13)).working
    assert calendar.is_workday(date(2026, 12, 27)).reason is Reason.MADE_UP
    assert not calendar.is_workday(date(2026, 12, 28)).provisional
    assert calendar.is_workday(date(2027, 4, 5)).working, "the notice replaces the computed holidays as a whole"
    assert calendar.is_workday(date(2027, 4, 9)).provisional, "the region's own notice is still to come"
    assert calendar.deadline(at("2026-12-25 10:00:00"), 1).at == at("2026-12-27 17:30:00")
    assert CALENDAR.deadline(at("2026-12-25 10:00:00"), 1).at == at("2026-12-28 17:30:00")


def test_a_deadline_on_a_day_that_is_not_settled_is_provisional(tmp_path: Path) -> None:
    """The day of the deadline itself counts, though every day before it is final."""
    calendar = load_calendar(written(tmp_path, PROVISIONAL_SATURDAY))
    found = calendar.deadline(at("2026-08-07 10:00:00"), 1)
    assert (found.at, found.provisional) == (at("2026-08-08 17:30:00"), True)
    assert not calendar.deadline(at("2026-08-06 10:00:00"), 1).provisional


def test_the_version_changes_when_an_answer_could(tmp_path: Path) -> None:
    """Callers recompute what they stored under another version."""
    versions = {
        load_calendar(None).version,
        load_calendar(None, open="08:30").version,
        load_calendar(None, close="18:00").version,
        load_calendar(None, zone="Asia/Urumqi").version,
        load_calendar(written(tmp_path, PUBLISHED_2027)).version,
    }
    assert len(versions) == 5
    assert load_calendar(None).version == CALENDAR.version
    assert load_calendar(written(tmp_path, "notices: []\n")).version == CALENDAR.version


TWICE_AND_BOTH = """
notices:
  - {year: 2027, issuer: state, name: a, source: b, off: [2027-01-01], worked: [2027-01-01]}
  - {year: 2027, issuer: state, name: a, source: b}
"""


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("notices: [", {"yaml.broken"}),
        ("notices: []\nnotices: []\n", {"yaml.duplicate_key"}),
        ("a: &x [1]\nb: *x\n", {"yaml.alias"}),
        ("- 1\n", {"calendar.invalid"}),
        ("notices:\n - {year: 2027, issuer: state, name: a, source: b, off: [2027-02-30]}\n", {"yaml.broken"}),
        ("notices:\n - {year: '2027', issuer: city, name: a, source: b, more: 1}\n", {"calendar.invalid"}),
        ("notices:\n - {year: 2027, issuer: state, name: a, source: b, off: [2025-01-01]}\n", {"calendar.other_year"}),
        (
            TWICE_AND_BOTH,
            {"calendar.off_and_worked", "calendar.two_notices"},
        ),
    ],
)
def test_a_wrong_file_is_refused_with_every_reason(tmp_path: Path, text: str, codes: set[str]) -> None:
    """Broken YAML, duplicate keys, unknown issuers, contradictions: stable codes, all at once."""
    with pytest.raises(CalendarError) as refusal:
        load_calendar(written(tmp_path, text))
    assert {problem.code for problem in refusal.value.problems} == codes


def test_a_file_that_is_absent_or_not_utf8_is_refused(tmp_path: Path) -> None:
    """Not a traceback of the system's, but a code."""
    with pytest.raises(CalendarError) as absent:
        load_calendar(tmp_path / "nowhere.yaml")
    assert absent.value.problems[0].code == "yaml.unreadable"
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"notices: \xff")
    with pytest.raises(CalendarError) as garbled:
        load_calendar(path)
    assert garbled.value.problems[0].code == "yaml.not_utf8"


@pytest.mark.parametrize(("opens", "closes"), [("17:30", "09:00"), ("09:00", "09:00"), ("nine", "17:30")])
def test_office_hours_that_are_none_are_refused(opens: str, closes: str) -> None:
    """An office opens before it closes."""
    with pytest.raises(CalendarError) as refusal:
        load_calendar(None, open=opens, close=closes)
    assert refusal.value.problems[0].code == "calendar.hours"


def test_a_calendar_value_is_frozen() -> None:
    """One calendar is shared by every thread."""
    assert isinstance(CALENDAR, WorkCalendar)
    with pytest.raises(AttributeError):
        CALENDAR.version = "other"  # type: ignore[misc]  # the very thing under test
    with pytest.raises(TypeError):
        CALENDAR.exceptions[date(2026, 1, 1)] = CALENDAR.is_workday(date(2026, 3, 2))  # type: ignore[index]  # likewise
