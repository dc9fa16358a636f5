"""The clock that can be stopped, lateness, and what holds for every deadline (``broker.workdays``)."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from broker.workdays import Clock, Stop, load_calendar

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


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        ([], "2026-03-03 17:30:00"),
        # two hours of office time with the applicant: two hours later
        ([("2026-03-03 10:00:00", "2026-03-03 12:00:00")], "2026-03-04 11:00:00"),
        # a second is a second
        ([("2026-03-03 10:00:00", "2026-03-03 10:00:01")], "2026-03-04 09:00:01"),
        # back within the night: nothing was lost, nothing is added
        ([("2026-03-02 17:30:00", "2026-03-03 09:00:00")], "2026-03-03 17:30:00"),
        # a whole office day
        ([("2026-03-03 08:00:00", "2026-03-03 20:00:00")], "2026-03-04 17:30:00"),
        # over a weekend: one hour of Friday, none of Saturday and Sunday, half an hour of Monday
        (
            [
                ("2026-03-03 10:00:00", "2026-03-06 16:30:00"),
                ("2026-03-06 16:30:00", "2026-03-09 09:30:00"),
            ],
            "2026-03-09 17:00:00",
        ),
        # overlapping stops count once
        (
            [
                ("2026-03-03 10:00:00", "2026-03-03 12:00:00"),
                ("2026-03-03 11:00:00", "2026-03-03 12:00:00"),
            ],
            "2026-03-04 11:00:00",
        ),
        # before the receipt: not this clock's, and of one that reaches over it only what comes after
        ([("2026-02-27 09:00:00", "2026-03-02 09:30:00")], "2026-03-03 17:30:00"),
        ([("2026-02-27 09:00:00", "2026-03-02 11:00:00")], "2026-03-04 10:00:00"),
        # after the term had run out: too late to help
        ([("2026-03-03 17:30:00", None)], "2026-03-03 17:30:00"),
    ],
)
def test_a_stop_moves_the_deadline_by_the_office_time_it_covers(
    stops: list[tuple[str, str | None]], expected: str
) -> None:
    """The clock stands still, by instants, while the request is with the applicant."""
    assert due("2026-03-02 10:00:00", 1, *stops) == expected


def test_while_the_clock_stands_there_is_no_deadline() -> None:
    """An open stop leaves the end unknown."""
    clock = Clock(at("2026-03-02 10:00:00"), 1).stopped(at("2026-03-03 10:00:00"))
    assert clock.standing
    assert CALENDAR.due(clock) is None
    running = clock.resumed(at("2026-03-03 12:00:00"))
    assert not running.standing
    found = CALENDAR.due(running)
    assert found is not None
    assert found.at == at("2026-03-04 11:00:00")


def test_a_clock_stops_and_runs_in_turn_only() -> None:
    """A clock that stands cannot be stopped, one that runs cannot be resumed, and neither in its past."""
    clock = Clock(at("2026-03-02 10:00:00"), 1)
    with pytest.raises(ValueError, match="runs already"):
        clock.resumed(at("2026-03-02 11:00:00"))
    with pytest.raises(ValueError, match="past"):
        clock.stopped(at("2026-03-02 09:59:59"))
    standing = clock.stopped(at("2026-03-02 11:00:00"))
    with pytest.raises(ValueError, match="stands already"):
        standing.stopped(at("2026-03-02 12:00:00"))
    with pytest.raises(ValueError, match="before it was stopped"):
        standing.resumed(at("2026-03-02 10:59:59"))
    with pytest.raises(ValueError, match="past"):
        standing.resumed(at("2026-03-02 12:00:00")).stopped(at("2026-03-02 11:59:59"))


def test_a_stop_that_ends_before_it_begins_is_refused() -> None:
    """Bad input is an error, not a deadline."""
    with pytest.raises(ValueError, match="before it begins"):
        due("2026-03-02 10:00:00", 1, ("2026-03-03 10:00:00", "2026-03-03 09:00:00"))


@pytest.mark.parametrize(
    ("now", "late"),
    [
        ("2026-03-06 17:30:00", 0),
        ("2026-03-08 12:00:00", 0),
        ("2026-03-09 09:00:00", 0),
        ("2026-03-09 09:00:01", 1),
        ("2026-03-09 17:30:00", 1),
        ("2026-03-10 09:00:01", 2),
        ("2026-03-01 00:00:00", 0),
    ],
)
def test_lateness_counts_begun_working_days(now: str, late: int) -> None:
    """A weekend after a Friday's deadline is not lateness; the first minute of Monday is one day."""
    assert CALENDAR.workdays_late(at("2026-03-06 17:30:00"), at(now)) == late


# ---- properties -----------------------------------------------------------------------------------------------------

instants = st.datetimes(datetime(2024, 1, 1), datetime(2028, 12, 31)).map(lambda d: d.replace(tzinfo=SHANGHAI))  # noqa: DTZ001 - bounds are naive by Hypothesis's rule
terms = st.integers(0, 12)
lengths = st.timedeltas(timedelta(), timedelta(days=20))
Plan = list[tuple[timedelta, timedelta]]
stop_plans = st.lists(st.tuples(lengths, lengths), max_size=4)


def stops_after(received: datetime, plan: Plan) -> list[Stop]:
    """Stops one after the other, all after ``received``."""
    stops: list[Stop] = []
    moment = received
    for wait, length in plan:
        stops.append((moment + wait, moment + wait + length))
        moment += wait + length
    return stops


def deadline(received: datetime, workdays: int, stops: list[Stop]) -> datetime:
    found = CALENDAR.deadline_with_stops(received, workdays, stops)
    assert found is not None
    return found.at


@patient
@given(instants, terms, stop_plans)
def test_a_deadline_lies_within_office_hours(received: datetime, workdays: int, plan: Plan) -> None:
    """After an opening, not after the close, on a working day, and after the receipt."""
    found = deadline(received, workdays, stops_after(received, plan))
    local = found.astimezone(SHANGHAI)
    assert CALENDAR.is_workday(local.date()).working
    assert CALENDAR.opens < local.time() <= CALENDAR.closes
    assert found > received


@patient
@given(instants, terms, stop_plans)
def test_stops_add_exactly_the_office_time_they_cover(received: datetime, workdays: int, plan: Plan) -> None:
    """Office time up to the deadline, less the stops', is what the term had without stops."""
    stops = stops_after(received, plan)
    plain = deadline(received, workdays, [])
    stopped = deadline(received, workdays, stops)
    lost = sum(
        (CALENDAR._office_time(began, min(ended or stopped, stopped)) for began, ended in stops), start=timedelta()
    )
    assert CALENDAR._office_time(received, stopped) - lost == CALENDAR._office_time(received, plain)


@patient
@given(instants, terms, stop_plans, st.timedeltas(timedelta(), timedelta(days=30)))
def test_a_stop_of_no_length_changes_nothing(received: datetime, workdays: int, plan: Plan, wait: timedelta) -> None:
    """An instant with the applicant costs nobody anything."""
    stops = stops_after(received, plan)
    moment = received + wait
    assert deadline(received, workdays, [*stops, (moment, moment)]) == deadline(received, workdays, stops)


@patient
@given(instants, terms, stop_plans, st.integers(0, 3), lengths)
def test_a_longer_stop_never_makes_the_deadline_earlier(
    received: datetime, workdays: int, plan: Plan, index: int, longer: timedelta
) -> None:
    """Time with the applicant is never taken from the one who must act."""
    assume(index < len(plan))
    stops = stops_after(received, plan)
    began, ended = stops[index]
    assert ended is not None
    lengthened = [*stops[:index], (began, ended + longer), *stops[index + 1 :]]
    assert deadline(received, workdays, lengthened) >= deadline(received, workdays, stops)


@patient
@given(instants, terms, st.integers(0, 40))
def test_a_stop_outside_office_hours_changes_nothing(received: datetime, workdays: int, nights: int) -> None:
    """From a close to the next opening nobody would have worked on it."""
    closing = datetime.combine(received.date() + timedelta(days=nights), CALENDAR.closes, SHANGHAI)
    opening = datetime.combine(closing.date() + timedelta(days=1), CALENDAR.opens, SHANGHAI)
    assert deadline(received, workdays, [(closing, opening)]) == deadline(received, workdays, [])


@patient
@given(instants, terms, stop_plans, lengths)
def test_later_receipt_is_never_due_earlier(received: datetime, workdays: int, plan: Plan, later: timedelta) -> None:
    """Of two requests with the same stops after both, the one received first is due first."""
    stops = stops_after(received + later, plan)
    assert deadline(received, workdays, stops) <= deadline(received + later, workdays, stops)


@patient
@given(instants, st.integers(0, 11), stop_plans)
def test_one_more_working_day_is_always_later(received: datetime, workdays: int, plan: Plan) -> None:
    """A longer term ends later."""
    stops = stops_after(received, plan)
    assert deadline(received, workdays, stops) < deadline(received, workdays + 1, stops)


@patient
@given(instants, lengths, lengths)
def test_office_time_adds_up(start: datetime, first: timedelta, second: timedelta) -> None:
    """Cut anywhere, the parts give the whole."""
    middle, end = start + first, start + first + second
    parts = CALENDAR._office_time(start, middle) + CALENDAR._office_time(middle, end)
    assert parts == CALENDAR._office_time(start, end)
    assert CALENDAR.working_seconds_between(end, start) == 0 or end == start


@patient
@given(instants, terms)
def test_a_deadline_met_to_the_second_is_not_late(received: datetime, workdays: int) -> None:
    """At the deadline: not late. A second into the next office time: one day."""
    found = CALENDAR.deadline(received, workdays).at
    assert CALENDAR.workdays_late(found, found) == 0
    assert CALENDAR.workdays_late(found, CALENDAR._after(found, timedelta(seconds=1))) == 1
