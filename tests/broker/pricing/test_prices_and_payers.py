"""Prices and payers in the database at an instant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloud
from broker.db.base import new_id
from broker.errors import Conflict
from broker.pricing import service
from broker.pricing.models import Payer, TariffPrice
from broker.pricing.values import PayerRule
from broker.tenancy.models import Unit, UnitPeriod

START = datetime(2026, 1, 1, tzinfo=UTC)
CHANGE = datetime(2026, 10, 15, 4, 0, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@contextmanager
def statements(session: Session) -> Iterator[list[str]]:
    """The SQL that is sent meanwhile."""
    seen: list[str] = []
    connection = session.connection()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    yield seen
    event.remove(connection, "before_cursor_execute", note)


@pytest.fixture
def cloud(session: Session) -> UUID:
    made = SubCloud(
        code="main",
        name="main",
        tier="main",
        provider="simulated",
        options={},
        mlps_level=3,
        zones=["shared"],
        unified_management=True,
        position=1,
    )
    session.add(made)
    session.flush()
    return made.id


def price(meter: str, cny: str, cloud: UUID | None, start: datetime, end: datetime | None = None) -> TariffPrice:
    return TariffPrice(
        meter=meter,
        sub_cloud_id=cloud,
        price_cny=Decimal(cny),
        per="month",
        version=cny,
        source="test",
        during=Range(start, end, bounds="[)"),
    )


def tree(session: Session, *codes: str, ends: datetime | None = None) -> list[UUID]:
    """Units one below the other, root first."""
    units = [Unit(id=new_id(), code=code, kind="city") for code in codes]
    session.add_all(units)
    session.flush()
    ids = [unit.id for unit in units]
    for depth, unit_id in enumerate(ids):
        session.add(
            UnitPeriod(
                unit_id=unit_id,
                parent_id=ids[depth - 1] if depth else None,
                name=codes[depth],
                ancestors=ids[: depth + 1],
                during=Range(START, ends, bounds="[)"),
            )
        )
    session.flush()
    return ids


def payer(unit: UUID, pays: UUID, rule: str, start: datetime = START, end: datetime | None = None) -> Payer:
    return Payer(
        unit_id=unit, tier="main", payer_unit_id=pays, rule=rule, article="", during=Range(start, end, bounds="[)")
    )


def test_a_sub_clouds_own_price_stands_instead_of_the_general_one(session: Session, cloud: UUID) -> None:
    """Only while it is valid, and in one statement."""
    session.add_all(
        [
            price("vcpu", "10", None, START),
            price("vcpu", "7", cloud, CHANGE),
            price("memory", "3", None, START),
        ]
    )
    session.flush()
    with statements(session) as seen:
        found = service.prices_at(session, sub_cloud_id=cloud, at=CHANGE)
    assert [(p.meter, p.price_cny) for p in found] == [("memory", Decimal(3)), ("vcpu", Decimal(7))]
    assert len(seen) == 1
    assert [p.price_cny for p in service.prices_at(session, sub_cloud_id=cloud, at=CHANGE - SECOND)] == [3, 10]
    assert [p.price_cny for p in service.prices_at(session, sub_cloud_id=None, at=CHANGE)] == [3, 10]
    assert service.prices_at(session, sub_cloud_id=cloud, at=START - SECOND) == ()


def test_a_new_price_holds_from_its_second_on(session: Session, cloud: UUID) -> None:
    """[from, to): the first second of the new version is not the old one's."""
    session.add_all([price("vcpu", "10", None, START, CHANGE), price("vcpu", "12.5", None, CHANGE)])
    session.flush()
    totals = [
        service.quote_for(session, {"vcpu": 2}, cloud, at).total_fen
        for at in (CHANGE - SECOND, CHANGE, CHANGE + SECOND)
    ]
    assert totals == [2000, 2500, 2500]


def test_two_versions_of_one_price_cannot_overlap(session: Session, cloud: UUID) -> None:
    """The database refuses it, for a sub-cloud as for all."""
    for where in (None, cloud):
        session.add(price("vcpu", "10", where, START))
        session.flush()
        refused = session.begin_nested()
        session.add(price("vcpu", "11", where, CHANGE))
        with pytest.raises(IntegrityError):
            session.flush()
        refused.rollback()


def test_the_nearest_unit_with_a_rule_says_who_pays(session: Session) -> None:
    """Own rule before the parent's before the region's, as of the day."""
    region, city, county = tree(session, "region", "city", "county")
    session.add_all(
        [
            payer(region, region, "region_budget"),
            payer(city, city, "city_without_cloud", CHANGE),
            payer(county, region, "poor_county", CHANGE + SECOND),
        ]
    )
    session.flush()
    with statements(session) as seen:
        first = service.payer_of(session, county, "main", CHANGE - SECOND)
    assert len(seen) == 1
    assert first == PayerRule(region, "region_budget", "")
    assert service.payer_of(session, county, "main", CHANGE) == PayerRule(city, "city_without_cloud", "")
    assert service.payer_of(session, county, "main", CHANGE + SECOND) == PayerRule(region, "poor_county", "")
    assert service.payer_of(session, city, "main", CHANGE + SECOND).rule == "city_without_cloud"


def test_without_a_rule_nobody_is_guessed(session: Session) -> None:
    """Another tier, another time, a unit that is no more: refused."""
    (region,) = tree(session, "region", ends=CHANGE)
    session.add(payer(region, region, "region_budget"))
    session.flush()
    for tier, at in (("city", START), ("main", START - SECOND), ("main", CHANGE)):
        with pytest.raises(Conflict) as refused:
            service.payer_of(session, region, tier, at)
        assert refused.value.code == "payer.missing"
