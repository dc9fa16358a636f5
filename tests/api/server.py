"""A running API and the people who use it, for the tests of this folder."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from api.uow import COOKIE
from broker.region.loader import DEMONSTRATION_PASSWORD
from tests.conftest import Database

DEADLINE_S = 120.0
"""How long a busy machine may take; nothing waits that long when all is well."""


@dataclass
class Server:
    """A running API: where it answers, the application, its database, and who has signed in so far."""

    url: str
    app: FastAPI
    database: Database
    engine: Engine
    log: io.StringIO
    signed_in: dict[str, httpx.Client] = field(default_factory=dict)
    clients: list[httpx.Client] = field(default_factory=list)

    def visitor(self) -> httpx.Client:
        """Somebody who has not signed in."""
        client = httpx.Client(base_url=self.url, trust_env=False, timeout=DEADLINE_S)
        self.clients.append(client)
        return client

    def person(self, login: str) -> httpx.Client:
        """A browser in which a person of the demonstration region has signed in, once for all tests."""
        if login not in self.signed_in:
            self.signed_in[login] = self.sign_in(login)
        return self.signed_in[login]

    def sign_in(self, login: str) -> httpx.Client:
        """A browser of its own, freshly signed in."""
        client = self.visitor()
        answer = client.post("/api/v1/sessions", json={"login": login, "password": DEMONSTRATION_PASSWORD})
        assert answer.status_code == 201, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        assert client.cookies.get(COOKIE)
        return client


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a process to come up; fails after the deadline."""
    ends_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_at, "waited too long"
        time.sleep(0.02)


@contextmanager
def one_person(server: Server, one: str, other: str) -> Iterator[None]:
    """Two accounts are the same person's for a while."""
    mine = "SELECT person_id FROM broker.account WHERE login = :login"
    to = text("UPDATE broker.account SET person_id = :p WHERE login = :login")
    with Session(server.engine) as session, session.begin():
        before = session.scalar(text(mine), {"login": one})
        session.execute(to, {"login": one, "p": session.scalar(text(mine), {"login": other})})
    try:
        yield
    finally:
        with Session(server.engine) as session, session.begin():
            session.execute(to, {"login": one, "p": before})
