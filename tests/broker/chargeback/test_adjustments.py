"""Finance puts a closed line right by itself: what two decided is posted once, and undone by another one only."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from broker.chargeback import adjustments, closing
from broker.chargeback.models import AdjustmentProposal, Charge, LedgerEntry
from broker.chargeback.verify import verify
from broker.errors import Forbidden, Invalid
from broker.lifecycle import Role
from broker.pricing.months import Month
from broker.tenancy.values import Actor
from tests.broker.chargeback.billed import person
from tests.broker.chargeback.money_worlds import CITY, MAIN, REGION, store
from tests.broker.chargeback.small_region import END, NOW, OCTOBER, START, running, thing, work, world

NOVEMBER, DECEMBER = Month(2026, 11), Month(2026, 12)
LATER, LATEST = NOW + timedelta(days=31), NOW + timedelta(days=62)


@pytest.fixture
def two(session: Session) -> tuple[Actor, Actor]:
    """A closed October with one line, and two people of the region's finance."""
    store(session, world(thing(CITY, MAIN, running(START, END))))
    closing.close(work(session), OCTOBER)
    return person(session, Role.FINANCE, REGION), person(session, Role.FINANCE, REGION)


def decide(session: Session, two: tuple[Actor, Actor], fen: int, charge_id: int) -> None:
    made = adjustments.propose(work(session, two[0]), charge_id, fen, "price of another cloud")
    adjustments.confirm(work(session, two[1]), made)


def test_what_two_decided_is_an_entry_of_the_open_month_and_another_undoes_it(
    session: Session, two: tuple[Actor, Actor]
) -> None:
    """October stays; November owes 1,234 fen less, December 1,234 more; the books balance and recount."""
    line = session.scalars(select(Charge)).one()
    decide(session, two, -1234, line.id)
    assert closing.close(work(session, now=LATER), NOVEMBER).total_fen == -1234
    [row] = adjustments.listing(work(session, two[0]))
    assert (row.state, row.posted_month, row.line_fen) == ("confirmed", NOVEMBER.first_day, line.amount_fen)
    with pytest.raises(Invalid):
        decide(session, two, -(line.amount_fen - 1234) - 1, line.id)
    decide(session, two, 1234, line.id)
    assert closing.close(work(session, now=LATEST), DECEMBER).total_fen == 1234
    owed = select(LedgerEntry.amount_fen).where(LedgerEntry.account == "payer").order_by(LedgerEntry.id)
    assert list(session.scalars(owed)) == [line.amount_fen, -1234, 1234]
    assert verify(session, OCTOBER) == verify(session, NOVEMBER) == verify(session, DECEMBER) == ()


def test_a_decision_that_its_own_month_s_next_close_posts_says_so(session: Session, two: tuple[Actor, Actor]) -> None:
    """October is opened again before the decision was posted; its second close posts it, and the list names October."""
    decide(session, two, -1234, session.scalars(select(Charge.id)).one())
    closing.ask_to_reopen(work(session, two[0]), OCTOBER, "x")
    closing.agree_to_reopen(work(session, two[1]), OCTOBER)
    assert [row.posted_month for row in adjustments.listing(work(session, two[0]))] == [None]
    assert closing.close(work(session), OCTOBER).adjustments == 1
    assert [row.posted_month for row in adjustments.listing(work(session, two[0]))] == [OCTOBER.first_day]


def test_nobody_confirms_his_own_and_the_database_says_so_too(session: Session, two: tuple[Actor, Actor]) -> None:
    """Also for whoever writes past the service: not by one person, not another amount, not decided twice."""
    line = session.scalars(select(Charge)).one()
    made = adjustments.propose(work(session, two[0]), line.id, -5, "price")
    with pytest.raises(Forbidden) as refused:
        adjustments.confirm(work(session, two[0]), made)
    assert refused.value.code == "adjustment.same_person"
    for change in (
        "amount_fen = -6",
        "decision = 'confirmed', decided_by = proposed_by, decided_at = now()",
        "decision = 'confirmed', decided_by = NULL, decided_at = now()",
    ):
        with pytest.raises(DBAPIError), session.begin_nested():
            session.execute(text(f"UPDATE broker.adjustment_proposal SET {change} WHERE id = :id"), {"id": made})
    adjustments.drop(work(session, two[0]), made, "mine was wrong")
    with pytest.raises(DBAPIError), session.begin_nested():
        session.execute(text("UPDATE broker.adjustment_proposal SET decision = NULL WHERE id = :id"), {"id": made})
    session.expire_all()
    assert session.get_one(AdjustmentProposal, made).decision == "dropped"
