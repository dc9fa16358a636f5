"""What ``guiyun bill preview`` shows is what a close then freezes, or what it then refuses: one computation."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from broker.chargeback import closing, obstacles, service
from broker.chargeback.models import Adjustment, Charge, Statement
from broker.chargeback.values import Totals
from broker.db.base import new_id
from broker.errors import Invalid
from broker.inventory.models import ResourcePeriod
from broker.pricing.models import TariffPrice
from broker.pricing.months import Month
from tests.broker.chargeback.drawn_worlds import worlds
from tests.broker.chargeback.money_worlds import LONG_AGO, METERS, World, during, store
from tests.broker.chargeback.small_region import begin_books, work
from tests.broker.chargeback.test_closing import people


def freeze(session: Session, month: Month, shown: Totals) -> bool:
    """Close a month and compare with what was shown of it; whether it could be closed."""
    now = month.end + timedelta(hours=1)
    try:
        with session.begin_nested():
            closed = closing.close(work(session, now=now), month)
    except Invalid as refused:
        told = [(p.field, p.params["meter"], p.code) for p in refused.problems]
        assert told == [(str(p.id or ""), p.meter, obstacles.CODES[p.reason]) for p in shown.problems][:20]
        return False
    assert not shown.problems
    assert (closed.lines, closed.adjustments, closed.total_fen, closed.settled_fen) == (
        shown.lines, shown.adjustments, shown.total_fen, shown.settled_fen,
    )  # fmt: skip
    owed = session.execute(
        select(Statement.payer_unit_id, Statement.total_fen).where(Statement.close_id == closed.id)
    ).all()
    assert {payer: fen for payer, fen in owed if payer in shown.payers} == shown.payers
    assert all(fen == 0 for payer, fen in owed if payer not in shown.payers)
    return True


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    world=st.one_of(worlds(), worlds(complete=True), worlds(complete=True)), settled=st.sets(st.sampled_from(METERS))
)
def test_what_is_shown_is_what_is_frozen(session: Session, world: World, settled: set[str]) -> None:
    """Twice: a first month, and the next one with late usage and a decision; problems of either side included."""
    trial = session.begin_nested()
    try:
        store(session, world)
        session.add_all(
            TariffPrice(side="settlement", meter=meter, operator="one", price_cny=Decimal("0.11"), per="hour",
                        version="s", source="t", during=during((LONG_AGO, None)))
            for meter in settled
        )  # fmt: skip
        month = Month(*world.month)
        who, _ = people(session)
        begin_books(session, month, now=month.end)
        if not freeze(session, month, service.totals(session, month, until=month.end)):
            return
        for period in session.query(ResourcePeriod).limit(2):
            period.vcpu, period.cpu_arch = period.vcpu + 1, "x86_64"
        charge = session.scalars(select(Charge).limit(1)).first()
        if charge is not None:
            session.add(
                Adjustment(id=new_id(), charge_id=charge.id, amount_fen=-7, line_fen=charge.amount_fen, reason="x",
                           decided_by=who.account_id, decided_at=month.end)
            )  # fmt: skip
        session.flush()
        shown = service.totals(session, month.next, until=month.next.end)
        assert charge is None or shown.problems or shown.adjustments
        # Of a month whose turn has not come, neither late usage nor decisions: an earlier one will charge them.
        assert service.totals(session, month.next.next, until=month.next.next.end).adjustments == 0
        shown = service.totals(session, month.next, until=month.next.end)
        freeze(session, month.next, shown)
    finally:
        trial.rollback()
        session.expunge_all()


def test_a_preview_takes_no_lock_and_leaves_nothing(session: Session) -> None:
    """It may be looked at while a month is being closed, as often as one likes."""
    month = Month(2026, 10)
    assert service.totals(session, month, until=month.end) == service.totals(session, month, until=month.end)
    assert obstacles.find(session, 1) == ((), 0)
