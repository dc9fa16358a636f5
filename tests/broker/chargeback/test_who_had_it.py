"""A resource goes to another unit with its system: each payer owes its own seconds, and what is closed stays closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from broker.chargeback import closing, overviews, service
from broker.chargeback.export import export
from broker.chargeback.models import Statement
from broker.chargeback.offline import rate_files
from broker.chargeback.verify import verify
from broker.db.base import new_id
from broker.inventory import owners
from broker.inventory.models import InformationSystem, Resource, ResourceOwner
from tests.broker.chargeback.money_oracle import Window, bill
from tests.broker.chargeback.money_worlds import (
    CITY,
    COUNTY,
    DEPARTMENT,
    DIVISIONS,
    LONG_AGO,
    MAIN,
    REGION,
    UNITS,
    Thing,
    store,
)
from tests.broker.chargeback.small_region import END, HOUR, OCTOBER, PRICES, START, running, thing, work, world
from tests.broker.chargeback.test_closing import LATER, NOVEMBER
from tests.broker.chargeback.test_rated_worlds import ROLLED_BACK, amount_of, read_rows

ODD = timedelta(microseconds=700_001)


def of_a_system(session: Session, one: Thing) -> InformationSystem:
    """A system of the thing's unit that has it."""
    system = InformationSystem(
        id=new_id(), code=f"s {one.id}", unit_id=one.unit, name="s", mlps_level=2, function="", scope_of_use="",
        frequency_of_use="", approving_department="", funding_source="",
    )  # fmt: skip
    session.add(system)
    session.flush()
    session.execute(update(Resource).where(Resource.id == one.id).values(system_id=system.id, state="active"))
    return system


def goes(session: Session, system: InformationSystem, unit: UUID, at: datetime) -> None:
    """As the register moves it, without the quotas."""
    at_work = work(session, now=at)
    what = owners.lock(at_work, [system.id])[system.id]
    system.unit_id = unit
    session.flush()
    owners.hand_over(at_work, what, unit)


def owed(session: Session, month: object) -> dict[UUID, int]:
    rows = session.execute(select(Statement.payer_unit_id, Statement.total_fen).where(Statement.month == month))
    return {row.payer_unit_id: row.total_fen for row in rows}


def test_each_payer_owes_the_seconds_it_had_the_resource_and_a_closed_month_stays(session: Session) -> None:
    """Art. 16(2): until the move the city, from that second on the region; later moves change no closed month."""
    one = thing(CITY, MAIN, running(START, None))
    store(session, world(one))
    system = of_a_system(session, one)
    goes(session, system, DEPARTMENT, START + 100 * HOUR + ODD)
    assert closing.close(work(session), OCTOBER).lines == 2
    october = {CITY: 36 * 100, REGION: 36 * (744 - 100)}
    assert owed(session, OCTOBER.first_day) == october

    back = END + 48 * HOUR + ODD
    for unit in (COUNTY, DEPARTMENT, CITY):  # three times within one second: each follows the one before
        goes(session, system, unit, back)
    assert verify(session, OCTOBER) == ()
    closing.close(work(session, now=LATER), NOVEMBER)
    assert owed(session, OCTOBER.first_day) == october
    assert owed(session, NOVEMBER.first_day) == {CITY: 36 * (720 - 48), REGION: 36 * 48}
    spans = session.scalars(select(ResourceOwner).order_by(ResourceOwner.during)).all()
    assert [s.unit_id for s in spans] == [CITY, DEPARTMENT, COUNTY, DEPARTMENT, CITY]
    assert [s.during.upper for s in spans[:-1]] == [s.during.lower for s in spans[1:]]
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))


@settings(max_examples=12, deadline=None, suppress_health_check=ROLLED_BACK)
@given(asked=st.lists(st.tuples(st.integers(0, 5_000_000), st.sampled_from(list(UNITS))), max_size=6))
def test_however_often_it_goes_every_second_is_billed_once_to_who_had_it(
    session: Session, asked: list[tuple[int, UUID]]
) -> None:
    """Any moves, many within one second: the bill is the oracle's for owners told one after the other."""
    one = thing(CITY, MAIN, running(START, None, vcpu=3, memory=1))
    had: list[tuple[UUID, Window]] = [(CITY, (LONG_AGO, None))]
    trial = session.begin_nested()
    try:
        store(session, world(one))
        system = of_a_system(session, one)
        for offset, unit in sorted(asked, key=lambda each: each[0]):
            at = START + timedelta(microseconds=offset)
            goes(session, system, unit, at)
            if unit != had[-1][0]:
                since = max(at.replace(microsecond=0), had[-1][1][0] + timedelta(seconds=1))
                had[-1] = (had[-1][0], (had[-1][1][0], since))
                had.append((unit, (since, None)))
        lines = service.preview(session, OCTOBER).lines
        got = {(x.payer_unit_id, x.resource_id, x.meter, x.tariff_price_id): x.amount_fen for x in lines}
    finally:
        trial.rollback()
        session.expunge_all()
    told = world(replace(one, owners=tuple(had)))
    expected, gaps = bill(told.uses, told.prices, told.month, told.until, places=told.places, payers=told.payers)
    assert not gaps
    assert got == {key: line.fen for key, line in expected.items()}
    assert sum(x.quantity_seconds for x in lines) == 4 * (END - START).total_seconds()


def test_two_units_of_one_payer_are_one_line_rounded_once(session: Session, tmp_path: Path) -> None:
    """60 s and 60 s of 0.36 an hour are 1.2 fen together, not 1 and 1; an auditor with the files comes to the same."""
    one = thing(CITY, MAIN, running(START, START + timedelta(seconds=120)))
    store(session, world(one))
    goes(session, of_a_system(session, one), COUNTY, START + timedelta(seconds=60))
    [line] = service.preview(session, OCTOBER).lines
    assert (line.payer_unit_id, line.unit_id, line.amount_fen, line.quantity_seconds) == (CITY, COUNTY, 1, Decimal(120))
    export(session, OCTOBER, OCTOBER.end, tmp_path)
    rate_files(tmp_path / "spans.csv", tmp_path / "tariff.yaml", OCTOBER, tmp_path)
    assert [amount_of(row) for row in read_rows(tmp_path)] == [(Fraction(120), 1)]
    assert tmp_path.joinpath("totals.csv").read_text().split()[1] == f"u{CITY.int},{DIVISIONS[COUNTY]},1"


def test_a_mover_of_two_units_is_shown_as_the_one_s_that_had_it_last(session: Session) -> None:
    """Lines of the price before are one unit's, of the price after another's; whichever way it went."""
    change = START + 50 * HOUR
    prices = [replace(PRICES[0], id=new_id(), window=part) for part in ((LONG_AGO, change), (change, None))]
    down, up = thing(CITY, MAIN, running(START, None)), thing(COUNTY, MAIN, running(START, None))
    store(session, world(down, up, prices=prices))
    for one, unit in ((down, COUNTY), (up, CITY)):
        goes(session, of_a_system(session, one), unit, START + 100 * HOUR)
    closing.issue(work(session), OCTOBER)
    found = overviews.payer(work(session), CITY, OCTOBER).movers
    assert {row.resource_id: row.unit_name for row in found} == {down.id: "unit 4", up.id: "unit 2"}


def test_the_database_keeps_whose_it_is_and_whose_it_was_together(session: Session) -> None:
    """Nobody writes the unit without a date, a date into a month that is closed, or two owners of one second."""
    one = thing(CITY, MAIN, running(START, None))
    store(session, world(one))
    goes(session, of_a_system(session, one), COUNTY, START + HOUR)
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    with pytest.raises(IntegrityError, match="since when"), session.begin_nested():
        session.execute(update(Resource).where(Resource.id == one.id).values(unit_id=DEPARTMENT))
    second = {"resource_id": one.id, "unit_id": CITY, "during": Range(START + 2 * HOUR, None)}
    with pytest.raises(IntegrityError, match="ex_resource_owner"), session.begin_nested():
        session.execute(insert(ResourceOwner).values(id=new_id(), **second))
    closing.close(work(session), OCTOBER)
    with pytest.raises(IntegrityError, match="month that is closed"), session.begin_nested():
        goes(session, session.scalars(select(InformationSystem)).one(), DEPARTMENT, END - HOUR)
