"""Two at once: closes, budgets, and usage that is written while a month is being closed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from broker.chargeback import bill, budgets, closing
from broker.chargeback.models import MonthClose
from broker.chargeback.verify import verify
from broker.errors import Conflict
from tests.broker.chargeback.money_worlds import CITY, DEPARTMENT, MAIN, add_thing, store
from tests.broker.chargeback.small_region import HOUR, OCTOBER, START, running, thing, work, world
from tests.broker.chargeback.test_closing import LATER, NOVEMBER


def test_two_who_close_at_once_close_it_once(engine: Engine) -> None:
    """One wins; the others are told that it is closed."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None))))

    def one(_: int) -> str:
        with Session(engine) as session, session.begin():
            try:
                return str(closing.close(work(session), OCTOBER).version)
            except Conflict as refused:
                return refused.code

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(one, range(3))) == ["1", "month.closed", "month.closed"]
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(MonthClose)) == 1


WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")


def test_two_who_set_a_budget_at_once_set_two_versions(engine: Engine) -> None:
    """The second waits for the first, and what he sets holds."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None))))

    def second() -> int:
        with Session(engine) as session, session.begin():
            return budgets.set_budget(work(session), CITY, 2026, 2000).version

    with ThreadPoolExecutor(1) as threads, Session(engine) as session, session.begin():
        assert budgets.set_budget(work(session), CITY, 2026, 1000).version == 1
        answer = threads.submit(second)
        with engine.connect() as watch:
            while not answer.done() and not watch.scalar(WAITING):
                watch.rollback()
        session.commit()
        assert answer.result(60) == 2


def test_usage_written_while_a_month_is_being_closed_is_not_lost(engine: Engine) -> None:
    """The writer does not wait; it leaves a hint, and the next close charges what this one did not see."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None))))
    late = thing(DEPARTMENT, MAIN, running(START, START + HOUR))
    with Session(engine) as session, session.begin():
        assert closing.close(work(session), OCTOBER).lines == 1
        with Session(engine) as other, other.begin():
            add_thing(other, late, number="meanwhile")
    with Session(engine) as session, session.begin():
        closed = closing.close(work(session, now=LATER), NOVEMBER)
        assert (closed.adjustments, verify(session, OCTOBER)) == (1, ())


def test_usage_committed_after_the_month_was_read_waits_for_the_next_close(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hint is there before the close ends, but what it points at was not rated: it must not count as seen."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None))))
    late = thing(DEPARTMENT, MAIN, running(START, START + HOUR))
    fill = bill.fill

    def and_then_somebody_commits(session: Session, *what: Any, **how: Any) -> str:
        snapshot = fill(session, *what, **how)
        with Session(engine) as other, other.begin():
            add_thing(other, late, number="between")
        return snapshot

    with Session(engine) as session, session.begin(), monkeypatch.context() as patched:
        patched.setattr(bill, "fill", and_then_somebody_commits)
        assert closing.close(work(session), OCTOBER).lines == 1
    with Session(engine) as session, session.begin():
        closed = closing.close(work(session, now=LATER), NOVEMBER)
        assert (closed.adjustments, verify(session, OCTOBER)) == (1, ())
