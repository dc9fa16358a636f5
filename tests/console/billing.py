"""Months of the demonstration region that have been billed: servers in departments, cities and an industry cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import closing
from broker.db.base import new_id
from broker.db.session import make_sessions
from broker.pricing.months import Month
from broker.tenancy.models import Account, Person, RoleGrant
from broker.tenancy.values import SYSTEM
from broker.tenancy.work import Work
from broker.workdays import load_calendar
from tests.broker.chargeback.money_worlds import LONG_AGO, Period, Thing, add_thing, during
from tests.console.people import Console

SERVERS = [
    # unit, cloud, vCPU, memory, disk, months ago
    ("jyt", "main", 16, 64, 2000, 5),
    ("rst", "main", 8, 32, 500, 4),
    ("450100", "city-450100", 64, 256, 8000, 5),
    ("450100", "main", 4, 8, 100, 1),
    ("450200", "city-450200", 48, 192, 6000, 5),
    ("450300", "city-450300", 32, 128, 3000, 3),
    ("451100", "main", 24, 96, 2000, 5),
    ("451200", "main", 16, 64, 1000, 2),
    ("451400", "main", 12, 48, 4000, 1),
    ("wjw", "wjw", 40, 160, 9000, 5),
    ("rst", "rst", 32, 128, 4000, 5),
    ("451481", "main", 6, 24, 800, 3),
]
"""A unit's servers on a cloud since some months; those that are newest make the movers."""


def finance_of_nanning(session: Session) -> None:
    """A city's finance, who is none of the demonstration's people."""
    _finance(session, "finance.nanning", "梁志远", "450100")


def finance_of_pingxiang(session: Session) -> None:
    """The finance of a county, whose city pays for it."""
    _finance(session, "finance.pingxiang", "农海霞", "451481")


@contextmanager
def as_one_person(console: Console, login: str, other: str) -> Iterator[None]:
    """Two accounts are one person's for a while."""
    move = text("UPDATE broker.account SET person_id = :person_id WHERE login = :login")
    whose = text("SELECT person_id FROM broker.account WHERE login = :login")
    with make_sessions(console.server.engine).begin() as session:
        own = session.scalar(whose, {"login": other})
        session.execute(move, {"login": other, "person_id": session.scalar(whose, {"login": login})})
    try:
        yield
    finally:
        with make_sessions(console.server.engine).begin() as session:
            session.execute(move, {"login": other, "person_id": own})


def _finance(session: Session, login: str, name: str, code: str) -> None:
    person = Person(id=new_id(), name=name, title="预算科科长")
    unit_id = session.execute(text("SELECT id FROM broker.unit WHERE code = :code"), {"code": code}).scalar_one()
    kept = session.execute(text("SELECT password_hash FROM broker.account WHERE login = 'finance'")).scalar_one()
    session.add(person)
    session.flush()
    account = Account(id=new_id(), login=login, person_id=person.id, unit_id=unit_id, password_hash=kept)
    session.add(account)
    session.flush()
    session.add(RoleGrant(account_id=account.id, role="finance", during=during((LONG_AGO, None))))
    session.flush()


def bill_months(session: Session, now: datetime, count: int) -> list[Month]:
    """Write the servers and draw statements of the last ``count`` whole months, the newest open; oldest first."""
    months = use_months(session, now, count)
    draw_months(session, now, months)
    return months


def use_months(session: Session, now: datetime, count: int) -> list[Month]:
    """Write the servers, which have run for some of the last ``count`` whole months; oldest first."""
    month = Month.of(now)
    months = [month := month.previous for _ in range(count)][::-1]
    ids: dict[str, dict[str, UUID]] = {
        kind: dict(session.execute(text(f"SELECT code, id FROM broker.{kind}")).all()) for kind in ("unit", "sub_cloud")
    }
    systems: dict[UUID, UUID] = dict(
        session.execute(text("SELECT DISTINCT ON (unit_id) unit_id, id FROM broker.information_system")).all()
    )
    for place, (unit, cloud, vcpu, memory, disk, ago) in enumerate(SERVERS):
        start = months[max(0, len(months) - ago)].start + timedelta(days=3 * place % 17, seconds=4711 * place)
        thing = Thing(
            new_id(), ids["unit"][unit], ids["sub_cloud"][cloud], (Period("active", vcpu, memory, disk, (start, None)),)
        )
        add_thing(session, thing, number=f"ZY-9{place:07d}")
        session.execute(
            text("UPDATE broker.resource SET system_id = :system, name = :name WHERE id = :id"),
            {"system": systems.get(thing.unit), "name": f"{unit}-app-{place:02d}", "id": thing.id},
        )
    return months


def draw_months(session: Session, now: datetime, months: list[Month]) -> None:
    """Close these months but the last, of which an interim statement is drawn."""
    for each in months:
        work = Work(session, SYSTEM, now, load_calendar(None))
        if each == months[-1]:
            closing.issue(work, each)
        else:
            closing.close(work, each)
