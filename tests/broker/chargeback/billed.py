"""A small region whose statements for two months are drawn: hourly and monthly prices, a discount, a free quantity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from broker.chargeback import closing
from broker.chargeback.models import Statement
from broker.db.base import new_id
from broker.inventory.models import InformationSystem
from broker.lifecycle import Role
from broker.pricing.models import TariffPrice
from broker.pricing.months import Month
from broker.tenancy.models import Account
from broker.tenancy.values import Actor
from tests.broker.chargeback.money_oracle import PriceRow, month_window
from tests.broker.chargeback.money_worlds import (
    CITY,
    CITY_CLOUD,
    COUNTY,
    DEPARTMENT,
    INDUSTRY,
    LONG_AGO,
    MAIN,
    OTHER_CITY,
    Thing,
    World,
    during,
    store,
)
from tests.broker.chargeback.small_region import (
    ALWAYS,
    END,
    NOW,
    OCTOBER,
    PAYERS,
    PLACES,
    START,
    begin_books,
    running,
    work,
)

SEPTEMBER = Month(2026, 9)
BEFORE = month_window(2026, 9)[0]
CHANGE = START + timedelta(days=9, seconds=12345)
PRICES = [
    PriceRow(new_id(), "vcpu_x86_64", None, "0.36", "hour", (LONG_AGO, CHANGE), free="100.5"),
    PriceRow(new_id(), "vcpu_x86_64", None, "0.33333333", "hour", (CHANGE, None)),
    PriceRow(new_id(), "memory_gib", None, "17", "month", ALWAYS, discount="0.95"),
    PriceRow(new_id(), "block_gib_ssd", None, "0.9", "month", ALWAYS),
]


@dataclass(frozen=True)
class Billed:
    """What was drawn: the world's resources and the statements of October by payer."""

    session: Session
    city: Thing
    county: Thing
    statements: dict[UUID, UUID]


def person(session: Session, role: Role, unit: UUID) -> Actor:
    """Somebody with an account: what they decide refers to it."""
    account = Account(id=new_id(), login=f"{role.value}-{new_id()}", unit_id=unit, password_hash=None)
    session.add(account)
    session.flush()
    return Actor(account.id, unit, frozenset({role}), account.login)


def bill(session: Session) -> Billed:
    """Draw September and October: the city's server grows in October, its county's is new, its disk is gone."""
    city = Thing(
        new_id(),
        CITY,
        MAIN,
        (running(BEFORE, START, vcpu=2, memory=4, disk=100), running(START, None, vcpu=4, memory=8)),
    )
    county = Thing(new_id(), COUNTY, MAIN, (running(START + timedelta(seconds=1001), None, vcpu=3, memory=7),))
    others = [
        Thing(new_id(), DEPARTMENT, MAIN, (running(BEFORE, None, vcpu=2),)),
        Thing(new_id(), DEPARTMENT, INDUSTRY, (running(BEFORE, None, vcpu=8, memory=16),)),
        Thing(new_id(), OTHER_CITY, CITY_CLOUD, (running(BEFORE, START + timedelta(days=3), disk=33),)),
    ]
    store(session, World((2026, 10), END, PLACES, PAYERS, PRICES, [city, county, *others]))
    system = InformationSystem(
        id=new_id(), code="XT-1", unit_id=CITY, name="不动产登记系统", mlps_level=3, function="登记",
        scope_of_use="全市", frequency_of_use="每日", approving_department="u1", approved_on=None,
        funding_source="财政", owner_person_id=None, retired_at=None,
    )  # fmt: skip
    session.add(system)
    session.flush()
    session.execute(text("UPDATE broker.resource SET system_id = :s WHERE id = :r"), {"s": system.id, "r": city.id})
    session.execute(text("UPDATE broker.sub_cloud SET division_code = '450100' WHERE tier = 'city'"))
    closing.issue(work(session), SEPTEMBER)
    begin_books(session, reason="云平台十月起计费")  # September's statements were only drawn
    drawn = closing.issue(work(session), OCTOBER)
    return Billed(session, city, county, {one.payer_unit_id: one.id for one in drawn})


def close(session: Session, month: Month = OCTOBER) -> dict[UUID, UUID]:
    """Close a month; its statements by payer."""
    closed = closing.close(work(session, now=max(NOW, month.end)), month)
    rows = session.execute(select(Statement.payer_unit_id, Statement.id).where(Statement.close_id == closed.id))
    return {row.payer_unit_id: row.id for row in rows}


def settle(session: Session, operator: str = "one") -> None:
    """Agree with an operator on what it is owed."""
    for meter in ("vcpu_x86_64", "memory_gib", "block_gib_ssd"):
        price = TariffPrice(
            side="settlement", meter=meter, operator=operator, price_cny=Decimal("0.11"), per="hour",
            version="settle-2026", source="test", during=during(ALWAYS),
        )  # fmt: skip
        session.add(price)
    session.flush()
