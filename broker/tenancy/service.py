"""Signing in and out, tokens of programs, and who a session or token belongs to.

Called by: the API's unit of work, its routes of sessions and tokens. Must not: know the web, or say which of login and
password was wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from broker.db.base import new_id
from broker.errors import Forbidden, NotFound, NotSignedIn, TooMany
from broker.lifecycle import Role
from broker.settings import Settings
from broker.tenancy import passwords, repository
from broker.tenancy.models import ApiToken, Person, SignInAttempt, UserSession
from broker.tenancy.passwords import hash_password
from broker.tenancy.values import Actor
from broker.tenancy.work import Work

__all__ = [
    "NewSession",
    "NewToken",
    "actor_of_session",
    "actor_of_token",
    "create_token",
    "forget_old_attempts",
    "hash_password",
    "revoke_token",
    "sign_in",
    "sign_out",
]

WINDOW = timedelta(minutes=1)
SOURCE_FACTOR = 10
"""Many people sit behind one address of an office: a source may fail ten times as often as a login."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A fresh session. The token goes into a cookie and is stored nowhere; ``account_id`` is for the log."""

    token: str
    csrf_token: str
    expires_at: datetime
    account_id: UUID


@dataclass(frozen=True, slots=True)
class NewToken:
    """A fresh bearer token: the only time that it is seen."""

    id: UUID
    token: str
    name: str
    expires_at: datetime | None


def sign_in(
    session: Session, *, login: str, password: str, source: str, now: datetime, settings: Settings
) -> NewSession:
    """Check a password and open a session.

    The one use-case that commits by itself, and before it looks: a refused attempt must stay counted, and attempts made
    at the same time must see each other. Raises TooMany ``sign_in.too_many`` or NotSignedIn ``sign_in.refused``.
    """
    attempt = SignInAttempt(id=new_id(), login=login, source=source, at=now)
    session.add(attempt)
    session.commit()
    _refuse_guessing(session, login=login, source=source, now=now, limit=settings.login_attempts_per_minute)
    found = session.execute(repository.password_of(login)).first()
    session.commit()  # a verification takes long: no transaction stays open meanwhile
    fits = passwords.verify(found.password_hash if found else None, password)
    if not found or not fits:
        raise NotSignedIn("sign_in.refused")
    if passwords.is_outdated(found.password_hash or ""):
        repository.store_password(session, found.id, hash_password(password))
    repository.mark_succeeded(session, attempt.id)
    token, csrf_token = passwords.new_token(), passwords.new_token()
    expires_at = now + timedelta(hours=settings.session_hours)
    session.add(
        UserSession(
            token_hash=passwords.digest(token),
            account_id=found.id,
            csrf_token=csrf_token,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return NewSession(token=token, csrf_token=csrf_token, expires_at=expires_at, account_id=found.id)


def _refuse_guessing(session: Session, *, login: str, source: str, now: datetime, limit: int) -> None:
    of_login, of_source, oldest = repository.failures_since(session, login=login, source=source, since=now - WINDOW)
    if of_login > limit or of_source > limit * SOURCE_FACTOR:
        wait = (oldest + WINDOW - now).total_seconds() if oldest else WINDOW.total_seconds()
        raise TooMany("sign_in.too_many", retry_after_s=max(1, int(wait) + 1))


def sign_out(session: Session, token: str) -> None:
    """End a session; nothing happens when there is none."""
    repository.end_session(session, passwords.digest(token))


def actor_of_session(session: Session, token: str, now: datetime) -> tuple[Actor, str]:
    """The actor of a session and the session's CSRF token. One statement. Raises NotSignedIn ``session.invalid``."""
    found = repository.actor_of_session(session, passwords.digest(token), now)
    if found is None:
        raise NotSignedIn("session.invalid")
    return found


def actor_of_token(session: Session, token: str, now: datetime) -> Actor:
    """The actor of a bearer token. One statement. Raises NotSignedIn ``token.invalid``."""
    found = repository.actor_of_token(session, passwords.digest(token), now)
    if found is None:
        raise NotSignedIn("token.invalid")
    return found


def create_token(work: Work, *, name: str, expires_at: datetime | None = None) -> NewToken:
    """A bearer token for a program that acts as the caller's account, with the account's roles."""
    if work.actor.account_id is None:
        raise NotSignedIn("session.missing")
    token = passwords.new_token()
    row = ApiToken(
        id=new_id(),
        token_hash=passwords.digest(token),
        account_id=work.actor.account_id,
        name=name,
        created_at=work.now,
        expires_at=expires_at,
    )
    work.session.add(row)
    work.record("token.created", "api_token", row.id)
    return NewToken(id=row.id, token=token, name=name, expires_at=expires_at)


def revoke_token(work: Work, token_id: UUID) -> None:
    """Revoke one of the caller's own tokens. Raises NotFound ``token.unknown``."""
    account_id = work.actor.account_id
    if account_id is None or not repository.revoke_token(work.session, token_id, account_id, work.now):
        raise NotFound("token.unknown")
    work.record("token.revoked", "api_token", token_id)


BLANK = "(已清除)"


def blank_person(work: Work, person_id: UUID) -> Person:
    """Erase a person's data where it stands, which is one row; what the person decided stays, under the same ids.

    An account of the person's can no longer sign in. Again: no harm. Raises Forbidden ``duty.missing`` (only the
    administrator), NotFound ``person.not_found``.
    """
    if Role.ADMINISTRATOR not in work.actor.roles:
        raise Forbidden("duty.missing", role=Role.ADMINISTRATOR.value)
    person = work.session.get(Person, person_id, with_for_update=True)
    if person is None:
        raise NotFound("person.not_found")
    if person.blanked_at is None:
        person.name, person.phone, person.email, person.title = BLANK, "", "", ""
        person.blanked_at = work.now
        repository.close_accounts(work.session, person_id, work.now)
        work.record("person.blanked", "person", person_id)
    return person


def forget_old_attempts(session: Session, now: datetime) -> None:
    """Remove sign-in attempts that no limit looks at any more, and sessions that have run out."""
    repository.forget(session, attempts_before=now - 2 * WINDOW, now=now)
