"""What is charged once and what is used over time keep apart; a meter has one source; a free quantity is free once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from broker.chargeback import closing, service
from broker.db.base import Base, new_id
from broker.errors import Invalid
from broker.metering.models import OneOffItem, UsageRecord
from broker.pricing.models import Payer, TariffPrice
from tests.broker.chargeback.money_oracle import PriceRow
from tests.broker.chargeback.money_worlds import CITY, LONG_AGO, MAIN, REGION, Thing, store
from tests.broker.chargeback.small_region import ALWAYS, HOUR, OCTOBER, START, running, thing, work, world
from tests.broker.chargeback.test_closing import settlement_price
from tests.broker.chargeback.test_rate_command import HEADER, read, run


def ip(thing: Thing) -> Base:
    return UsageRecord(resource_id=thing.id, meter="public_ip", quantity=1, during=Range(START, None))


def item(thing: Thing) -> Base:
    return OneOffItem(resource_id=thing.id, meter="public_ip", quantity=1, at=START + HOUR)


@pytest.mark.parametrize(
    ("per", "used"), [("once", ip), ("hour", item), ("month", item)], ids=["usage", "hourly item", "monthly item"]
)
def test_a_price_of_the_other_kind_stops_the_close(session: Session, per: str, used: Callable[[Thing], Base]) -> None:
    """Usage priced per item is no fortune, an item priced per hour not free: preview, issue and close all say so."""
    mine = thing(CITY, MAIN)
    store(session, world(mine, prices=[PriceRow(new_id(), "public_ip", None, "20", per, ALWAYS)]))
    session.add(used(mine))
    session.flush()
    shown = service.preview(session, OCTOBER)
    assert (shown.lines, [(g.meter, g.missing) for g in shown.gaps]) == ((), [("public_ip", "once")])
    assert [p.reason for p in service.totals(session, OCTOBER, until=OCTOBER.end).problems] == ["once"]
    for act in (closing.issue, closing.close):
        with pytest.raises(Invalid) as refused:
            act(work(session), OCTOBER)
        assert [p.code for p in refused.value.problems] == ["charge.once"]


def test_a_settlement_price_of_the_other_kind_stops_the_close(session: Session) -> None:
    """The operator's side is as careful as the payer's."""
    mine = thing(CITY, MAIN, running(START, None))
    store(session, world(mine))
    price = settlement_price("vcpu_x86_64", "1")
    price.operator, price.per = "one", "once"
    session.add(price)
    session.flush()
    with pytest.raises(Invalid) as refused:
        closing.close(work(session), OCTOBER)
    assert [p.code for p in refused.value.problems] == ["settlement.price_missing"]


@pytest.mark.parametrize("meter", ["vcpu_x86_64", "vcpu_new", "memory_gib", "block_gib_ssd", "ipv6_segment", ""])
def test_a_meter_of_the_periods_is_recorded_nowhere_else(session: Session, meter: str) -> None:
    """Else a size would be billed twice; the database says so, whoever writes."""
    mine = thing(CITY, MAIN, running(START, None))
    store(session, world(mine))
    record = insert(UsageRecord).values(resource_id=mine.id, meter=meter, quantity=1, during=Range(START, None))
    charged_once = insert(OneOffItem).values(resource_id=mine.id, meter=meter, quantity=1, at=START)
    for written, name in ((record, "usage_record"), (charged_once, "one_off_item")):
        with pytest.raises(IntegrityError, match=f"ck_{name}_meter"), session.begin_nested():
            session.execute(written)


def test_a_price_that_changes_in_the_month_grants_its_free_quantity_once(session: Session) -> None:
    """Ten hours are free, not twenty; where the versions differ, the most that was granted holds for the month."""
    change = START + 5 * HOUR
    mine = thing(CITY, MAIN, running(START, START + 30 * HOUR))
    prices = [
        PriceRow(new_id(), "vcpu_x86_64", None, "1", "hour", (LONG_AGO, change), free="10"),
        PriceRow(new_id(), "vcpu_x86_64", None, "2", "hour", (change, None), free="8"),
    ]
    store(session, world(mine, prices=prices))
    assert sorted(x.amount_fen for x in service.preview(session, OCTOBER).lines) == [0, 20 * 200]
    # Of another place it is another price: its own quantity is free beside.
    session.add(
        TariffPrice(meter="vcpu_x86_64", sub_cloud_id=MAIN, price_cny=Decimal(3), per="hour", version="v", source="t",
                    free_quantity=Decimal(1), during=Range(change + 20 * HOUR, None))
    )  # fmt: skip
    session.flush()
    assert sorted(x.amount_fen for x in service.preview(session, OCTOBER).lines) == [0, 4 * 300, 15 * 200]


def test_files_grant_it_once_too(tmp_path: Path) -> None:
    """And the last second before a change belongs to the old price."""
    tariff = """
prices:
  - {meter: m, price_cny: 1, per: hour, valid_from: 2020-01-01T00:00:00Z, valid_to: "2026-10-05 05Z", free_quantity: 10}
  - {meter: m, price_cny: 2, per: hour, valid_from: 2026-10-05 05Z, free_quantity: 8}
"""
    assert run(tmp_path, "r,p,c,s,m,1,2026-10-05T00:00:00Z,2026-10-06T06:00:00Z", tariff=tariff).exit_code == 0
    assert [x["amount_fen"] for x in read(tmp_path, "lines.csv")] == ["0", str(20 * 200)]


SECOND = "2026-10-05T00:00:00Z,2026-10-05T00:00:01Z"


@pytest.mark.parametrize(
    ("per", "span", "code"),
    [
        ("once", "2026-10-05T00:00:00Z,2026-10-05T00:00:02Z,", "span.once"),
        ("once", "2026-10-05T00:00:00Z,2026-10-05T00:00:02Z,once", "span.once"),
        ("hour", f"{SECOND},once", "span.once_price"),
        ("month", f"{SECOND},once", "span.once_price"),
        ("hour", f"{SECOND},twice", "span.state"),
    ],
)
def test_files_keep_the_two_kinds_apart(tmp_path: Path, per: str, span: str, code: str) -> None:
    """``state: once`` says that a span is an item; a price per item takes nothing longer than a second."""
    tariff = f"prices: [{{meter: m, price_cny: 2, per: {per}, valid_from: 2020-01-01T00:00:00Z}}]"
    done = run(tmp_path, f"r,p,c,s,m,3,{span}", tariff=tariff, header=f"{HEADER},state")
    assert (done.exit_code, f"spans.csv:2: {code}: " in done.stderr) == (1, True)


@pytest.mark.parametrize("state", ["", "active", "once"])
def test_an_item_of_one_second_is_charged_once(tmp_path: Path, state: str) -> None:
    """Whether the file says what it is or not."""
    tariff = "prices: [{meter: m, price_cny: 2, per: once, valid_from: 2020-01-01T00:00:00Z}]"
    assert run(tmp_path, f"r,p,c,s,m,3,{SECOND},{state}", tariff=tariff, header=f"{HEADER},state").exit_code == 0
    assert [x["amount_fen"] for x in read(tmp_path, "lines.csv")] == ["600"]


@pytest.mark.parametrize(
    "at",
    ["2026-10-01T00:00:00.0000009+08:00", "2026-10-01T00:00:00,5+08:00", "2026-10-01T00:00:00+08:00:00.5"],
)
def test_a_price_begins_at_a_second_to_the_last_digit(tmp_path: Path, at: str) -> None:
    """Also where Python would drop the seventh digit, or a fraction stands in the offset."""
    tariff = f"prices:\n- {{meter: vcpu, price_cny: 1, per: hour, valid_from: '{at}'}}"
    done = run(tmp_path, f"r,p,c,s,vcpu,3,{SECOND}", tariff=tariff)
    assert (done.exit_code, "tariff.yaml:2: tariff.time: " in done.stderr) == (1, True)


def test_a_payer_rule_that_changes_in_the_month_owes_both_sides_of_it(session: Session) -> None:
    """To the second: nothing falls between, nothing counts twice, and the operator is owed for all of it."""
    mine = thing(CITY, MAIN, running(START, START + 10 * HOUR))
    store(session, world(mine))
    session.query(Payer).filter_by(unit_id=CITY, tier="main").one().during = Range(
        LONG_AGO, START + timedelta(seconds=4001)
    )
    session.flush()
    lines = {x.payer_unit_id: int(x.quantity_seconds) for x in service.preview(session, OCTOBER).lines}
    assert lines == {CITY: 4001, REGION: 36000 - 4001}
