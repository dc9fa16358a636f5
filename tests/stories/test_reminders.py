"""Late steps are visible to everyone concerned, before and after they are late (Art. 17)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import text

from broker.reclamation import dates as case_dates
from broker.reclamation import unpublished
from broker.region import calendars
from broker.request import clocks
from broker.workdays import load_calendar
from broker.workflows import reminders
from tests.stories import road
from tests.stories.world import World


def remind(world: World) -> int:
    """What dispatch does every twenty seconds."""
    with world.app.works.begin() as work:
        return reminders.remind(work)


def told(world: World, code: str) -> set[str]:
    rows = world.rows(
        "SELECT coalesce(n.role, 'account') AS audience FROM broker.notice n WHERE n.code = :code", code=code
    )
    return {row.audience for row in rows}


def test_the_authority_is_reminded_before_and_everyone_concerned_after_the_deadline(world: World) -> None:
    """Submitted on Monday 09:30: due on Tuesday 17:30, reminded of from 13:30 on, late after it; each reminder once."""
    road.submit(world)
    world.clock.forward(days=1, hours=3)  # Tuesday 12:30
    assert remind(world) == 0
    world.clock.forward(hours=2)  # Tuesday 14:30
    assert remind(world) == 1
    assert remind(world) == 0
    assert told(world, "clock.due_soon") == {"approver"}
    world.clock.forward(hours=4)  # Tuesday 18:30
    assert remind(world) == 3
    assert remind(world) == 0
    assert told(world, "clock.late") == {"approver", "account", "cloud_chief"}


def test_nobody_is_reminded_of_what_was_done_in_time(world: World) -> None:
    """A finished clock is silent; the next stage's has its own three days."""
    request_id = road.submit(world)
    road.approve(world, request_id)
    world.clock.forward(days=2)
    assert remind(world) == 0


def test_a_late_decision_says_so(world: World) -> None:
    """The record keeps that the day had passed."""
    request_id = road.submit(world)
    world.clock.forward(days=2)
    road.approve(world, request_id)
    assert world.scalar("SELECT late FROM broker.approval WHERE request_id = :id", id=request_id)


def test_open_clocks_follow_a_new_calendar(world: World) -> None:
    """Hours or days that turn out otherwise move the deadline of what is still open, once."""
    road.submit(world)
    calendar = load_calendar(None, close="12:00")
    with world.app.works.begin() as work:
        other = replace(work, calendar=calendar)
        assert clocks.recompute_all(other) == 1
    due: datetime = world.scalar("SELECT due_at FROM broker.stage_clock")
    assert due == datetime(2026, 3, 3, 4, 0, tzinfo=UTC)
    assert world.scalar("SELECT due_at FROM broker.service_request") == due
    with world.app.works.begin() as work:
        assert clocks.recompute_all(replace(work, calendar=calendar)) == 0


def test_workers_with_different_days_off_do_not_count_each_others_deadlines_for_ever(world: World) -> None:
    """While two calendars are in use nothing is counted anew, and the operators hear of it once a day."""
    road.submit(world)
    calendar = load_calendar(None, close="12:00")
    for _ in range(2):
        with world.app.works.begin() as work:
            for one in (work, replace(work, calendar=calendar)):
                calendars.note(one)
        world.clock.forward(minutes=3)
    with world.app.works.begin() as work:
        other = replace(work, calendar=calendar)
        for one in (work, other):
            assert clocks.recompute_all(one) == 0
            assert case_dates._follow_calendar(one) == 0
        assert [unpublished.tell(one) for one in (work, other)] == [1, 0]
    world.clock.forward(minutes=11)
    with world.app.works.begin() as work:
        other = replace(work, calendar=calendar)
        calendars.note(other)
        assert (clocks.recompute_all(other), clocks.recompute_all(work)) == (1, 0)
    world.clock.forward(minutes=1)
    with world.app.works.begin() as work:  # started anew with the other file: nobody has to wait
        calendars.note(work)
        assert clocks.recompute_all(work) == 1


def test_a_year_that_nobody_has_published_is_told_before_a_deadline_falls_due_in_it(world: World) -> None:
    """Once a year, to those who deliver for the main cloud; counted on their first page and by the doctor."""
    world.clock.forward(days=365 * 4)
    road.submit(world)
    with world.app.works.begin() as work:
        assert unpublished.waiting(work.session, work.calendar) == {2030: 1}
        assert [unpublished.tell(work) for _ in range(2)] == [1, 0]
    code = "SELECT code FROM broker.notice WHERE dedupe = 'calendar.unpublished/2030'"
    assert world.scalar(code) == "calendar.unpublished"
    with world.app.works.begin() as work:  # its own notice is known: only the next one may turn its last days
        known = replace(work.calendar, published=work.calendar.published | {2030})
        work.session.execute(text("UPDATE broker.stage_clock SET due_at = '2030-12-30T09:30Z' WHERE provisional"))
        assert unpublished.waiting(work.session, known) == {2031: 1}
        work.session.rollback()
