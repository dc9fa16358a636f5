"""Closing a month: once, whole or not at all; books that balance; late usage; reopening by two people."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from broker.chargeback import budgets, closing, service
from broker.chargeback.models import (
    Charge,
    LedgerEntry,
    LedgerPosting,
    Settlement,
    SettlementLine,
    Statement,
)
from broker.chargeback.values import Forecast
from broker.chargeback.verify import verify
from broker.db.base import new_id
from broker.errors import Conflict, Forbidden, Invalid
from broker.inventory.models import ResourcePeriod
from broker.lifecycle import Role
from broker.metering.models import UsageCorrection
from broker.notify.models import Notice
from broker.pricing.models import TariffPrice
from broker.tenancy.models import Account, RoleGrant
from broker.tenancy.values import SYSTEM, Actor
from tests.broker.chargeback.billed import person
from tests.broker.chargeback.money_oracle import month_window
from tests.broker.chargeback.money_worlds import CITY, DEPARTMENT, LONG_AGO, MAIN, REGION, add_thing, store
from tests.broker.chargeback.small_region import END, HOUR, OCTOBER, START, running, thing, work, world

NOVEMBER = OCTOBER.next
LATER = month_window(2026, 11)[1] + HOUR


def postings(session: Session) -> list[tuple[str, int]]:
    """Every account with its balance."""
    who = func.coalesce(LedgerEntry.operator, LedgerEntry.account)
    rows = session.execute(select(who, func.sum(LedgerEntry.amount_fen)).group_by(who))
    return sorted((name, int(fen)) for name, fen in rows)


def people(session: Session) -> tuple[Actor, Actor]:
    """Two people of the region's finance."""
    accounts = [Account(id=new_id(), login=f"f{n}", unit_id=REGION) for n in range(2)]
    session.add_all(accounts)
    session.flush()
    one, two = (Actor(a.id, REGION, frozenset({Role.FINANCE}), a.login) for a in accounts)
    return one, two


def settlement_price(meter: str, price: str, start: datetime = LONG_AGO) -> TariffPrice:
    return TariffPrice(
        side="settlement", meter=meter, operator="op", price_cny=Decimal(price), per="hour", version="s", source="test",
        during=Range(start, None),
    )  # fmt: skip


def test_a_close_freezes_statements_and_posts_what_balances(session: Session) -> None:
    """Payers owe what their lines say, operators are owed by their own tariff, and every posting sums to zero."""
    store(
        session, world(thing(CITY, MAIN, running(START, None)), thing(DEPARTMENT, MAIN, running(START, None, vcpu=3)))
    )
    session.execute(text("UPDATE broker.sub_cloud_operator SET operator = 'op' WHERE sub_cloud_id = :id"), {"id": MAIN})
    session.add(settlement_price("vcpu_x86_64", "0.25"))
    session.flush()
    closed = closing.close(work(session), OCTOBER)
    hours = 24 * 31
    assert (closed.version, closed.statements, closed.lines, closed.total_fen) == (1, 2, 2, 4 * 36 * hours)
    assert closed.settled_fen == 4 * 25 * hours
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    assert postings(session) == [
        ("cost", 100 * hours), ("income", -144 * hours), ("op", -100 * hours), ("payer", 144 * hours),
    ]  # fmt: skip
    assert session.scalars(select(Settlement.operator)).all() == ["op"]
    assert [int(x.quantity_seconds) for x in session.scalars(select(SettlementLine))] == [4 * 3600 * hours]
    assert verify(session, OCTOBER) == ()


def test_a_month_is_closed_once_in_order_and_when_it_is_over(session: Session) -> None:
    """And a closed one draws no interim statements."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    with pytest.raises(Conflict) as early:
        closing.close(work(session, now=END - HOUR), OCTOBER)
    closing.close(work(session), OCTOBER)
    with pytest.raises(Conflict) as twice:
        closing.close(work(session), OCTOBER)
    with pytest.raises(Conflict) as drawn:
        closing.issue(work(session), OCTOBER)
    with pytest.raises(Conflict) as skipped:
        closing.close(work(session, now=LATER + 40 * 24 * HOUR), NOVEMBER.next)
    codes = [x.value.code for x in (early, twice, drawn, skipped)]
    assert codes == ["month.not_over", "month.closed", "month.closed", "month.out_of_order"]


def test_what_cannot_be_charged_or_settled_stops_the_close(session: Session) -> None:
    """An operator that is settled for anything needs a price for everything it supplied."""
    store(session, world(thing(CITY, MAIN, running(START, None, disk=5))))
    session.execute(text("UPDATE broker.sub_cloud_operator SET operator = 'op' WHERE sub_cloud_id = :id"), {"id": MAIN})
    session.add(settlement_price("vcpu_x86_64", "0.25"))
    session.flush()
    with pytest.raises(Invalid) as refused:
        closing.close(work(session), OCTOBER)
    found = [(p.code, p.params["meter"]) for p in refused.value.problems]
    assert found == [("settlement.price_missing", "block_gib_ssd")]
    assert session.scalar(select(func.count()).select_from(Statement)) == 0


def test_late_usage_is_adjusted_in_the_next_month_and_nowhere_else(session: Session) -> None:
    """October's statement stays; November's carries the difference, named as October's, and is whole again."""
    known = thing(CITY, MAIN, running(START, END))
    store(session, world(known))
    closing.close(work(session), OCTOBER)
    was = session.scalars(select(Charge.amount_fen)).all()
    late = thing(DEPARTMENT, MAIN, running(START, START + 10 * HOUR))
    add_thing(session, late, number="late")
    cut = session.query(ResourcePeriod).filter_by(resource_id=known.id).one()
    cut.during = Range(START, START + HOUR)
    session.flush()
    assert session.scalar(select(func.count()).select_from(UsageCorrection)) == 2
    assert {d.code for d in verify(session, OCTOBER)} == {"usage.changed"}
    closed = closing.close(work(session, now=LATER), NOVEMBER)
    assert (closed.lines, closed.adjustments, closed.total_fen) == (2, 2, 360 - 36 * (24 * 31 - 1))
    lines = session.scalars(select(Charge).where(Charge.resource_id.in_([known.id, late.id])).order_by(Charge.id)).all()
    assert [x.amount_fen for x in lines[: len(was)]] == list(was)
    assert {x.usage_month for x in lines[len(was) :]} == {OCTOBER.first_day}
    assert verify(session, OCTOBER) == verify(session, NOVEMBER) == ()
    assert closing.close(work(session, now=LATER + 31 * 24 * HOUR), NOVEMBER.next).lines == 0


def test_ordinary_life_after_a_close_leaves_no_hint(session: Session) -> None:
    """Ending an open period today touches no closed month."""
    running_on = thing(CITY, MAIN, running(START, None))
    store(session, world(running_on))
    closing.close(work(session), OCTOBER)
    period = session.query(ResourcePeriod).filter_by(resource_id=running_on.id).one()
    period.during = Range(START, END + 5 * HOUR)
    session.flush()
    assert session.scalar(select(func.count()).select_from(UsageCorrection)) == 0


def test_two_people_reopen_a_month_and_both_versions_stay(session: Session) -> None:
    """One asks with a reason, another agrees; postings are reversed; the month can be closed anew."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    one, two = people(session)
    closing.close(work(session), OCTOBER)
    with pytest.raises(Conflict) as not_asked:
        closing.agree_to_reopen(work(session, two), OCTOBER)
    with pytest.raises(Forbidden) as nobody:
        closing.ask_to_reopen(work(session, SYSTEM), OCTOBER, "wrong price")
    with pytest.raises(Invalid):
        closing.ask_to_reopen(work(session, one), OCTOBER, " ")
    closing.ask_to_reopen(work(session, one), OCTOBER, "wrong price")
    with pytest.raises(Forbidden) as same:
        closing.agree_to_reopen(work(session, one), OCTOBER)
    assert [x.value.code for x in (not_asked, nobody, same)] == [
        "reopening.not_asked", "reopening.person_needed", "reopening.same_person",
    ]  # fmt: skip
    closing.agree_to_reopen(work(session, two), OCTOBER)
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    assert postings(session) == [("income", 0), ("payer", 0)]
    session.query(TariffPrice).filter_by(meter="vcpu_x86_64").update({"price_cny": Decimal("0.72")})
    again = closing.close(work(session), OCTOBER)
    assert (again.version, again.total_fen) == (2, 72 * 24 * 31)
    assert sorted(session.scalars(select(Statement.total_fen))) == [36 * 24 * 31, 72 * 24 * 31]
    assert len(session.scalars(select(LedgerPosting)).all()) == 3
    assert verify(session, OCTOBER) == ()


def test_only_the_last_closed_month_is_reopened(session: Session) -> None:
    """What comes after rests on it."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    one, _ = people(session)
    closing.close(work(session), OCTOBER)
    closing.close(work(session, now=LATER), NOVEMBER)
    with pytest.raises(Conflict) as refused:
        closing.ask_to_reopen(work(session, one), OCTOBER, "why not")
    assert refused.value.code == "month.not_last"


def test_a_budget_tells_once_at_80_and_at_100_percent(session: Session) -> None:
    """And says what the year will end with: both closed months as they were, December as its servers run."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    month_fen = 36 * 24 * 31
    budgets.set_budget(work(session), CITY, 2026, month_fen * 5 // 4)
    closing.close(work(session), OCTOBER)
    closing.close(work(session, now=LATER), NOVEMBER)
    state = budgets.states(session, 2026)[0]
    spent = month_fen + 36 * 24 * 30
    assert (state.spent_fen, state.months) == (spent, 2)
    [seen] = budgets.seen(work(session, now=LATER), 2026)
    assert seen.forecast == Forecast(open_months=1, open_fen=month_fen)
    assert seen.forecast_fen == spent + month_fen
    told = [n.params["percent"] for n in session.scalars(select(Notice).where(Notice.code == "budget.used"))]
    assert sorted(told) == [80, 100]
    budgets.set_budget(work(session, now=LATER), CITY, 2026, spent)
    notices = session.scalars(select(Notice).where(Notice.code == "budget.used").order_by(Notice.id)).all()
    # Set anew when all of it is spent: told at once, and of the higher alone.
    assert [n.params["percent"] for n in notices] == [80, 100, 100]
    region = person(session, Role.FINANCE, REGION)
    session.add(RoleGrant(account_id=region.account_id, role="finance", during=Range(LONG_AGO, None)))
    budgets.set_budget(work(session, now=LATER), CITY, 2026, spent - 1)
    heard = session.scalars(select(Notice.unit_id).where(Notice.code == "budget.used").order_by(Notice.id)).all()
    assert (heard[-2], heard[-1]) == (CITY, region.unit_id), "nobody acts for the city: the region's finance hears"
    assert notices[-1].params["spent"] == notices[-1].params["amount"] == f"{spent // 100:,}.{spent % 100:02}"


def test_the_database_refuses_a_posting_that_does_not_balance(session: Session) -> None:
    """Also for whoever writes past the service, and one without entries."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    closing.close(work(session), OCTOBER)
    posting = session.scalars(select(LedgerPosting.id)).first()
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    trial = session.begin_nested()
    with pytest.raises(IntegrityError):
        session.execute(
            text("INSERT INTO broker.ledger_entry (posting_id, account, amount_fen) VALUES (:id, 'income', 1)"),
            {"id": posting},
        )
    trial.rollback()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE broker.statement SET total_fen = 0",
        "UPDATE broker.charge SET amount_fen = 0",
        "DELETE FROM broker.ledger_entry",
        "UPDATE broker.month_close SET total_fen = 0",
        "DELETE FROM broker.month_close",
        "UPDATE broker.month_reopening SET reason = ''",
    ],
)
def test_the_runtime_role_changes_nothing_that_is_closed(session: Session, statement: str) -> None:
    """Insert-only, but for the act of reopening."""
    trial = session.begin_nested()
    with pytest.raises(ProgrammingError):
        session.execute(text(statement))
    trial.rollback()


_ASK = """
INSERT INTO broker.month_reopening (id, close_id, reason, asked_by, asked_at, agreed_by, agreed_at)
SELECT gen_random_uuid(), id, 'because', :one, now(), CAST(:two AS uuid), CASE WHEN :two IS NOT NULL THEN now() END
FROM broker.month_close
"""
_REOPEN = "UPDATE broker.month_close SET reopened_at = now()"
_AGREE = "UPDATE broker.month_reopening SET agreed_by = :two, agreed_at = now()"


def refused_by(session: Session, statement: str, **values: object) -> str | None:
    """Which constraint of the database refuses a statement of the runtime role; None: it was carried out."""
    try:
        with session.begin_nested():
            session.execute(text(statement), values)
    except IntegrityError as refused:
        name: str | None = refused.orig.diag.constraint_name  # type: ignore[union-attr]
        return name
    return None


def test_the_database_lets_a_month_be_reopened_once_and_only_by_two_people(session: Session) -> None:
    """As the runtime role, past the service: not alone, not unasked, not agreed in advance, not twice, never back."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    one, two = (actor.account_id for actor in people(session))
    closing.close(work(session), OCTOBER)
    assert refused_by(session, _REOPEN) == "reopened_by_two"
    assert refused_by(session, _ASK, one=one, two=two) == "agreed_once"
    assert refused_by(session, _ASK, one=one, two=None) is None
    assert refused_by(session, _REOPEN) == "reopened_by_two"
    assert refused_by(session, _AGREE, two=one) == "ck_month_reopening_two_people"
    assert refused_by(session, _AGREE, two=two) is None
    assert refused_by(session, _REOPEN) is None
    assert refused_by(session, _REOPEN + " + interval '1 second'") == "reopened_by_two"
    assert refused_by(session, "UPDATE broker.month_close SET reopened_at = NULL") == "reopened_by_two"
    assert refused_by(session, _AGREE, two=two) == "agreed_once"
    assert refused_by(session, "UPDATE broker.month_reopening SET agreed_by = NULL, agreed_at = NULL") == "agreed_once"
    columns = "id, month, version, covers_until, lines, adjustments, total_fen, settled_fen, closed_at, reopened_at"
    born_open = f"""
        INSERT INTO broker.month_close ({columns})
        SELECT gen_random_uuid(), month, 2, covers_until, 0, 0, 0, 0, now(), now() FROM broker.month_close"""
    assert refused_by(session, born_open) == "reopened_by_two"


def test_free_quantity_is_used_up_in_order_of_start_then_resource(session: Session) -> None:
    """Ten unit-hours are free for each payer and month."""
    first = thing(CITY, MAIN, running(START, START + 6 * HOUR))
    second = thing(CITY, MAIN, running(START + HOUR, START + 7 * HOUR))
    store(session, world(first, second))
    session.query(TariffPrice).filter_by(meter="vcpu_x86_64").update({"free_quantity": Decimal(10)})
    shown = {x.resource_id: x.amount_fen for x in service.preview(session, OCTOBER).lines}
    assert shown == {first.id: 0, second.id: 2 * 36}


def test_what_is_free_in_a_month_does_not_move_when_it_is_rated_again_with_the_one_before(session: Session) -> None:
    """Who began before a month begins with it: late usage of another in both months changes nothing of theirs."""
    one = thing(CITY, MAIN, running(END - 2 * HOUR, None))
    two = thing(CITY, MAIN, running(END - 5 * HOUR, None))  # the second by its id, the first to begin
    store(session, world(one, two))
    session.query(TariffPrice).filter_by(meter="vcpu_x86_64").update({"free_quantity": Decimal(1000)})
    closing.close(work(session), OCTOBER)
    closing.close(work(session, now=LATER), NOVEMBER)
    add_thing(session, thing(DEPARTMENT, MAIN, running(END - HOUR, END + HOUR, vcpu=0, memory=1)), number="late")
    closed = closing.close(work(session, now=LATER + 31 * 24 * HOUR), NOVEMBER.next)
    assert (closed.lines, closed.adjustments) == (4, 2)
    assert verify(session, NOVEMBER) == ()


def test_the_nearest_price_wins_cloud_before_operator_before_all(session: Session) -> None:
    """Then the class of unit, then the longest term that was committed to; a discount is a factor."""
    mine = thing(CITY, MAIN, running(START, START + HOUR))
    store(session, world(mine))
    session.execute(text("UPDATE broker.sub_cloud_operator SET operator = 'op' WHERE sub_cloud_id = :id"), {"id": MAIN})

    def price(cny: str, **where: object) -> None:
        session.add(
            TariffPrice(
                meter="vcpu_x86_64", price_cny=Decimal(cny), per="hour", version="v", source="t",
                during=Range(LONG_AGO, None), **where,
            )
        )  # fmt: skip
        session.flush()

    def owed() -> int:
        return service.preview(session, OCTOBER).total_fen

    found = [owed()]
    nearer: list[tuple[str, dict[str, object]]] = [
        ("1", {"unit_class": "city"}),
        ("2", {"operator": "op"}),
        ("3", {"operator": "op", "term_months": 12, "discount": Decimal("0.9")}),
        ("4", {"sub_cloud_id": MAIN}),
    ]
    for cny, where in nearer:
        price(cny, **where)
        found.append(owed())
    assert found == [36, 100, 200, 200, 400]


def test_november_has_its_own_month(session: Session) -> None:
    """A month of the list that finance reads."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    closing.close(work(session), OCTOBER)
    assert [(x.month, x.version, x.reopened_at) for x in closing.closes(work(session))] == [
        (OCTOBER.first_day, 1, None)
    ]


def test_unit_seconds_of_a_line_leave_64_bits_for_an_error(session: Session) -> None:
    """``sum_64`` is exact up to the last bigint, nothing of nothing, and raises beyond; it never wraps round."""
    added = text("SELECT broker.sum_64(x) FROM unnest(CAST(:numbers AS bigint[])) AS u(x)")
    assert session.scalar(added, {"numbers": []}) is None
    assert session.scalar(added, {"numbers": [2**62, 2**62 - 1]}) == 2**63 - 1
    with pytest.raises(DataError, match="out of range"):
        session.scalar(added, {"numbers": [2**62, 2**62]})
