"""What a closed month cost cannot be changed by a price or payer of another key that begins in the past."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from broker.chargeback import closing
from broker.chargeback.verify import verify
from broker.pricing.models import Payer, TariffPrice
from broker.region import closed
from broker.region.dated import Wanted
from broker.region.rows import Run
from tests.broker.chargeback.money_worlds import CITY, DEPARTMENT, MAIN, REGION, store
from tests.broker.chargeback.small_region import END, HOUR, OCTOBER, START, running, thing, work, world
from tests.broker.chargeback.test_closing import people
from tests.broker.region.editing import AS_SHIPPED

KEY = ("side", "meter", "sub_cloud_id", "operator", "unit_class", "term_months")


@pytest.fixture
def books(engine: Engine) -> Iterator[Session]:
    """October is closed: a department and a city on the main cloud. The test has a transaction of its own."""
    with Session(engine) as session, session.begin():
        store(session, world(*(thing(unit, MAIN, running(START, None, vcpu=2)) for unit in (DEPARTMENT, CITY))))
        closing.close(work(session), OCTOBER)
    with Session(engine) as session:
        yield session


def price(since: datetime, **said: Any) -> TariffPrice:
    key = {"side": "charge", "meter": "vcpu_x86_64"} | said
    return TariffPrice(
        price_cny=Decimal("0.01"), per="hour", version="v", source="test", during=Range(since, None), **key
    )


def payer(since: datetime, unit: UUID, **said: Any) -> Payer:
    key = {"tier": "main"} | said
    return Payer(unit_id=unit, payer_unit_id=unit, rule="r", article="", during=Range(since, None), **key)


def _add(session: Session, row: TariffPrice | Payer) -> None:
    session.add(row)
    session.flush()


def _change(session: Session, row: TariffPrice, name: str, value: object) -> None:
    setattr(row, name, value)
    session.flush()


NEARER: dict[str, Any] = {
    "for a class of units": lambda since: price(since, unit_class="city"),
    "for a cloud": lambda since: price(since, sub_cloud_id=MAIN),
    "for an operator": lambda since: price(since, operator="one"),
    "for a term": lambda since: price(since, term_months=12),
    "for operators": lambda since: price(since, side="settlement"),
    "a payer below": lambda since: payer(since, DEPARTMENT),
    "a payer for the cloud": lambda since: payer(since, REGION, sub_cloud_id=MAIN),
}


def test_a_nearer_one_may_not_begin_in_a_closed_month(books: Session) -> None:
    """A second before the month's end it is refused, from its end it may."""
    for nearer in NEARER.values():
        with pytest.raises(IntegrityError, match="closed_is_priced"), books.begin_nested():
            _add(books, nearer(END - HOUR / 3600))
        _add(books, nearer(END))
    assert verify(books, OCTOBER) == ()
    _its_end_may_be_set_after_it(books)
    _the_region_file_is_told_the_place_and_the_first_day(books)
    _an_open_month_and_a_new_meter_are_free(books)


def _its_end_may_be_set_after_it(books: Session) -> None:
    own = books.query(TariffPrice).filter_by(meter="memory_gib").one()
    for name, value in (("during", Range(own.during.lower, END - HOUR)), ("discount", Decimal("0.5"))):
        with pytest.raises(IntegrityError, match="closed_is_priced"), books.begin_nested():
            _change(books, own, name, value)
        books.refresh(own)
    _change(books, own, "during", Range(own.during.lower, END + HOUR))


def _the_region_file_is_told_the_place_and_the_first_day(books: Session) -> None:
    run = Run(books, AS_SHIPPED, END + HOUR)
    values = {"price_cny": Decimal(1), "per": "hour", "version": "v", "source": "s"}
    kinds = {"prices[3]": ("county", END - HOUR), "prices[4]": ("department", END)}
    run.dated(
        TariffPrice,
        KEY,
        [
            Wanted(("charge", "vcpu_x86_64", None, None, kind, 0), at, values, here)
            for here, (kind, at) in kinds.items()
        ],
    )
    who = {"payer_unit_id": CITY, "rule": "r", "article": ""}
    run.dated(Payer, ("unit_id", "tier", "sub_cloud_id"), [Wanted((CITY, "main", MAIN), START, who, "payers[9]")])
    closed.refuse(run)
    assert [(p.code, p.field, p.params["from"]) for p in run.problems] == [
        ("region.closed", "prices[3].from", "2026-11-01"),
        ("region.closed", "payers[9].from", "2026-11-01"),
    ]


def _an_open_month_and_a_new_meter_are_free(books: Session) -> None:
    """What no price was ever for was not used; of a month that two people opened again nothing is closed."""
    for said in ({}, {"unit_class": "city"}, {"side": "settlement"}):
        _add(books, price(START, meter="gpu", **said))
    asks, agrees = people(books)
    closing.ask_to_reopen(work(books, asks), OCTOBER, "a price was forgotten")
    closing.agree_to_reopen(work(books, agrees), OCTOBER)
    _add(books, price(START, unit_class="county"))
