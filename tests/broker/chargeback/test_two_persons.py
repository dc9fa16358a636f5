"""Two people stand behind what moves the books; two accounts of one person are one (ours)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from broker.chargeback import adjustments, beginning, closing, disputes
from broker.chargeback.models import Charge, Statement
from broker.db.base import new_id
from broker.errors import Forbidden
from broker.lifecycle import Role
from broker.tenancy.models import Account, Person
from broker.tenancy.values import Actor
from tests.broker.chargeback.billed import person
from tests.broker.chargeback.money_worlds import CITY, MAIN, REGION, store
from tests.broker.chargeback.small_region import END, OCTOBER, START, running, thing, work, world
from tests.broker.chargeback.test_closing import refused_by


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(Forbidden) as error:
        act()
    return error.value.code


def of_one_person(session: Session, *actors: Actor) -> None:
    somebody = Person(id=new_id(), name="韦某")
    session.add(somebody)
    session.flush()
    mine = update(Account).where(Account.id.in_([actor.account_id for actor in actors]))
    session.execute(mine.values(person_id=somebody.id))


_AGREED = "UPDATE broker.{} SET decision = '{}', {} = :other, {} = now()"


def test_one_person_with_two_accounts_is_not_two_people(session: Session) -> None:
    """Neither begins the books, adjusts a line, opens a month again nor answers himself; the database says so too."""
    store(session, world(thing(CITY, MAIN, running(START, END))))
    here, there, citys = (person(session, Role.FINANCE, unit) for unit in (REGION, REGION, CITY))
    of_one_person(session, here, there, citys)
    one, other, objector = (work(session, actor) for actor in (here, there, citys))

    def written_past_the_service(statement: str) -> str | None:
        found = refused_by(session, statement, other=there.account_id)
        session.expire_all()
        return found

    beginning.ask(one, OCTOBER, "试运行")
    assert refused(lambda: beginning.agree(other, OCTOBER)) == "beginning.same_person"
    agreed = _AGREED.format("books_proposal", "agreed", "decided_by", "decided_at")
    assert written_past_the_service(agreed) == "two_persons"
    beginning.drop(other, OCTOBER)

    closing.close(work(session), OCTOBER)
    charge_id, statement_id = session.execute(
        select(Charge.id, Charge.statement_id).join(Statement, Statement.id == Charge.statement_id)
    ).one()
    proposal = adjustments.propose(one, charge_id, -1, "x")
    assert not adjustments.may_confirm(other, adjustments.one(other, proposal))
    assert refused(lambda: adjustments.confirm(other, proposal)) == "adjustment.same_person"
    confirmed = _AGREED.format("adjustment_proposal", "confirmed", "decided_by", "decided_at")
    assert written_past_the_service(confirmed) == "two_persons"

    dispute = disputes.object_to(objector, statement_id, charge_id, "x")
    assert not disputes.may_answer(other, disputes.one(other, dispute)[0])
    assert refused(lambda: disputes.reject(other, dispute, "x")) == "duty.separated"
    answered = _AGREED.format("dispute", "rejected", "answer = 'x', answered_by", "answered_at")
    assert written_past_the_service(answered) == "two_persons"

    closing.ask_to_reopen(one, OCTOBER, "x")
    assert refused(lambda: closing.agree_to_reopen(other, OCTOBER)) == "reopening.same_person"
    reopened = "UPDATE broker.month_reopening SET agreed_by = :other, agreed_at = now()"
    assert written_past_the_service(reopened) == "two_persons"
    another = work(session, person(session, Role.FINANCE, REGION))
    assert closing.agree_to_reopen(another, OCTOBER).agreed_by == another.actor.account_id
