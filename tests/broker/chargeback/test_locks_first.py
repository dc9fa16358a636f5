"""What must come first: patience before locks, a line's lock before its standing, usage kept while it is imported."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from broker.chargeback import closing, closing_sql, disputes, drawing
from broker.chargeback.line_now import LineNow, line_now
from broker.chargeback.models import Adjustment, Charge
from broker.errors import Conflict
from broker.metering import usage_import
from broker.metering.models import OneOffItem
from broker.metering.usage_lines import COLUMNS
from tests.broker.chargeback.money_worlds import CITY, MAIN, store
from tests.broker.chargeback.small_region import HOUR, OCTOBER, START, running, thing, work, world
from tests.broker.chargeback.test_closing import NOVEMBER, people
from tests.broker.chargeback.test_disputes import Court
from tests.broker.chargeback.test_disputes import reopen as reopen_october
from tests.broker.chargeback.test_line_now import close, decide, reopen, use_until


@pytest.mark.parametrize("act", [closing.close, closing.issue], ids=["close", "issue"])
def test_patience_comes_before_the_locks(session: Session, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Who waits for another's close waits longer than a page may."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    at_locks: list[str] = []
    run = drawing.run

    def noted(session: Session, statement: str, **values: Any) -> Any:
        if statement in {closing_sql.LOCK, closing_sql.LOCK_STATEMENTS}:
            at_locks.append(session.scalar(text("SHOW statement_timeout")) or "")
        return run(session, statement, **values)

    monkeypatch.setattr(drawing, "run", noted)
    act(work(session), OCTOBER)
    assert set(at_locks) == {"30min"}


def test_a_dispute_is_accepted_of_a_line_that_is_held_first(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened again in the very moment, the month is seen to be open: nothing is decided of a line nobody owes."""
    with Session(engine) as session, session.begin():
        court = Court(session)
        made = court.raised()

    def meanwhile(session: Session, charge_id: int) -> LineNow:
        with Session(engine) as other, other.begin():
            court.session = other
            reopen_october(court)
        return line_now(session, charge_id)

    monkeypatch.setattr(disputes, "line_now", meanwhile)
    with Session(engine) as session, session.begin(), pytest.raises(Conflict) as reopened:
        disputes.accept(work(session, court.region), made, "核实属实", -1)
    assert reopened.value.code == "dispute.reopened"
    with Session(engine) as session:
        assert session.scalars(select(Adjustment)).all() == []


def test_a_decision_that_waits_on_a_reopened_row_counts(session: Session) -> None:
    """It will be charged when the month is closed anew, so that nobody takes the same off again meanwhile."""
    mine = thing(CITY, MAIN, running(START, START + 500 * HOUR))
    store(session, world(mine))
    one, two = people(session)
    close(session, OCTOBER)
    use_until(session, mine.id, 400 * 3600)
    close(session, NOVEMBER)
    first, late = session.scalars(select(Charge.id).order_by(Charge.id)).all()
    decide(session, late, -14000, one)
    reopen(session, NOVEMBER, one, two)
    assert line_now(session, first) == LineNow(14400, -14000)
    close(session, NOVEMBER)
    assert line_now(session, first) == LineNow(14400, -14000)


def test_an_item_taken_back_does_not_say_where_the_books_begin(session: Session) -> None:
    """Quantity zero is nothing, and no month."""
    mine = thing(CITY, MAIN, running(START, None))
    store(session, world(mine))
    session.add(OneOffItem(resource_id=mine.id, meter="migration", quantity=0, at=OCTOBER.previous.start))
    session.flush()
    close(session, OCTOBER)


def give_back(session: Session, resource_id: UUID) -> None:
    """As releasing it begins; whoever holds it is not waited for."""
    session.execute(text("SET LOCAL lock_timeout = '1ms'"))
    session.execute(text("UPDATE broker.resource SET state = 'released' WHERE id = :id"), {"id": resource_id})


@pytest.mark.parametrize("hold", [True, False], ids=["applied", "looked at"])
def test_a_resource_is_not_given_back_while_usage_of_it_is_imported(engine: Engine, *, hold: bool) -> None:
    """Its usage would outlive it; only looking at a file keeps nobody waiting."""
    mine = thing(CITY, MAIN, running(START, None))
    with Session(engine) as session, session.begin():
        store(session, world(mine))
    file = f"resource,meter,quantity,start_at\n{mine.id},gpu,1,{(START + HOUR).isoformat()}\n".encode()
    headings = {name: name for name in COLUMNS["records"]}
    with Session(engine) as importing, importing.begin(), Session(engine) as other, other.begin():
        usage_import.look(work(importing), "records", file, headings, hold=hold)
        if not hold:
            give_back(other, mine.id)
            return
        with pytest.raises(OperationalError) as waited:
            give_back(other, mine.id)
        assert isinstance(waited.value.orig, LockNotAvailable)
