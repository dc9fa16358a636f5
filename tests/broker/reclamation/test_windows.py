"""Objection windows against a brute-force oracle: every office minute of three years, from the notices themselves."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import chinese_calendar
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.days_off import read_notices
from broker.reclamation.rules import window_end
from broker.reclamation.values import Heard
from broker.workdays import PACKAGED_NOTICES, load_calendar

SHANGHAI = ZoneInfo("Asia/Shanghai")
CALENDAR = load_calendar(None)
FIRST, LAST = date(2024, 1, 1), date(2026, 12, 31)
"""All three years are published, nationally and by the region."""


def _worked() -> list[date]:
    """The working days, from the wheel's table of the State Council and over it the region's own days."""
    region = [notice for notice in read_notices(PACKAGED_NOTICES) if notice.issuer == "region"]
    off = {day for notice in region for day in notice.off}
    made_up = {day for notice in region for day in notice.worked}
    days = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
    return [d for d in days if d in made_up or (d not in off and chinese_calendar.is_workday(d))]


WORKED = _worked()
OPENS, CLOSES = (at.hour * 60 + at.minute for at in (CALENDAR.opens, CALENDAR.closes))
MINUTES = [
    int(datetime.combine(day, time.min, SHANGHAI).timestamp()) // 60 + minute
    for day in WORKED
    for minute in range(OPENS, CLOSES)
]
"""Every minute in which somebody is in the office, counted from 1970."""


def oracle(begins: datetime, workdays: int, heard: list[Heard]) -> datetime:
    """Count on fingers: the minutes that the term has, taken one by one, those under an objection left out."""
    start = bisect_left(MINUTES, minute_of(begins))
    received = datetime.fromtimestamp(MINUTES[start] * 60, SHANGHAI).date()
    last = WORKED[WORKED.index(received) + workdays + sum(h.workdays for h in heard)]
    closes = int(datetime.combine(last, CALENDAR.closes, SHANGHAI).timestamp()) // 60
    left = bisect_left(MINUTES, closes) - start
    at = start
    while left:
        minute = MINUTES[at]
        standing = any(minute_of(h.raised_at) <= minute < minute_of(h.answered_at or begins) for h in heard)
        left -= not standing
        at += 1
    ends = [datetime.fromtimestamp((MINUTES[at - 1] + 1) * 60, UTC)]
    for each in heard:  # what an answer gives is whole working days after it
        if each.workdays and each.answered_at:
            day = datetime.fromtimestamp(MINUTES[bisect_left(MINUTES, minute_of(each.answered_at))] * 60, SHANGHAI)
            given_until = WORKED[WORKED.index(day.date()) + each.workdays]
            ends.append(datetime.combine(given_until, CALENDAR.closes, SHANGHAI))
    return max(ends)


def minute_of(at: datetime) -> int:
    return int(at.timestamp()) // 60


AROUND = [date(2024, 4, 11), date(2025, 3, 31), date(2026, 4, 17), date(2024, 10, 1), date(2025, 1, 28),
          date(2026, 2, 15), date(2025, 9, 28), date(2024, 12, 31), date(2025, 12, 31)]  # fmt: skip
"""三月三 of three years, national holidays with their make-up days, the ends of years."""
instants = st.builds(
    lambda day, days, minute: datetime.combine(day, time.min, SHANGHAI) + timedelta(days=days, minutes=minute),
    st.sampled_from(AROUND), st.integers(-12, 4), st.integers(0, 1439),
)  # fmt: skip
hearings = st.lists(
    st.tuples(st.integers(0, 12_000), st.integers(0, 20_000), st.sampled_from([0, 0, 1, 7])), max_size=3
)


Waits = list[tuple[int, int, int]]
"""Minutes until an objection, minutes until its answer, working days that this gives."""


def one_after_the_other(begins: datetime, waits: Waits) -> list[Heard]:
    """Objections with their answers, minutes apart, none while another waits."""
    heard, at = [], begins
    for wait, stands, workdays in waits:
        raised = at + timedelta(minutes=wait)
        at = raised + timedelta(minutes=stands)
        heard.append(Heard(raised, at, workdays))
    return heard


@settings(max_examples=150, deadline=None)
@given(instants, st.sampled_from([0, 1, 5, 10, 15]), hearings)
@example(datetime(2026, 4, 16, 18, 0, tzinfo=SHANGHAI), 5, [])  # after hours, the evening before 三月三
@example(datetime(2026, 2, 13, 9, 0, tzinfo=SHANGHAI), 5, [(60, 4320, 0)])  # a make-up Saturday under an objection
@example(datetime(2025, 12, 31, 17, 59, tzinfo=SHANGHAI), 15, [(0, 1, 7)])
@example(datetime(2024, 4, 8, 9, 0, tzinfo=SHANGHAI), 1, [(12_000, 1, 1)])  # raised when the window was long over
def test_a_window_ends_where_fingers_count_it(
    begins: datetime, workdays: int, waits: list[tuple[int, int, int]]
) -> None:
    """Over 三月三, make-up days and the ends of years, with objections, answers and extensions anywhere."""
    heard = one_after_the_other(begins, waits)
    found = window_end(CALENDAR, begins, workdays, heard)
    assert found is not None
    assert found.at == oracle(begins, workdays, heard)
    assert not found.provisional or found.at.year > 2025, "all of it has been announced, but the last days of 2026"


@settings(max_examples=30, deadline=None)
@given(instants, st.integers(1, 15), st.integers(0, 600))
def test_while_an_objection_waits_there_is_no_end(begins: datetime, workdays: int, wait: int) -> None:
    """Nothing falls due before it is answered, however long that takes."""
    raised = begins + timedelta(minutes=wait)
    if CALENDAR.deadline(begins, workdays).at > raised:
        assert window_end(CALENDAR, begins, workdays, [Heard(raised, None)]) is None
