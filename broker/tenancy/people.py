"""Who people are, for pages: names of accounts and persons, the viewer of a page, the accounts of a demonstration.

Called by: the console. Must not: decide, or hand out a password's hash. Personal data leaves here and goes nowhere but
onto a page that the actor may see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from broker.db.base import AnyRow, AnySelect
from broker.tenancy.models import Account, Person, RoleGrant, UnitPeriod


@dataclass(frozen=True, slots=True)
class Named:
    """An account as a reader knows it."""

    login: str
    name: str
    title: str
    unit_name: str


def named(session: Session, account_ids: Iterable[UUID | None]) -> dict[UUID, Named]:
    """Names of accounts with their units of today. One statement; unknown ids are left out."""
    wanted = {account_id for account_id in account_ids if account_id is not None}
    if not wanted:
        return {}
    statement: AnySelect = (
        select(Account.id, Account.login, Person.name, Person.title, UnitPeriod.name)
        .outerjoin(Person, Person.id == Account.person_id)
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == Account.unit_id) & func.upper_inf(UnitPeriod.during))
        .where(Account.id.in_(wanted))
    )
    return {
        account_id: Named(login, name or login, title or "", unit_name or "")
        for account_id, login, name, title, unit_name in session.execute(statement)
    }


def person(session: Session, person_id: UUID | None) -> Person | None:
    """A person: the contact of a request that the actor may see."""
    return None if person_id is None else session.get(Person, person_id)


def accounts(session: Session, now: datetime) -> list[AnyRow]:
    """Accounts that can sign in, in the order they were made: rows of ``(login, name, unit_name, roles)``."""
    roles = (
        select(func.array_agg(aggregate_order_by(RoleGrant.role, RoleGrant.role)))
        .where(RoleGrant.account_id == Account.id, RoleGrant.during.contains(now))
        .correlate(Account)
        .scalar_subquery()
    )
    statement: AnySelect = (
        select(Account.login, Person.name, UnitPeriod.name.label("unit_name"), roles.label("roles"))
        .join(Person, Person.id == Account.person_id)
        .join(UnitPeriod, (UnitPeriod.unit_id == Account.unit_id) & func.upper_inf(UnitPeriod.during))
        .where(Account.disabled_at.is_(None), Account.password_hash.is_not(None))
        .order_by(Account.id)
    )
    return list(session.execute(statement).all())
