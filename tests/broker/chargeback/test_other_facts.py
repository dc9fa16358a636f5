"""What no period of a resource tells: other meters, items charged once, terms, decisions; each as the oracle has it."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.chargeback import closing, service
from broker.chargeback.models import Adjustment, Charge
from broker.chargeback.verify import verify
from broker.db.base import new_id
from broker.metering.models import OneOffItem, ResourceTerm, UsageRecord
from tests.broker.chargeback.money_oracle import PriceRow, Use, bill
from tests.broker.chargeback.money_worlds import CITY, MAIN, OPERATORS, store
from tests.broker.chargeback.small_region import (
    ALWAYS,
    END,
    HOUR,
    OCTOBER,
    PAYERS,
    PLACES,
    START,
    running,
    thing,
    work,
    world,
)
from tests.broker.chargeback.test_closing import LATER, NOVEMBER, people

TARIFF = [
    PriceRow(new_id(), "vcpu_x86_64", None, "0.36", "hour", ALWAYS),
    PriceRow(new_id(), "vcpu_x86_64", None, "0.35", "hour", ALWAYS, term=12, discount="0.8333"),
    PriceRow(new_id(), "vcpu_x86_64", None, "0.34", "hour", (START + 401 * HOUR, None), term=36, discount="0.7"),
    PriceRow(new_id(), "public_ip", None, "20.01", "month", ALWAYS, free="0.5"),
    PriceRow(new_id(), "migration", None, "333.335", "once", ALWAYS),
]


def test_terms_other_meters_and_one_off_items_are_billed_as_the_oracle_does(session: Session) -> None:
    """A term counts from the second it begins; the longest price not above it holds; once is once, whatever the day."""
    mine = thing(CITY, MAIN, running(START, None, vcpu=3))
    store(session, world(mine, prices=TARIFF))
    begins, ends = START + timedelta(seconds=123457), START + 500 * HOUR
    address, moved = (START + 3 * HOUR, END + HOUR), START + 77 * HOUR
    second = timedelta(seconds=1)
    session.add_all(
        [
            ResourceTerm(resource_id=mine.id, term_months=12, during=Range(begins, START + 300 * HOUR)),
            ResourceTerm(resource_id=mine.id, term_months=60, during=Range(START + 300 * HOUR, ends)),
            UsageRecord(resource_id=mine.id, meter="public_ip", quantity=7, during=Range(*address)),
            OneOffItem(resource_id=mine.id, meter="migration", quantity=3, at=moved),
            OneOffItem(resource_id=mine.id, meter="migration", quantity=2, at=END - second),
        ]
    )
    session.flush()

    def use(meter: str, quantity: int, start: datetime, end: datetime | None, term: int = 0) -> Use:
        place = (mine.id, CITY, MAIN, "main", meter, Fraction(quantity), "active", (start, end))
        return Use(*place, operator=OPERATORS[MAIN], unit_class="city", term=term, once=meter == "migration")

    uses = [
        use("vcpu_x86_64", 3, START, begins),
        use("vcpu_x86_64", 3, begins, START + 300 * HOUR, 12),
        use("vcpu_x86_64", 3, START + 300 * HOUR, ends, 60),
        use("vcpu_x86_64", 3, ends, None),
        # The free quantity of one meter is used up by nothing else here, so the cuts above do not matter to it.
        use("public_ip", 7, *address),
        use("migration", 3, moved, moved + second),
        use("migration", 2, END - second, END),
    ]
    lines, gaps = bill(uses, TARIFF, (2026, 10), END, places=PLACES, payers=PAYERS)
    shown = service.preview(session, OCTOBER)
    assert not gaps
    assert not shown.gaps
    assert {(x.meter, x.tariff_price_id): (Fraction(x.quantity_seconds), x.amount_fen) for x in shown.lines} == {
        (meter, price): (line.seconds, line.fen) for (_, _, meter, price), line in lines.items()
    }
    assert {(x.meter, x.amount_fen) for x in shown.lines if x.meter == "migration"} == {("migration", 166668)}
    assert len(shown.lines) == len(TARIFF)


def test_a_decided_adjustment_is_a_line_of_the_next_close_and_of_no_other(session: Session) -> None:
    """Signed fen, quantity zero, on the payer's statement; the closed line stays."""
    mine = thing(CITY, MAIN, running(START, END))
    store(session, world(mine))
    closing.close(work(session), OCTOBER)
    line = session.scalars(select(Charge)).one()
    decided = Adjustment(
        id=new_id(), charge_id=line.id, amount_fen=-1234, line_fen=line.amount_fen, reason="wrong size",
        decided_by=people(session)[0].account_id,
        decided_at=END + HOUR,
    )  # fmt: skip
    session.add(decided)
    session.flush()
    closed = closing.close(work(session, now=LATER), NOVEMBER)
    assert (closed.lines, closed.adjustments, closed.total_fen) == (1, 1, -1234)
    made = session.scalars(select(Charge).where(Charge.adjustment_id == decided.id)).one()
    assert (made.amount_fen, int(made.quantity_seconds), made.usage_month) == (-1234, 0, OCTOBER.first_day)
    assert closing.close(work(session, now=LATER + 31 * 24 * HOUR), NOVEMBER.next).lines == 0
    assert verify(session, OCTOBER) == verify(session, NOVEMBER) == ()
