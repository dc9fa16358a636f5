"""A sub-cloud that goes to another operator in mid-month: each priced and settled for its own time, to the second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloudOperator
from broker.chargeback import closing, service, views_sql
from broker.chargeback.access import Scope
from broker.chargeback.export import export
from broker.chargeback.models import Settlement, SettlementLine, Statement
from broker.chargeback.offline import rate_files
from broker.chargeback.verify import verify
from broker.db.base import new_id
from broker.errors import Invalid
from broker.inventory.models import ResourcePeriod
from broker.pricing.models import TariffPrice
from broker.region import closed
from broker.region.dated import Wanted
from broker.region.rows import BEGINNING, Run
from tests.broker.chargeback.money_oracle import PriceRow, bill
from tests.broker.chargeback.money_worlds import CITY, CLOUDS, DEPARTMENT, LONG_AGO, MAIN, Operating, during, store
from tests.broker.chargeback.small_region import (
    ALWAYS,
    END,
    HOUR,
    NOW,
    OCTOBER,
    PRICES,
    START,
    running,
    thing,
    work,
    world,
)
from tests.broker.chargeback.test_rated_worlds import amount_of, read_rows
from tests.broker.region.editing import AS_SHIPPED

CHANGE = START + timedelta(days=11, seconds=4567)
SECOND = timedelta(seconds=1)
OURS = [
    *PRICES,
    PriceRow(new_id(), "vcpu_x86_64", None, "0.29", "hour", ALWAYS, operator="new"),
    PriceRow(new_id(), "block_gib_ssd", None, "0.7", "month", ALWAYS, free="90"),
]
OTHER = thing(CITY, MAIN, running(START + HOUR, END - HOUR, vcpu=1, disk=55))
SERVER = thing(CITY, MAIN, running(START + SECOND, None, vcpu=3, disk=70))
"""The second by its id, the first to begin: what is free it takes first under one operator, second under the next."""
GONE = thing(DEPARTMENT, MAIN, running(START, CHANGE))
WORLD = replace(
    world(SERVER, OTHER, GONE, prices=[*OURS[:2], *OURS[3:]]),
    operators=[
        Operating(MAIN, "old", (LONG_AGO, CHANGE)),
        Operating(MAIN, "new", (CHANGE, None)),
        *(Operating(cloud, "two", ALWAYS) for cloud in CLOUDS if cloud != MAIN),
    ],
)


def settlement(meter: str, price: str, *, operator: str | None = None) -> TariffPrice:
    return TariffPrice(
        side="settlement", meter=meter, operator=operator, sub_cloud_id=None if operator else MAIN,
        price_cny=Decimal(price), per="hour", version="s", source="test", during=Range(LONG_AGO, None),
    )  # fmt: skip


@pytest.fixture
def books(engine: Engine) -> Iterator[Session]:
    """October is closed."""
    with Session(engine) as session, session.begin():
        store(session, WORLD)
        session.add_all([settlement("vcpu_x86_64", "0.21"), settlement("block_gib_ssd", "0.0003", operator="old")])
        session.add(settlement("block_gib_ssd", "0.0007", operator="new"))
        session.flush()
        closing.close(work(session), OCTOBER)
    with Session(engine) as session:
        yield session


def test_whoever_has_a_price_needs_one_for_all_of_its_time_and_whoever_has_none_is_named(session: Session) -> None:
    """A second of its own time without a price stops the close, another's does not; nobody is named for nothing."""
    hour = CHANGE + HOUR
    mine = [
        Operating(MAIN, "unpriced", (LONG_AGO, CHANGE)),
        Operating(MAIN, "priced", (CHANGE, hour)),
        Operating(MAIN, "idle", (hour, None)),
    ]
    server = thing(CITY, MAIN, running(START, hour))
    store(session, replace(world(server), operators=[*mine, *WORLD.operators[2:]]))
    price = settlement("vcpu_x86_64", "0.21", operator="priced")
    price.during = Range(CHANGE + SECOND, None)
    session.add(price)
    session.flush()
    with pytest.raises(Invalid) as refused:
        closing.close(work(session), OCTOBER)
    assert [(p.code, p.field, p.params["operator"]) for p in refused.value.problems] == [
        ("settlement.price_missing", str(MAIN), "priced")
    ]
    price.during = Range(CHANGE, None)
    session.flush()
    assert closing.close(work(session), OCTOBER).unsettled == ("unpriced",)
    owed = session.execute(select(Settlement.operator, Settlement.total_fen)).all()
    assert sorted(map(tuple, owed)) == [("priced", 21), ("unpriced", 0)]
    assert verify(session, OCTOBER) == ()


def test_each_operator_has_its_own_time(books: Session, tmp_path: Path) -> None:
    """Lines, settlements, an auditor's files, a recount, late usage; and nobody changes it afterwards."""
    _lines_are_those_of_the_oracle(books)
    _each_is_owed_for_what_it_supplied(books)
    _the_auditor_comes_to_the_same_fen(books, tmp_path)
    assert verify(books, OCTOBER) == ()
    _a_line_names_whose_price_it_is(books)
    _what_was_billed_keeps_its_operator(books)
    _the_region_file_is_told_the_place_and_the_first_day(books)
    _late_usage_is_settled_with_whoever_supplied_it(books)


def _lines_are_those_of_the_oracle(books: Session) -> None:
    expected, gaps = bill(WORLD.uses, WORLD.prices, WORLD.month, END, places=WORLD.places, payers=WORLD.payers)
    assert not gaps
    shown = service.preview(books, OCTOBER, until=END)
    assert {
        (x.payer_unit_id, x.resource_id, x.meter, x.tariff_price_id): (Fraction(x.quantity_seconds), x.amount_fen)
        for x in shown.lines
    } == {key: (line.seconds, line.fen) for key, line in expected.items()}
    cut = [x for x in shown.lines if (x.resource_id, x.meter) == (SERVER.id, "vcpu_x86_64")]
    before, after = (CHANGE - START - SECOND).total_seconds(), (END - CHANGE).total_seconds()
    assert {(x.price_cny, x.quantity_seconds) for x in cut} == {
        (Decimal("0.36"), Decimal(3 * int(before))), (Decimal("0.29"), Decimal(3 * int(after))),
    }  # fmt: skip
    whole = [x for x in shown.lines if (x.resource_id, x.meter) == (SERVER.id, "block_gib_ssd")]
    assert [x.quantity_seconds for x in whole] == [70 * int(before + after)]


def _owed(session: Session) -> dict[tuple[str, str], tuple[int, int]]:
    rows = session.execute(
        select(Settlement.operator, SettlementLine.meter, SettlementLine.quantity_seconds, SettlementLine.amount_fen)
        .join(Settlement, Settlement.id == SettlementLine.settlement_id)
        .where(Settlement.close_id == session.scalar(text("SELECT id FROM broker.month_close ORDER BY month DESC")))
    )
    return {(row[0], row[1]): (int(row[2]), row[3]) for row in rows}


def _each_is_owed_for_what_it_supplied(books: Session) -> None:
    prices = {
        ("old", "vcpu_x86_64"): "0.21", ("new", "vcpu_x86_64"): "0.21",
        ("old", "block_gib_ssd"): "0.0003", ("new", "block_gib_ssd"): "0.0007",
    }  # fmt: skip
    expected = {}
    for (operator, meter), price in prices.items():
        used = [use for use in WORLD.uses if (use.operator, use.meter) == (operator, meter)]
        seconds = sum(
            int(use.quantity) * int((min(use.window[1] or END, END) - max(use.window[0], START)).total_seconds())
            for use in used
        )
        expected[operator, meter] = seconds, round(Fraction(price) * 100 * seconds / 3600)
    assert _owed(books) == expected


def _the_auditor_comes_to_the_same_fen(books: Session, folder: Path) -> None:
    export(books, OCTOBER, END, folder)
    rate_files(folder / "spans.csv", folder / "tariff.yaml", OCTOBER, folder)
    shown = service.preview(books, OCTOBER, until=END)
    assert sorted((x["resource_id"], x["meter"], amount_of(x)) for x in read_rows(folder)) == sorted(
        (str(x.resource_id), x.meter, (Fraction(x.quantity_seconds), x.amount_fen)) for x in shown.lines
    )


def _set(books: Session, row: SubCloudOperator, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    books.flush()


def _ends(books: Session, row: SubCloudOperator, at: datetime) -> None:
    _set(books, row, {"during": Range(row.during.lower, at)})
    books.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))


def _a_line_names_whose_price_it_is(books: Session) -> None:
    everything = Scope(everything=True, root_unit_id=None, payer_unit_id=None, whole_region=True)
    lines = [
        line
        for statement_id in books.scalars(select(Statement.id))
        for line in views_sql.every_line(books, statement_id, everything)
    ]
    named = {(line.meter, line.operator) for line in lines if line.resource_id == SERVER.id}
    # A general price names no operator: the line names those of its own seconds. The other's processor is priced apart.
    assert named == {("vcpu_x86_64", "old"), ("vcpu_x86_64", "new"), ("block_gib_ssd", "old + new")}
    assert {line.operator for line in lines if line.resource_id == GONE.id} == {"old"}


def _what_was_billed_keeps_its_operator(books: Session) -> None:
    rows = {row.operator: row for row in books.scalars(select(SubCloudOperator).filter_by(sub_cloud_id=MAIN))}
    refused: tuple[tuple[str, dict[str, object]], ...] = (
        ("old", {"operator": "elsewhere"}),
        ("old", {"during": Range(None, CHANGE - SECOND)}),
        ("new", {"during": Range(CHANGE, END - SECOND)}),
    )
    for operator, values in refused:
        with pytest.raises(IntegrityError, match="closed_is_priced"), books.begin_nested():
            _set(books, rows[operator], values)
        books.refresh(rows[operator])
    with pytest.raises(IntegrityError, match="operated_always"), books.begin_nested():
        _ends(books, rows["new"], END)  # nobody would operate it from then on
    books.refresh(rows["new"])
    with books.begin_nested() as trial:
        books.execute(text("SET CONSTRAINTS ALL DEFERRED"))
        rows["new"].during = Range(CHANGE, END)
        books.flush()
        books.add(SubCloudOperator(sub_cloud_id=MAIN, operator="third", during=Range(END, None)))
        books.flush()
        books.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        assert verify(books, OCTOBER) == ()
        trial.rollback()
    books.expire_all()
    books.execute(text("SET CONSTRAINTS ALL DEFERRED"))


def _the_region_file_is_told_the_place_and_the_first_day(books: Session) -> None:
    """A change into the closed month, and one of a cloud that nobody has used, whose past is free."""
    run = Run(books, AS_SHIPPED, START)  # so long ago that the rows themselves would still allow it
    industry = next(cloud for cloud, tier in CLOUDS.items() if tier == "industry")
    run.dated(
        SubCloudOperator,
        ("sub_cloud_id",),
        [
            Wanted((cloud,), at, {"operator": name}, f"sub_clouds[{n}].operator_changes[0]")
            for n, (cloud, at, name) in enumerate(
                ((MAIN, END - HOUR, "third"), (industry, END - HOUR, "third"), (MAIN, END, "fourth"))
            )
        ],
    )
    closed.refuse(run)
    assert [(p.code, p.field, p.params["from"]) for p in run.problems] == [
        ("region.closed", "sub_clouds[0].operator_changes[0].from", "2026-11-01")
    ]
    run = Run(books, AS_SHIPPED, NOW)
    _wanted(run, ("old", BEGINNING), ("new", CHANGE), ("third", END + HOUR))  # late in an open month: nobody is harmed
    closed.refuse(run)
    assert (run.problems, len(run.inserts[SubCloudOperator])) == ([], 1)
    run = Run(books, AS_SHIPPED, NOW)
    _wanted(run, ("oId", BEGINNING), ("new", CHANGE))
    closed.refuse(run)
    assert [(p.code, p.field, p.params["operator"]) for p in run.problems] == [("region.operator_closed", "oId", "old")]
    run = Run(books, AS_SHIPPED, NOW)
    run.dated(SubCloudOperator, ("sub_cloud_id",), [Wanted((MAIN,), BEGINNING, {"operator": "old"}, "here")])
    assert (run.problems, dict(run.inserts), dict(run.updates)) == ([], {}, {})


def _wanted(run: Run, *rules: tuple[str, datetime]) -> None:
    wanted = [Wanted((MAIN,), since, {"operator": name}, name) for name, since in rules]
    run.dated(SubCloudOperator, ("sub_cloud_id",), wanted, open_past=True)


def _late_usage_is_settled_with_whoever_supplied_it(books: Session) -> None:
    """Two hours of October that came late, one before and one after the change."""
    late = thing(CITY, MAIN)
    books.execute(
        text("""
        INSERT INTO broker.resource (id, number, kind, origin, unit_id, sub_cloud_id, project_id, name, spec, state)
        SELECT :new, 'R-late', kind, origin, unit_id, sub_cloud_id, project_id, 'late', spec, state
        FROM broker.resource WHERE id = :like
        """),
        {"new": late.id, "like": SERVER.id},
    )
    books.add(
        ResourcePeriod(
            resource_id=late.id, state="active", cpu_arch="x86_64", vcpu=1, memory_gib=0, block_gib=0,
            during=during((CHANGE - HOUR, CHANGE + HOUR)),
        )
    )  # fmt: skip
    books.flush()
    november = OCTOBER.next
    closing.close(work(books, now=november.end + HOUR), november)
    rows = books.execute(
        select(Settlement.operator, SettlementLine.quantity_seconds)
        .join(Settlement, Settlement.id == SettlementLine.settlement_id)
        .where(SettlementLine.usage_month == OCTOBER.first_day, SettlementLine.meter == "vcpu_x86_64")
    ).all()
    per: dict[str, list[int]] = {"old": [], "new": []}
    for operator, seconds in rows:
        per[operator].append(int(seconds))
    assert {operator: min(found) for operator, found in per.items()} == {"old": 3600, "new": 3600}
    assert verify(books, OCTOBER) == ()
    assert verify(books, november) == ()
    books.rollback()
