"""An auditor recomputes a closed month to the same fen, whatever came or changed after its close."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from broker.chargeback import closing
from broker.chargeback.export import export
from broker.chargeback.offline import rate_files
from broker.chargeback.verify import verify
from broker.db.base import new_id
from broker.errors import Conflict
from broker.inventory.models import ResourcePeriod
from broker.metering.models import OneOffItem, ResourceTerm, UsageRecord
from broker.pricing.models import TariffPrice
from broker.pricing.months import Month
from tests.broker.chargeback.money_oracle import PriceRow
from tests.broker.chargeback.money_worlds import CITY, DEPARTMENT, MAIN, Thing, add_thing, store
from tests.broker.chargeback.small_region import (
    ALWAYS,
    END,
    HOUR,
    OCTOBER,
    PRICES,
    START,
    begin_books,
    running,
    thing,
    work,
    world,
)
from tests.broker.chargeback.test_closing import LATER, NOVEMBER, people
from tests.broker.chargeback.test_rated_worlds import amount_of, read_rows

TARIFF = [
    *(price for price in PRICES if price.meter != "vcpu_x86_64"),
    PriceRow(new_id(), "vcpu_x86_64", None, "0.36", "hour", ALWAYS, free="100"),
    PriceRow(new_id(), "vcpu_x86_64", None, "0.36", "hour", ALWAYS, term=12, discount="0.9"),
    PriceRow(new_id(), "public_ip", None, "20", "month", ALWAYS),
    PriceRow(new_id(), "migration", None, "333.33", "once", ALWAYS),
]


def lived_in(engine: Engine) -> tuple[Thing, Thing]:
    """A region that uses every kind of fact: sizes, other meters, a term, something charged once."""
    one = thing(
        CITY, MAIN, running(START - 5 * HOUR, START + 90 * HOUR, vcpu=2), running(START + 90 * HOUR, None, vcpu=4)
    )
    other = thing(DEPARTMENT, MAIN, running(START, None, vcpu=1, memory=3, disk=50))
    with Session(engine) as session, session.begin():
        store(session, world(one, other, prices=TARIFF))
        begin_books(session, reason="usage of September's last hours was a trial")
        session.add(UsageRecord(resource_id=one.id, meter="public_ip", quantity=2, during=Range(START + HOUR, None)))
        session.add(OneOffItem(resource_id=other.id, meter="migration", quantity=1, at=START + 7 * HOUR))
        session.add(ResourceTerm(resource_id=one.id, term_months=12, during=Range(START + 200 * HOUR, None)))
    return one, other


def close(engine: Engine, month: Month, now: datetime) -> int:
    with Session(engine) as session, session.begin():
        return closing.close(work(session, now=now), month).total_fen


def own_lines(engine: Engine, month: Month) -> Counter[tuple[str, str, Fraction, int]]:
    """What the closed statements say of their own month."""
    with Session(engine) as session:
        rows = session.execute(
            text("""
            SELECT c.resource_id, c.meter, c.quantity_seconds, c.amount_fen
            FROM broker.charge c JOIN broker.statement s ON s.id = c.statement_id
            JOIN broker.month_close m ON m.id = s.close_id AND m.reopened_at IS NULL
            WHERE m.month = :month AND c.usage_month = :month AND c.adjustment_id IS NULL"""),
            {"month": month.first_day},
        )
        return Counter((str(r.resource_id), r.meter, Fraction(r.quantity_seconds), r.amount_fen) for r in rows)


def recomputed(engine: Engine, month: Month, folder: Path) -> Counter[tuple[str, str, Fraction, int]]:
    """What an auditor makes of the exported files."""
    with Session(engine) as session, session.begin():
        export(session, month, LATER, folder)
    rate_files(folder / "spans.csv", folder / "tariff.yaml", month, folder)
    return Counter((row["resource_id"], row["meter"], *amount_of(row)) for row in read_rows(folder))


def change_everything(engine: Engine, one: Thing, other: Thing) -> None:
    """Late and corrected facts of each kind, some of them twice, in transactions of their own."""
    late = thing(CITY, MAIN, running(START, START + 10 * HOUR, vcpu=8))
    with Session(engine) as session, session.begin():
        add_thing(session, late, number="late")
        first = session.query(ResourcePeriod).filter_by(resource_id=one.id, vcpu=2).one()
        first.during = Range(START - 5 * HOUR, START + 50 * HOUR)
        session.query(UsageRecord).one().quantity = 5
        session.query(OneOffItem).one().at = START + 8 * HOUR
        session.query(ResourceTerm).one().during = Range(START + 300 * HOUR, None)
    with Session(engine) as session, session.begin():
        session.query(ResourcePeriod).filter_by(resource_id=one.id, vcpu=2).one().vcpu = 3
        session.query(UsageRecord).one().quantity = 7
        session.query(ResourcePeriod).filter_by(resource_id=late.id).one().vcpu = 9
        session.query(ResourcePeriod).filter_by(resource_id=other.id).one().during = Range(START, END + HOUR)
        session.add(ResourceTerm(resource_id=other.id, term_months=24, during=Range(START, None)))
        session.add(OneOffItem(resource_id=one.id, meter="migration", quantity=3, at=START + HOUR))


def test_a_closed_month_exports_what_its_close_knew(engine: Engine, tmp_path: Path) -> None:
    """Also after the next close has charged the differences, and that one too; usage once came in late for both."""
    one, other = lived_in(engine)
    close(engine, OCTOBER, END + HOUR)
    closed = own_lines(engine, OCTOBER)
    assert {"public_ip", "migration", "memory_gib", "block_gib_ssd", "vcpu_x86_64"} == {line[1] for line in closed}
    assert recomputed(engine, OCTOBER, tmp_path / "before") == closed
    change_everything(engine, one, other)
    assert recomputed(engine, OCTOBER, tmp_path / "after") == closed
    close(engine, NOVEMBER, LATER)
    with Session(engine) as session, session.begin():
        session.query(ResourcePeriod).filter_by(resource_id=one.id, vcpu=4).one().vcpu = 6
    assert recomputed(engine, OCTOBER, tmp_path / "later") == own_lines(engine, OCTOBER) == closed
    assert recomputed(engine, NOVEMBER, tmp_path / "november") == own_lines(engine, NOVEMBER)


def test_what_changed_while_the_month_was_being_closed_is_not_in_its_export(engine: Engine, tmp_path: Path) -> None:
    """The close read one snapshot; what was committed before it counts, what was after it does not."""
    lived_in(engine)
    with Session(engine) as session, session.begin():
        closing.close(work(session), OCTOBER)
        with Session(engine) as meanwhile, meanwhile.begin():
            meanwhile.query(UsageRecord).one().quantity = 9
            add_thing(meanwhile, thing(CITY, MAIN, running(START, None)), number="meanwhile")
    assert recomputed(engine, OCTOBER, tmp_path) == own_lines(engine, OCTOBER)


def test_a_month_closed_anew_exports_its_newest_close(engine: Engine, tmp_path: Path) -> None:
    """What changed between its two closes belongs to the second."""
    one, other = lived_in(engine)
    close(engine, OCTOBER, END + HOUR)
    first = own_lines(engine, OCTOBER)
    change_everything(engine, one, other)
    with Session(engine) as session, session.begin():
        asks, agrees = people(session)
        closing.ask_to_reopen(work(session, asks), OCTOBER, "late usage")
        closing.agree_to_reopen(work(session, agrees), OCTOBER)
    with Session(engine) as session, session.begin():
        session.query(UsageRecord).one().quantity = 11
    close(engine, OCTOBER, END + HOUR)
    with Session(engine) as session, session.begin():
        session.query(UsageRecord).one().quantity = 12
    assert recomputed(engine, OCTOBER, tmp_path) == own_lines(engine, OCTOBER) != first


def test_an_export_that_would_not_give_the_closed_fen_is_refused(
    engine: Engine, owner_engine: Engine, tmp_path: Path
) -> None:
    """A price changed behind the guards leaves no hint; auditor and recount are told, and there are no wrong files."""
    lived_in(engine)
    close(engine, OCTOBER, END + HOUR)
    with Session(owner_engine) as session, session.begin():
        session.execute(text("ALTER TABLE broker.tariff_price DISABLE TRIGGER USER"))
        session.query(TariffPrice).filter_by(meter="public_ip").one().price_cny = Decimal(21)
    with Session(engine) as session, pytest.raises(Conflict) as refused:
        export(session, OCTOBER, LATER, tmp_path / "out")
    assert (refused.value.code, (tmp_path / "out").exists()) == ("month.facts_changed", False)
    with Session(engine) as session, session.begin():
        assert {one.code for one in verify(session, OCTOBER)} == {"facts.changed"}
