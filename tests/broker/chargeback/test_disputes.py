"""Disputes: the payer objects, another person answers, what is accepted becomes an adjustment and nothing else."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from broker.audit.models import AuditEvent
from broker.chargeback import access, closing, disputes, statements
from broker.chargeback.access import Scope
from broker.chargeback.focus import Writer, check
from broker.chargeback.models import Adjustment, Dispute
from broker.chargeback.views import ExplainedLine
from broker.db.base import new_id
from broker.errors import BrokerError, Conflict, Forbidden, Invalid, NotFound
from broker.lifecycle import Role
from broker.notify.models import Notice
from broker.pricing.models import Payer, TariffPrice
from broker.tenancy.models import RoleGrant
from broker.tenancy.values import SYSTEM, Actor
from broker.tenancy.work import Work
from tests.broker.chargeback.billed import Billed, bill, close, person
from tests.broker.chargeback.money_worlds import CITY, COUNTY, LONG_AGO, OTHER_CITY, REGION, during
from tests.broker.chargeback.small_region import ALWAYS, END, NOW, OCTOBER, work


class Court:
    """A closed month, the city's finance who objects and the region's who answers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.billed: Billed = bill(session)
        self.interim = self.billed.statements[CITY]
        self.statements = close(session)
        self.city = self.finance(CITY)
        self.region = self.finance(REGION)

    def finance(self, unit: UUID) -> Actor:
        made = person(self.session, Role.FINANCE, unit)
        self.session.add(RoleGrant(account_id=made.account_id, role="finance", during=during(ALWAYS)))
        self.session.flush()
        return made

    def line(self, payer: UUID = CITY) -> ExplainedLine:
        found = statements.lines(self.session, self.statements[payer], actor=SYSTEM, now=NOW)
        return next(x for x in found if x.amount_fen > 100)

    def as_(self, actor: Actor) -> Work:
        return work(self.session, actor)

    def raised(self, reason: str = "九月已停用") -> UUID:
        return disputes.object_to(self.as_(self.city), self.statements[CITY], self.line().id, reason)


@pytest.fixture
def court(session: Session) -> Court:
    return Court(session)


def test_an_accepted_objection_becomes_an_adjustment_and_leaves_the_statement_alone(court: Court) -> None:
    """Nothing closed is edited; the decision, its reason and both people are on record, and the objector is told."""
    before = court.line()
    made = court.raised()
    told = court.session.scalars(select(Notice).where(Notice.code == "dispute.raised")).all()
    assert [(n.unit_id, n.role) for n in told] == [(REGION, "finance")]
    adjustment = disputes.accept(court.as_(court.region), made, "核实属实", -before.amount_fen)
    row, line = disputes.one(court.as_(court.city), made)
    assert (row.decision, row.adjusted_fen, row.answered_by) == (
        "accepted",
        -before.amount_fen,
        court.region.account_id,
    )
    assert line == before
    kept = court.session.get_one(Adjustment, adjustment)
    assert (kept.charge_id, kept.amount_fen, kept.decided_by) == (line.id, -before.amount_fen, court.region.account_id)
    answered = court.session.scalars(select(Notice).where(Notice.code == "dispute.accepted")).all()
    assert [n.account_id for n in answered] == [court.city.account_id]
    actions = court.session.scalars(select(AuditEvent.action).where(AuditEvent.subject_id == made)).all()
    assert set(actions) == {"dispute.raised", "dispute.accepted"}


def test_a_rejected_objection_changes_no_amount(court: Court) -> None:
    """The reason is told; the same line may be objected to again."""
    made = court.raised()
    disputes.reject(court.as_(court.region), made, "用量属实")
    assert court.session.scalars(select(Adjustment)).all() == []
    assert court.raised("另有证明") != made
    assert {row.state for row in disputes.listing(court.as_(court.region))} == {"rejected", "raised"}
    assert [row.state for row in disputes.listing(court.as_(court.region), only_open=True)] == ["raised"]


@pytest.mark.parametrize(
    ("amount", "code"),
    [(None, "dispute.amount_missing"), (0, "dispute.amount_missing"), (-(10**12), "dispute.amount_range"),
     (10**14, "dispute.amount_range")],
)  # fmt: skip
def test_an_adjustment_is_an_amount_the_line_can_bear(court: Court, amount: int | None, code: str) -> None:
    """Never less than nothing; both mistakes of a form are told at once, and nothing is decided."""
    made = court.raised()
    with pytest.raises(Invalid) as refused:
        disputes.accept(court.as_(court.region), made, " ", amount)
    assert {p.code for p in refused.value.problems} == {"dispute.answer_missing", code}
    assert court.session.get_one(Dispute, made).decision is None


def test_two_adjustments_together_never_take_more_than_the_line(court: Court) -> None:
    """What was decided before counts."""
    line = court.line()
    first = court.raised()
    disputes.accept(court.as_(court.region), first, "减半", -(line.amount_fen - 1))
    second = court.raised("其余也不应收")
    with pytest.raises(Invalid):
        disputes.accept(court.as_(court.region), second, "同意", -2)
    disputes.accept(court.as_(court.region), second, "同意", -1)


def refused(court: Court, actor: Actor, payer: UUID = CITY, reason: str = "x") -> BrokerError:
    with pytest.raises(BrokerError) as error:
        disputes.object_to(court.as_(actor), court.statements[payer], court.line(payer).id, reason)
    return error.value


def test_only_the_payers_own_finance_objects(court: Court) -> None:
    """Not another city's, which does not see it; not the region's, not audit, nor a county's, which sees its part."""
    assert isinstance(refused(court, court.finance(OTHER_CITY)), NotFound)
    assert refused(court, court.region).code == "dispute.not_the_payer"
    assert refused(court, SYSTEM).code == "dispute.not_the_payer"
    assert refused(court, person(court.session, Role.AUDIT, REGION)).code == "dispute.not_the_payer"
    nothing_said = refused(court, court.city, reason=" ")
    assert [p.code for p in nothing_said.problems] == ["dispute.reason_missing"]
    assert refused(court, court.finance(COUNTY)).code == "dispute.not_the_payer"
    assert disputes.object_to(court.as_(court.city), court.statements[CITY], court.line().id, "x")


def test_an_interim_statement_is_owed_by_nobody_and_disputed_by_nobody(court: Court) -> None:
    """Before the close a mistake is simply put right."""
    line = statements.lines(court.session, court.interim, actor=SYSTEM, now=NOW)[0]
    with pytest.raises(Conflict) as error:
        disputes.object_to(court.as_(court.city), court.interim, line.id, "x")
    assert error.value.code == "dispute.not_closed"
    with pytest.raises(NotFound) as missing:
        disputes.object_to(court.as_(court.city), court.statements[CITY], line.id, "x")
    assert missing.value.code == "statement.line_unknown"


def test_a_line_has_one_open_dispute_and_each_is_answered_once(court: Court) -> None:
    """The second answer finds it decided."""
    made = court.raised()
    with pytest.raises(Conflict) as open_already:
        court.raised()
    assert open_already.value.code == "dispute.open"
    disputes.reject(court.as_(court.region), made, "用量属实")
    with pytest.raises(Conflict) as twice:
        disputes.accept(court.as_(court.region), made, "改变主意", -1)
    assert twice.value.code == "dispute.answered"


def test_nobody_answers_his_own_dispute(court: Court) -> None:
    """The region objects to its own bill: a colleague answers. The database says so too."""
    line = court.line(REGION)
    made = disputes.object_to(court.as_(court.region), court.statements[REGION], line.id, "重复计费")
    row, _ = disputes.one(court.as_(court.region), made)
    assert not disputes.may_answer(court.as_(court.region), row)
    with pytest.raises(Forbidden) as own:
        disputes.reject(court.as_(court.region), made, "x")
    assert own.value.code == "duty.separated"
    with pytest.raises(Forbidden) as citys:
        disputes.reject(court.as_(court.city), made, "x")
    assert citys.value.code == "duty.missing"
    own_answer = (
        update(Dispute)
        .where(Dispute.id == made)
        .values(decision="rejected", answer="x", answered_by=Dispute.raised_by, answered_at=NOW)
    )
    with pytest.raises(DBAPIError) as refused_by_database, court.session.begin_nested():
        court.session.execute(own_answer)
    assert "ck_dispute_two_people" in str(refused_by_database.value)
    court.session.expire_all()
    disputes.reject(court.as_(court.finance(REGION)), made, "核对无误")
    with pytest.raises(NotFound):
        disputes.one(court.as_(court.city), made)
    with pytest.raises(NotFound):
        disputes.reject(court.as_(court.finance(REGION)), new_id(), "x")


def test_the_next_close_puts_the_adjustment_on_the_payers_statement(court: Court) -> None:
    """With its reason, marked as an adjustment; as FOCUS a correction without a quantity."""
    line = court.line()
    disputes.accept(court.as_(court.region), court.raised(), "核实属实", -line.amount_fen)
    made = close(court.session, OCTOBER.next)[CITY]
    head = statements.summary(court.session, made, actor=SYSTEM, now=NOW)
    lines = list(statements.every_line(court.session, made, actor=SYSTEM, now=NOW))
    (adjusted,) = [x for x in lines if x.adjustment_id]
    assert (adjusted.amount_fen, adjusted.adjustment_reason) == (-line.amount_fen, "核实属实")
    assert adjusted.usage_month == OCTOBER.first_day
    assert sum(x.amount_fen for x in lines) == head.head.total_fen
    row = Writer(head).row(adjusted)
    assert (row["ChargeCategory"], row["ChargeClass"], row["PricingQuantity"]) == ("Adjustment", "Correction", None)
    assert [problem for x in lines for problem in check(Writer(head).row(x), "x")] == []


def reopen(court: Court) -> None:
    """The region's finance, two people, open October again."""
    closing.ask_to_reopen(court.as_(court.region), OCTOBER, "价目有误")
    closing.agree_to_reopen(court.as_(court.finance(REGION)), OCTOBER)


def adjustments(court: Court, statement_id: UUID) -> list[int]:
    lines = statements.every_line(court.session, statement_id, actor=SYSTEM, now=NOW)
    return [x.amount_fen for x in lines if x.adjustment_id]


def test_a_line_of_a_reopened_month_is_adjusted_no_more(court: Court) -> None:
    """Nobody owes it; the dispute can still be rejected, with the reason, so that it does not stay open for ever."""
    made = court.raised()
    reopen(court)
    with pytest.raises(Conflict) as reopened:
        disputes.accept(court.as_(court.region), made, "核实属实", -1)
    assert reopened.value.code == "dispute.reopened"
    disputes.reject(court.as_(court.region), made, "已重开更正")


def test_what_was_decided_before_a_reopening_holds_if_the_line_comes_out_the_same(court: Court) -> None:
    """Whoever reopens for something else takes nothing from a payer."""
    disputes.accept(court.as_(court.region), court.raised(), "核实属实", -100)
    reopen(court)
    assert adjustments(court, close(court.session)[CITY]) == [-100]
    assert adjustments(court, close(court.session, OCTOBER.next)[CITY]) == []


def test_what_was_decided_before_a_reopening_is_not_put_right_twice(court: Court) -> None:
    """The line was put right itself: the decision is used up, now and later."""
    line = court.line()
    disputes.accept(court.as_(court.region), court.raised(), "核实属实", -100)
    reopen(court)
    court.session.execute(
        update(TariffPrice).where(TariffPrice.meter == line.meter).values(price_cny=TariffPrice.price_cny / 2)
    )
    assert adjustments(court, close(court.session)[CITY]) == []
    assert adjustments(court, close(court.session, OCTOBER.next)[CITY]) == []


def test_finance_of_a_city_that_pays_no_more_does_not_become_the_regions(court: Court) -> None:
    """It keeps its own bills; the region's stay the region's."""
    ended = update(Payer).where(Payer.payer_unit_id == CITY).values(during=Range(LONG_AGO, END))
    court.session.execute(ended)
    city = court.as_(court.city)
    assert (closing.may_close(city), closing.may_close(court.as_(court.region))) == (False, True)
    scope = access.scope(court.session, court.city, NOW)
    assert scope == Scope(everything=False, root_unit_id=CITY, payer_unit_id=CITY, whole_region=False)
    seen = statements.visible(court.session, court.statements[CITY], scope)
    assert seen.payer_unit_id == CITY
