"""A small region and its bill's surroundings: who pays for what on which cloud, in October 2026, and how to write it.

Called by: the tests of this folder. A test that needs statements already drawn takes ``billed``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from broker.chargeback import beginning
from broker.db.base import new_id
from broker.lifecycle import Role
from broker.pricing.months import Month
from broker.tenancy.models import Account
from broker.tenancy.values import SYSTEM, Actor
from broker.tenancy.work import Work
from broker.workdays import load_calendar
from tests.broker.chargeback.money_oracle import PayerRow, Place, PriceRow, Window, month_window
from tests.broker.chargeback.money_worlds import (
    CITY,
    COUNTY,
    DEPARTMENT,
    LONG_AGO,
    OTHER_CITY,
    REGION,
    Period,
    Thing,
    World,
)

OCTOBER = Month(2026, 10)
START, END = month_window(2026, 10)
HOUR = timedelta(hours=1)
NOW = END + HOUR
ALWAYS: Window = (LONG_AGO, None)
PRICES = [
    PriceRow(new_id(), "vcpu_x86_64", None, "0.36", "hour", ALWAYS),
    PriceRow(new_id(), "memory_gib", None, "0.18", "hour", ALWAYS),
    PriceRow(new_id(), "block_gib_ssd", None, "0.9", "month", ALWAYS),
]
PLACES = [
    Place(REGION, (REGION,), ALWAYS),
    Place(CITY, (CITY, REGION), ALWAYS),
    Place(OTHER_CITY, (OTHER_CITY, REGION), ALWAYS),
    Place(DEPARTMENT, (DEPARTMENT, REGION), ALWAYS),
    Place(COUNTY, (COUNTY, CITY, REGION), ALWAYS),
]
PAYERS = [
    PayerRow(REGION, "main", REGION, "region_budget", "", ALWAYS),
    PayerRow(REGION, "industry", REGION, "unified_management", "Art. 16(3)", ALWAYS),
    PayerRow(CITY, "main", CITY, "city_without_cloud", "Art. 16(2)", ALWAYS),
    PayerRow(OTHER_CITY, "city", OTHER_CITY, "own_city_cloud", "", ALWAYS),
]


def thing(unit: UUID, cloud: UUID, *periods: Period) -> Thing:
    return Thing(new_id(), unit, cloud, periods)


def running(start: datetime, end: datetime | None, *, vcpu: int = 1, memory: int = 0, disk: int = 0) -> Period:
    return Period("active", vcpu, memory, disk, (start, end))


def world(*things: Thing, prices: list[PriceRow] | None = None, payers: list[PayerRow] | None = None) -> World:
    return World(
        (2026, 10),
        END,
        PLACES,
        PAYERS if payers is None else payers,
        PRICES if prices is None else prices,
        list(things),
    )


def work(session: Session, actor: Actor = SYSTEM, now: datetime = NOW) -> Work:
    return Work(session, actor, now, load_calendar(None))


def begin_books(session: Session, month: Month = OCTOBER, reason: str = "试运行", now: datetime = NOW) -> None:
    """Two people, who keep the books in any world, say where they begin."""
    ids = [new_id() for _ in range(2)]
    session.add_all(Account(id=one, login=f"books-{one}", unit_id=REGION) for one in ids)
    session.flush()
    asks, agrees = (Actor(one, REGION, frozenset({Role.ADMINISTRATOR}), "books") for one in ids)
    beginning.ask(work(session, asks, now), month, reason)
    beginning.agree(work(session, agrees, now), month)
