"""SQL of accounts: who a session or token belongs to, sign-in attempts, and which units an actor may see.

Called by: ``tenancy.service``; ``visible_units`` by the repositories of every room. Must not: decide, commit, or hand a
password hash to anybody but ``tenancy.service``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    DateTime,
    Select,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, Range, aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased
from sqlalchemy.types import Uuid

from broker.db.base import AnyRow, AnySelect
from broker.errors import Invalid, Problem
from broker.lifecycle import Role
from broker.tenancy.models import Account, ApiToken, Deputy, RoleGrant, SignInAttempt, Unit, UnitPeriod, UserSession
from broker.tenancy.values import Actor, Principal


def holds(
    during: InstrumentedAttribute[Range[datetime]], now: datetime | BindParameter[datetime]
) -> ColumnElement[bool]:
    """A condition: the dated validity covers ``now``."""
    return during.bool_op("@>")(literal(now, DateTime(timezone=True)) if isinstance(now, datetime) else now)


def visible_units(actor: Actor, unit_id: InstrumentedAttribute[Any], now: datetime) -> ColumnElement[bool]:
    """A condition on a unit's column: it lies in the tree of the actor's unit as it stands at ``now``.

    Audit, the administrator and the system see every unit; somebody without a unit sees none.
    """
    if actor.sees_everything:
        return true()
    tree = select(UnitPeriod.unit_id).where(
        UnitPeriod.ancestors.bool_op("@>")(literal([actor.unit_id], ARRAY(Uuid))), holds(UnitPeriod.during, now)
    )
    return unit_id.in_(tree)


def _account_columns(now: BindParameter[datetime]) -> list[Any]:
    """The account, its roles and deputyships, and its person's other accounts: all that an actor is, in one row."""
    roles = (
        select(func.array_agg(RoleGrant.role))
        .where(RoleGrant.account_id == Account.id, holds(RoleGrant.during, now))
        .correlate(Account)
        .scalar_subquery()
    )
    principal, grant, other, others = aliased(Account), aliased(RoleGrant), aliased(Account), aliased(Account)
    theirs = (
        select(func.array_agg(others.id))
        .where(others.person_id == principal.person_id, others.id != principal.id)
        .correlate(principal)
        .scalar_subquery()
    )
    entry = func.jsonb_build_array(Deputy.role, principal.id, principal.unit_id, theirs)
    deputyships = (
        select(func.jsonb_agg(aggregate_order_by(entry, Deputy.id)))
        .join(principal, principal.id == Deputy.principal_id)
        .join(grant, (grant.account_id == principal.id) & (grant.role == Deputy.role))
        .where(
            Deputy.deputy_id == Account.id,
            holds(Deputy.during, now),
            holds(grant.during, now),
            principal.disabled_at.is_(None),
        )
        .correlate(Account)
        .scalar_subquery()
    )
    own = (
        select(func.array_agg(other.id))
        .where(other.person_id == Account.person_id, other.id != Account.id)
        .correlate(Account)
        .scalar_subquery()
    )
    said = (roles.label("roles"), deputyships.label("deputyships"), own.label("others"))
    return [Account.id, Account.login, Account.unit_id, *said]


def _actor(row: AnyRow) -> Actor:
    deputy_for: dict[Role, list[Principal]] = defaultdict(list)
    for role, account_id, unit_id, others in row.deputyships or ():
        more = frozenset(UUID(other) for other in others or ())
        deputy_for[Role(role)].append(Principal(UUID(account_id), UUID(unit_id), more))
    return Actor(
        account_id=row.id,
        unit_id=row.unit_id,
        roles=frozenset(Role(role) for role in row.roles or ()),
        login=row.login,
        deputy_for={role: tuple(principals) for role, principals in deputy_for.items()},
        others=frozenset(row.others or ()),
    )


# Built once: these two run at the start of every use-case, and building them costs more than running them.
_NOW = bindparam("now", type_=DateTime(timezone=True))
_OF_SESSION = (
    select(*_account_columns(_NOW), UserSession.csrf_token)
    .join(Account, Account.id == UserSession.account_id)
    .where(
        UserSession.token_hash == bindparam("token_hash"), UserSession.expires_at > _NOW, Account.disabled_at.is_(None)
    )
)
_OF_TOKEN = (
    select(*_account_columns(_NOW))
    .join(ApiToken, ApiToken.account_id == Account.id)
    .where(
        ApiToken.token_hash == bindparam("token_hash"),
        or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > _NOW),
        ApiToken.revoked_at.is_(None),
        Account.disabled_at.is_(None),
    )
)


def actor_of_session(session: Session, token_hash: bytes, now: datetime) -> tuple[Actor, str] | None:
    """The actor behind a session that is still valid, and the session's CSRF token. One statement."""
    row = session.execute(_OF_SESSION, {"token_hash": token_hash, "now": now}).first()
    return (_actor(row), row.csrf_token) if row else None


def actor_of_token(session: Session, token_hash: bytes, now: datetime) -> Actor | None:
    """The actor behind a bearer token that is neither expired nor revoked. One statement."""
    row = session.execute(_OF_TOKEN, {"token_hash": token_hash, "now": now}).first()
    return _actor(row) if row else None


def password_of(login: str) -> Select[UUID, str | None]:
    """The account and its password's hash, unless it is disabled."""
    return select(Account.id, Account.password_hash).where(Account.login == login, Account.disabled_at.is_(None))


def failures_since(session: Session, *, login: str, source: str, since: datetime) -> tuple[int, int, datetime | None]:
    """Attempts that did not succeed: for the login, for the source, and when the oldest of them was."""
    of_login, of_source = SignInAttempt.login == login, SignInAttempt.source == source
    row = session.execute(
        select(
            func.count().filter(of_login),
            func.count().filter(of_source),
            func.min(SignInAttempt.at),
        ).where(or_(of_login, of_source), SignInAttempt.at > since, SignInAttempt.succeeded.is_(False))
    ).one()
    return row[0], row[1], row[2]


def mark_succeeded(session: Session, attempt_id: UUID) -> None:
    session.execute(update(SignInAttempt).where(SignInAttempt.id == attempt_id).values(succeeded=True))


def store_password(session: Session, account_id: UUID, password_hash: str) -> None:
    session.execute(update(Account).where(Account.id == account_id).values(password_hash=password_hash))


def close_accounts(session: Session, person_id: UUID, now: datetime) -> None:
    """The accounts of a person can no longer sign in, and what is signed in is signed out."""
    mine = select(Account.id).where(Account.person_id == person_id)
    session.execute(delete(UserSession).where(UserSession.account_id.in_(mine)))
    session.execute(
        update(Account)
        .where(Account.person_id == person_id, Account.disabled_at.is_(None))
        .values(disabled_at=now, password_hash=None)
    )


def accounts_of_one(session: Session, *account_ids: UUID) -> frozenset[UUID]:
    """These accounts and every other one of the same people: where two people are asked for, those of one are one."""
    people = select(Account.person_id).where(Account.id.in_(account_ids))
    return frozenset({*account_ids, *session.scalars(select(Account.id).where(Account.person_id.in_(people)))})


def end_session(session: Session, token_hash: bytes) -> None:
    session.execute(delete(UserSession).where(UserSession.token_hash == token_hash))


def forget(session: Session, *, attempts_before: datetime, now: datetime) -> None:
    """Remove sign-in attempts that no limit looks at any more, and sessions that have run out."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.at < attempts_before))
    session.execute(delete(UserSession).where(UserSession.expires_at < now))


def revoke_token(session: Session, token_id: UUID, account_id: UUID, now: datetime) -> bool:
    """Revoke one of an account's own tokens; False when it has no such token."""
    revoked = session.execute(
        update(ApiToken)
        .where(ApiToken.id == token_id, ApiToken.account_id == account_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=literal(now))
        .returning(ApiToken.id)
    ).first()
    return revoked is not None


def units(session: Session, actor: Actor, now: datetime) -> list[AnyRow]:
    """The units the actor sees, the tree from its root on: rows of ``(id, code, kind, name, parent_id, depth)``."""
    statement: AnySelect = (
        select(
            Unit.id,
            Unit.code,
            Unit.kind,
            Unit.division_code,
            UnitPeriod.name,
            UnitPeriod.parent_id,
            func.cardinality(UnitPeriod.ancestors).label("depth"),
        )
        .join(UnitPeriod, UnitPeriod.unit_id == Unit.id)
        .where(holds(UnitPeriod.during, now), visible_units(actor, Unit.id, now))
        .order_by(func.cardinality(UnitPeriod.ancestors), Unit.code)
    )
    return list(session.execute(statement).all())


def codes_above(session: Session, now: datetime) -> dict[UUID, frozenset[str]]:
    """Each unit's own code and those of all above it, as the tree stands at ``now``."""
    codes = {row.id: row.code for row in session.execute(select(Unit.id, Unit.code))}
    tree = session.execute(select(UnitPeriod.unit_id, UnitPeriod.ancestors).where(holds(UnitPeriod.during, now)))
    return {row.unit_id: frozenset(codes[each] for each in {row.unit_id, *row.ancestors}) for row in tree}


def unit_id_of(session: Session, code: str, *, actor: Actor | None = None, now: datetime) -> UUID:
    """The unit with a code, within the actor's tree when one is named. Raises Invalid ``unit.unknown``."""
    statement = select(Unit.id).where(Unit.code == code)
    if actor is not None:
        statement = statement.where(visible_units(actor, Unit.id, now))
    found = session.scalar(statement)
    if found is None:
        raise Invalid([Problem("unit.unknown", "unit")])
    return found


def unit_names(session: Session, unit_ids: Iterable[UUID], now: datetime) -> dict[UUID, str]:
    """What units are called at ``now``. One statement."""
    rows = session.execute(
        select(UnitPeriod.unit_id, UnitPeriod.name).where(
            UnitPeriod.unit_id.in_(set(unit_ids)), holds(UnitPeriod.during, now)
        )
    )
    return {row.unit_id: row.name for row in rows}
