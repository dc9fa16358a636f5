"""Signing in and out, sessions and tokens: what a browser and a program need to be somebody."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import func, select, text, update

from api.uow import COOKIE
from broker.region.loader import DEMONSTRATION_PASSWORD
from broker.tenancy.models import Account, ApiToken, RoleGrant, SignInAttempt, UserSession
from tests.api.conftest import IN_SERVICE
from tests.api.server import Server

WRONG = "not-the-password"


def attempt(client: httpx.Client, login: str, password: str) -> httpx.Response:
    return client.post("/api/v1/sessions", json={"login": login, "password": password})


def test_a_person_signs_in_sees_who_they_are_and_signs_out(server: Server) -> None:
    """A session is a cookie that no script can read; after signing out it is worth nothing."""
    client = server.sign_in("chief.jyt")
    cookie = client.cookies[COOKIE]
    me = client.get("/api/v1/me").json()
    assert (me["login"], me["roles"], me["unit_name"]) == ("chief.jyt", ["cloud_chief"], "自治区教育厅")
    assert client.delete("/api/v1/sessions").status_code == 204
    client.cookies.set(COOKIE, cookie)
    assert client.get("/api/v1/me").json()["code"] == "session.invalid"


def test_the_cookie_is_out_of_the_reach_of_scripts_and_other_sites(visitor: httpx.Client) -> None:
    """HttpOnly and SameSite on the session's cookie."""
    answer = attempt(visitor, "finance", DEMONSTRATION_PASSWORD)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_only_digests_of_tokens_are_stored(server: Server) -> None:
    """Who reads the database cannot sign in with what is found there."""
    client = server.sign_in("audit")
    token = client.cookies[COOKIE]
    with server.engine.connect() as connection:
        stored = connection.execute(select(UserSession.token_hash)).scalars().all()
    assert hashlib.sha256(token.encode()).digest() in [bytes(h) for h in stored]


def test_a_wrong_password_and_an_unknown_login_look_the_same(visitor: httpx.Client) -> None:
    """Nobody learns from the answer which logins exist."""
    wrong = attempt(visitor, "deliver.2", WRONG)
    unknown = attempt(visitor, "nobody.at.all", WRONG)
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json()["code"] == unknown.json()["code"] == "sign_in.refused"
    assert wrong.json()["detail"] == unknown.json()["detail"]


def test_an_unknown_login_costs_a_password_verification_too(
    visitor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody learns from the time either: for an unknown login a password is verified as well, as costly as any."""
    verified: list[str] = []
    verify = PasswordHasher.verify

    def noting(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return verify(hasher, password_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", noting)
    attempt(visitor, "nobody.second", WRONG)
    attempt(visitor, "assess.jyt", WRONG)
    of_nobody, of_somebody = (extract_parameters(each) for each in verified)
    assert of_nobody == of_somebody


def test_a_password_in_service_costs_what_it_should() -> None:
    """RFC 9106's second recommended option: three passes over 64 MiB. Only the accounts of tests have less."""
    assert (IN_SERVICE.time_cost, IN_SERVICE.memory_cost, IN_SERVICE.parallelism) == (3, 64 << 10, 4)


def test_guessing_is_slowed_down_for_a_login_even_with_the_right_password_at_last(
    server: Server, visitor: httpx.Client
) -> None:
    """Ten wrong attempts a minute; the eleventh is refused before the password is looked at, and counts as well."""
    for _ in range(10):
        assert attempt(visitor, "deliver.rst", WRONG).status_code == 401
    answer = attempt(visitor, "deliver.rst", DEMONSTRATION_PASSWORD)
    assert answer.status_code == 429
    assert answer.json()["code"] == "sign_in.too_many"
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    with server.engine.connect() as connection:
        counted = connection.scalar(select(func.count()).where(SignInAttempt.login == "deliver.rst"))
    assert counted == 11


def test_guesses_at_the_same_time_do_not_slip_through(server: Server) -> None:
    """Twenty at once: no more passwords are looked at than one after the other."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: attempt(server.visitor(), "nobody.at.once", WRONG), range(20)))
    assert 1 <= sum(a.status_code == 401 for a in answers) <= 10
    assert {a.status_code for a in answers} == {401, 429}


def test_successful_sign_ins_are_not_limited(server: Server) -> None:
    """Only failures count: a person may sign in as often as they like."""
    for _ in range(12):
        server.sign_in("approve.jyt").close()


def test_a_disabled_account_is_out_at_once(server: Server) -> None:
    """Disabling ends running sessions and refuses new ones."""
    client = server.sign_in("apply.wjw")
    try:
        _disable(server, "apply.wjw", datetime.now(UTC))
        assert client.get("/api/v1/me").status_code == 401
        assert attempt(client, "apply.wjw", DEMONSTRATION_PASSWORD).status_code == 401
    finally:
        _disable(server, "apply.wjw", None)


def _disable(server: Server, login: str, at: datetime | None) -> None:
    with server.engine.begin() as connection:
        connection.execute(update(Account).where(Account.login == login).values(disabled_at=at))


def test_a_session_runs_out(server: Server) -> None:
    """After its last hour a session is worth nothing."""
    client = server.sign_in("lead.jyt")
    digest = hashlib.sha256(client.cookies[COOKIE].encode()).digest()
    with server.engine.begin() as connection:
        connection.execute(
            update(UserSession)
            .where(UserSession.token_hash == digest)
            .values(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        )
    assert client.get("/api/v1/me").status_code == 401


def test_roles_and_deputyships_are_those_of_today(server: Server) -> None:
    """A role that has ended and a deputyship whose principal lost the role no longer count."""
    client = server.sign_in("approve.2")
    assert list(client.get("/api/v1/me").json()["deputy_for"]) == ["approver"]
    ended = text(
        "UPDATE broker.role_grant SET during = tstzrange(lower(during), :upper)"
        " WHERE account_id = :id AND role = 'approver'"
    )
    with server.engine.connect() as connection:
        principal = connection.scalar(select(Account.id).where(Account.login == "approve.1"))
        before = connection.scalar(select(RoleGrant.during).where(RoleGrant.account_id == principal))
    assert before is not None
    try:
        with server.engine.begin() as connection:
            connection.execute(ended, {"upper": datetime.now(UTC), "id": principal})
        assert client.get("/api/v1/me").json()["deputy_for"] == {}
    finally:
        with server.engine.begin() as connection:
            connection.execute(ended, {"upper": before.upper, "id": principal})


def test_who_one_is_takes_one_statement(server: Server, statements: list[str]) -> None:
    """Account, roles and deputyships come with the session in one statement; the unit's name is the second."""
    client = server.person("approve.2")
    statements.clear()
    assert client.get("/api/v1/me").status_code == 200
    assert len(statements) == 2


def test_a_program_works_with_a_bearer_token_until_it_is_revoked(server: Server, visitor: httpx.Client) -> None:
    """A token acts as its account, needs no CSRF token, is stored as a digest, and ends when it is revoked."""
    person = server.person("approve.1")
    made = person.post("/api/v1/tokens", json={"name": "月报"})
    assert made.status_code == 201
    bearer = {"Authorization": f"Bearer {made.json()['token']}"}
    assert visitor.get("/api/v1/me", headers=bearer).json()["login"] == "approve.1"
    assert visitor.post("/api/v1/tokens", json={"name": "另一个"}, headers=bearer).status_code == 201
    with server.engine.connect() as connection:
        stored = connection.execute(select(ApiToken.token_hash)).scalars().all()
    assert hashlib.sha256(made.json()["token"].encode()).digest() in [bytes(h) for h in stored]
    assert person.delete(made.headers["location"]).status_code == 204
    assert visitor.get("/api/v1/me", headers=bearer).json()["code"] == "token.invalid"


def test_nobody_revokes_the_token_of_another(server: Server) -> None:
    """A token of somebody else is as unknown as one that never was."""
    made = server.person("approve.1").post("/api/v1/tokens", json={"name": "甲"}).json()
    other = server.person("finance")
    assert other.delete(f"/api/v1/tokens/{made['id']}").json()["code"] == "token.unknown"
    assert other.delete(f"/api/v1/tokens/{uuid4()}").json()["code"] == "token.unknown"
