"""The order of a dedicated network's steps and days, against a small model: never skipped, never twice, never back."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from broker.dedicated import rules
from broker.dedicated.entry import read
from broker.dedicated.values import STEPS, Progress, Step
from broker.workdays import load_calendar

TODAY = date(2026, 3, 2)
CALENDAR = load_calendar(None)


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_only_the_four_steps_in_their_order_get_through(wanted: list[Step]) -> None:
    """Whatever is asked for in whatever order: what is done is a beginning of the four, each once."""
    done: dict[Step, date] = {}
    for step in wanted:
        problem = rules.refused(Progress(done), step)
        if problem is None:
            assert list(done) == list(STEPS[: step.position - 1])
            done[step] = TODAY
        else:
            assert (problem.code == "network.step_done") == (step in done)
    assert list(done) == list(STEPS[: len(done)])


@given(
    st.lists(st.integers(-40, 400), min_size=4, max_size=4),
    st.sets(st.sampled_from(STEPS)),
    st.integers(0, 3),
    st.integers(0, 420),
)
def test_late_is_the_next_step_and_only_after_its_day(
    days: list[int], changed: set[Step], done: int, later: int
) -> None:
    """Accepted days never fall back; late at an instant means that the next step's day lies behind it, weekends too."""
    due = {step: TODAY + timedelta(days=days[n]) for n, step in enumerate(STEPS)}
    problems = rules.order_problems(due, changed, TODAY)
    falls = any(due[a] > due[b] for a, b in itertools.pairwise(STEPS))
    past = any(due[step] < TODAY for step in changed)
    assert bool(problems) == (falls or past)
    how = Progress(dict.fromkeys(STEPS[:done], TODAY), due)
    now = datetime(2026, 3, 2, 4, tzinfo=UTC) + timedelta(days=later)
    late = rules.late(CALENDAR, how, now)
    if late is not None:
        assert late is STEPS[done]
        assert due[late] < now.date()
    else:
        # At most the eight days of a long holiday are between a day and the close of the next working day.
        assert now.date() <= due[STEPS[done]] + timedelta(days=10)
    assert rules.late(CALENDAR, Progress(dict.fromkeys(STEPS, TODAY), due), now) is None


@given(st.dictionaries(st.sampled_from(["code", "unit", "level", "classified", "links", "yearly_cost_fen"]), st.text()))
def test_any_text_is_read_or_told(texts: dict[str, str]) -> None:
    """A file's cells are an entry or a list of mistakes, never an error of ours."""
    entry, problems = read(texts)
    assert (entry is None) == bool(problems)
