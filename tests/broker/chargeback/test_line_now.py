"""What a line comes to now, after late usage, decisions and reopenings in any order; and where books begin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.audit.models import AuditEvent
from broker.chargeback import beginning, closing, disputes
from broker.chargeback.line_now import line_now
from broker.chargeback.models import Adjustment, Charge, MonthClose, Statement
from broker.chargeback.verify import verify
from broker.db.base import new_id
from broker.errors import BrokerError, Conflict, Invalid
from broker.inventory.models import ResourcePeriod
from broker.pricing.months import Month
from broker.tenancy.values import Actor
from tests.broker.chargeback.money_oracle import Use, bill
from tests.broker.chargeback.money_worlds import CITY, MAIN, REGION, Thing, add_thing, store
from tests.broker.chargeback.small_region import (
    END,
    HOUR,
    OCTOBER,
    PAYERS,
    PLACES,
    PRICES,
    START,
    begin_books,
    running,
    thing,
    work,
    world,
)
from tests.broker.chargeback.test_closing import people, refused_by
from tests.broker.chargeback.test_disputes import Court
from tests.broker.chargeback.test_rated_worlds import ROLLED_BACK


@pytest.fixture
def court(session: Session) -> Court:
    return Court(session)


def use_until(session: Session, resource: object, seconds: int) -> None:
    """Correct how long a server of October ran."""
    period = session.query(ResourcePeriod).filter_by(resource_id=resource).one()
    period.during = Range(START, START + timedelta(seconds=seconds))
    session.flush()


def close(session: Session, month: Month) -> None:
    closing.close(work(session, now=month.end + HOUR), month)


def reopen(session: Session, month: Month, one: Actor, two: Actor) -> None:
    closing.ask_to_reopen(work(session, one), month, "因更正重开")
    closing.agree_to_reopen(work(session, two), month)


def decide(session: Session, charge_id: int, fen: int, who: Actor) -> None:
    """As an accepted dispute does."""
    decided = Adjustment(
        id=new_id(), charge_id=charge_id, amount_fen=fen, line_fen=line_now(session, charge_id).rated_fen, reason="x",
        decided_by=who.account_id, decided_at=END + HOUR,
    )  # fmt: skip
    session.add(decided)
    session.flush()


def owed_for(server: Thing, seconds: int) -> int:
    """What the oracle makes of three vCPU that ran so long."""
    used = Use(server.id, CITY, MAIN, "main", "vcpu_x86_64", Fraction(3), "active",
               (START, START + timedelta(seconds=seconds)))  # fmt: skip
    lines, _ = bill([used], PRICES, (2026, 10), END, places=PLACES, payers=PAYERS)
    (line,) = lines.values()
    return line.fen


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(1, 31 * 86400)),
        st.tuples(st.just("decide"), st.integers(-5000, 5000).filter(bool)),
        st.tuples(st.just("close"), st.just(0)),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=8, deadline=None, suppress_health_check=ROLLED_BACK)
@given(steps=STEPS)
def test_a_line_is_what_the_oracle_makes_of_its_usage_and_what_was_decided(
    session: Session, steps: list[tuple[str, int]]
) -> None:
    """Corrected, decided of, closed in any order: at every step, seen from any of its rows, and charged in the end.

    Where both together came to less than nothing, no month closes until somebody decides of that too.
    """
    trial = session.begin_nested()
    try:
        mine = thing(CITY, MAIN, running(START, START + 500 * HOUR, vcpu=3))
        store(session, world(mine))
        who, _ = people(session)
        close(session, month := OCTOBER)
        decided, ran = 0, 500 * 3600
        expected = owed_for(mine, ran)
        for step, amount in [*steps, ("close", 0)]:
            rows = session.scalars(select(Charge.id).order_by(Charge.id)).all()
            if step == "use":
                use_until(session, mine.id, ran := amount)
            elif step == "decide":
                decide(session, rows[amount % len(rows)], amount, who)
                decided += amount
            else:
                month = month.next
                if (left := expected + decided) < 0:
                    assert refused(session, month) == "charge.below_zero"
                    decide(session, rows[0], -left, who)
                    decided -= left
                close(session, month)
            expected = owed_for(mine, ran)
            for row in session.scalars(select(Charge.id)).all():
                now = line_now(session, row)
                assert (now.rated_fen, now.decided_fen) == (expected, decided)
        assert sum(session.scalars(select(Charge.amount_fen))) == expected + decided
    finally:
        trial.rollback()
        session.expunge_all()


@pytest.mark.parametrize("charged", [False, True], ids=["that will be charged", "that was charged"])
def test_a_decision_counts_late_usage(court: Court, *, charged: bool) -> None:
    """The county's server ran one hour only: what is left of the line is what can be taken off."""
    line = next(x for x in court_lines(court) if x.resource_id == court.billed.county.id and x.meter == "memory_gib")
    made = disputes.object_to(court.as_(court.city), court.statements[CITY], line.id, "已停用")
    period = court.session.query(ResourcePeriod).filter_by(resource_id=court.billed.county.id).one()
    start = period.during.lower
    assert start is not None
    period.during = Range(start, start + HOUR)
    court.session.flush()
    if charged:
        close(court.session, OCTOBER.next)
    left = line_now(court.session, line.id).rated_fen
    assert 0 < left < line.amount_fen
    with pytest.raises(Invalid) as refused:
        disputes.accept(court.as_(court.region), made, "同意", -(left + 1))
    assert [p.code for p in refused.value.problems] == ["dispute.amount_range"]
    disputes.accept(court.as_(court.region), made, "同意", -left)
    assert line_now(court.session, line.id).owed_fen == 0


def court_lines(court: Court) -> list[Charge]:
    found = select(Charge).where(Charge.statement_id == court.statements[CITY]).order_by(Charge.id)
    return list(court.session.scalars(found))


def test_a_decision_carried_into_a_new_version_counts_there(court: Court) -> None:
    """The new version's line is another row; what was decided of the old one is still taken off."""
    line = court.line()
    disputes.accept(court.as_(court.region), court.raised(), "减收", -(line.amount_fen - 1))
    reopen(court.session, OCTOBER, court.region, court.finance(REGION))
    court.statements = {
        row.payer_unit_id: row.id for row in court.session.scalars(
            select(Statement).where(Statement.close_id == closing.close(work(court.session), OCTOBER).id)
        )
    }  # fmt: skip
    anew = court.raised("再减")
    with pytest.raises(Invalid):
        disputes.accept(court.as_(court.region), anew, "同意", -2)
    disputes.accept(court.as_(court.region), anew, "同意", -1)


def test_a_decision_about_a_corrected_line_outlives_reopenings(session: Session) -> None:
    """Of the line as late usage left it: closed anew it comes out so at once, and the decision still holds."""
    mine = thing(CITY, MAIN, running(START, START + 500 * HOUR))
    store(session, world(mine))
    one, two = people(session)
    close(session, OCTOBER)
    use_until(session, mine.id, 10 * 3600)
    close(session, OCTOBER.next)
    first = session.scalars(select(Charge.id).order_by(Charge.id)).first()
    assert first is not None
    assert line_now(session, first).rated_fen == 360
    decide(session, first, -360, one)
    for month in (OCTOBER.next, OCTOBER):
        reopen(session, month, one, two)
    close(session, OCTOBER)
    standing = select(Charge.amount_fen).join(Statement, Statement.id == Charge.statement_id)
    standing = standing.join(MonthClose, MonthClose.id == Statement.close_id).where(MonthClose.reopened_at.is_(None))
    assert sorted(session.scalars(standing)) == [-360, 360]


def test_nobody_decides_while_a_month_is_being_closed(engine: Engine) -> None:
    """The close may be changing the very line."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None))))
        close(session, OCTOBER)
    with Session(engine) as session, session.begin():
        close(session, OCTOBER.next)
        with Session(engine) as other, other.begin(), pytest.raises(Conflict) as busy:
            line_now(other, 1)
        assert busy.value.code == "month.closing"


def refused(session: Session, month: Month) -> str:
    with pytest.raises(BrokerError) as error, session.begin_nested():
        close(session, month)
    return error.value.problems[0].code if isinstance(error.value, Invalid) else error.value.code


def used_since_september() -> Thing:
    return thing(CITY, MAIN, running(OCTOBER.previous.start + HOUR, None))


_CLOSE = """
INSERT INTO broker.month_close (id, month, version, covers_until, snapshot, lines, adjustments, total_fen, settled_fen,
                                closed_at)
VALUES (gen_random_uuid(), :month, 7, now(), '1:1:', 0, 0, 0, 0, now())
"""


def test_the_books_begin_with_the_first_usage_and_skip_no_month(session: Session) -> None:
    """Not with whichever month somebody closes first; the database says so too."""
    assert refused(session, OCTOBER) == "month.nothing_used"
    store(session, world(used_since_september()))
    assert refused(session, OCTOBER) == "month.out_of_order"
    assert refused_by(session, _CLOSE, month=OCTOBER.first_day) == "closed_in_order"
    one, two = people(session)
    close(session, OCTOBER.previous)
    reopen(session, OCTOBER.previous, one, two)
    assert refused(session, OCTOBER) == "month.out_of_order"
    close(session, OCTOBER.previous)
    close(session, OCTOBER)
    assert refused_by(session, _CLOSE, month=OCTOBER.next.next.first_day) == "closed_in_order"


def test_a_beginning_is_stated_once_with_a_reason_on_record(session: Session) -> None:
    """Then what was used before is never charged."""
    store(session, world(used_since_september()))
    who, _ = people(session)
    with pytest.raises(Invalid) as unsaid:
        beginning.ask(work(session, who), OCTOBER, " ")
    begin_books(session)
    with pytest.raises(Conflict) as twice:
        beginning.ask(work(session, who), OCTOBER, "x")
    assert (unsaid.value.problems[0].code, twice.value.code) == ("books.reason_missing", "books.begun")
    assert session.scalars(select(AuditEvent.data).where(AuditEvent.action == "books.begin")).one() == {
        "month": "2026-10", "reason": "试运行",
    }  # fmt: skip
    assert refused(session, OCTOBER.previous) == "month.out_of_order"
    close(session, OCTOBER)
    assert verify(session, OCTOBER) == ()
    with pytest.raises(Exception, match="permission denied"), session.begin_nested():
        session.execute(text("UPDATE broker.books_beginning SET month = '2026-09-01'"))


def test_late_usage_from_before_the_books_is_not_free_in_silence(session: Session) -> None:
    """The next close lists it and stops, until somebody states that it is not charged."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    close(session, OCTOBER)
    add_thing(session, used_since_september(), number="late")
    assert refused(session, OCTOBER.next) == "charge.before_books"
    who, _ = people(session)
    with pytest.raises(Conflict) as other:
        beginning.ask(work(session, who, OCTOBER.next.end), OCTOBER.next, "x")
    assert other.value.code == "books.begun"
    assert refused_by(session, """INSERT INTO broker.books_beginning (month, reason, set_at)
                                  VALUES ('2026-11-01', 'x', now())""") == "begun_once"  # fmt: skip
    begin_books(session, reason="九月为试运行")
    close(session, OCTOBER.next)


def test_early_usage_that_comes_while_the_first_month_is_open_again_is_not_free_in_silence(session: Session) -> None:
    """Nothing is closed then, so that no hint is left: the new close of the first month looks at all usage."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    one, two = people(session)
    close(session, OCTOBER)
    reopen(session, OCTOBER, one, two)
    add_thing(session, used_since_september(), number="late")
    assert refused(session, OCTOBER) == "charge.before_books"


def test_books_do_not_begin_in_a_month_to_come(session: Session) -> None:
    """A slip of the pen would keep every month before it from being closed, for good."""
    store(session, world(used_since_september()))
    who, _ = people(session)
    with pytest.raises(Conflict) as to_come:
        beginning.ask(work(session, who), Month(2062, 10), "手误")
    assert to_come.value.code == "statement.month_not_begun"


def test_two_people_say_where_the_books_begin(session: Session) -> None:
    """One asks, another agrees; the database wants two as well; who asked may only take it back."""
    store(session, world(used_since_september()))
    one, two = people(session)

    def told(act: Callable[[], object]) -> str:
        with pytest.raises(BrokerError) as error:
            act()
        return error.value.code

    assert told(lambda: beginning.ask(work(session), OCTOBER, "x")) == "reopening.person_needed"
    assert told(lambda: beginning.agree(work(session, two), OCTOBER)) == "beginning.not_asked"
    beginning.ask(work(session, one), OCTOBER, "试运行")
    assert told(lambda: beginning.ask(work(session, two), OCTOBER, "x")) == "beginning.asked"
    assert told(lambda: beginning.agree(work(session, one), OCTOBER)) == "beginning.same_person"
    alone = "UPDATE broker.books_proposal SET decision = 'agreed', decided_by = asked_by, decided_at = now()"
    assert refused_by(session, alone) == "ck_books_proposal_two_people"
    unasked = "INSERT INTO broker.books_beginning (month, reason, set_at) VALUES ('2026-10-01', 'x', now())"
    assert refused_by(session, unasked) == "begun_by_two"
    beginning.drop(work(session, one), OCTOBER)
    beginning.ask(work(session, one), OCTOBER, "试运行")
    before = beginning.state(work(session, two))
    assert (before.month, before.stated, len(before.asked)) == (OCTOBER.previous.first_day, False, 1)
    beginning.agree(work(session, two), OCTOBER)
    said = beginning.Beginning(OCTOBER.first_day, stated=True, asked=(), closed=False)
    assert beginning.state(work(session, two)) == said
    assert told(lambda: beginning.ask(work(session, one), OCTOBER.next.next, "x")) == "statement.month_not_begun"
    assert told(lambda: beginning.ask(work(session, one), OCTOBER, "x")) == "books.begun"
    close(session, OCTOBER)
