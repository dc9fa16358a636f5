"""The unit of work: one request, one transaction. Signs in, runs a use-case, remembers its answer, commits.

Called by: every route that is not public. Must not: hold rules, or know what a use-case does.

An ``Idempotency-Key`` (any POST may carry one, at most 200 characters) is a row of the use-case's own transaction:
the answer is written beside what it answers, with the same statement. Only when it meets an older row, or the use-case
refuses, is the key looked up: the same request gets the stored answer again, another one is refused. A POST that writes
nothing, and signing in, take no notice of it (``api.openapi`` says so).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import sleep
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

from fastapi import Depends, Request
from fastapi.responses import JSONResponse, Response
from psycopg import errors as pg
from pydantic_core import to_jsonable_python
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from api import permissions
from api.middleware import SAFE_METHODS
from broker.bootstrap import App
from broker.db.idempotency import IdempotencyKey
from broker.errors import BrokerError, Busy, Forbidden, Invalid, NotSignedIn, Problem
from broker.tenancy import service as tenancy
from broker.tenancy.values import Actor
from broker.tenancy.work import Work

T = TypeVar("T")

COOKIE = "guiyun_session"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
IDEMPOTENCY_KEY = "idempotency-key"
REPLAYED = "Idempotent-Replay"
MOST_KEY = 200
ATTEMPTS = 3
"""A transaction that lost a deadlock, or met others in the middle (Busy), is run again; it has had no effect."""
PAUSES_S = (0.03, 0.15)
"""Before a busy one is: a flush or two, a transaction."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body, as they are sent and remembered."""

    status: int
    body: Any


class UnitOfWork:
    """One request's way through the database. ``actor`` and ``csrf_token`` are known once a transaction has begun."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.core: App = request.app.state.core
        self.actor: Actor | None = None
        self.csrf_token = ""

    def run(
        self,
        use_case: Callable[[Work], T],
        *,
        render: Callable[[T], Any],
        status: int = 200,
        shown_once: tuple[str, ...] = (),
    ) -> Response:
        """Run a use-case that changes something, once for each idempotency key, and answer with its rendered result.

        ``render`` runs inside the transaction and returns a model or JSON. Fields in ``shown_once`` (a token, a
        password) are not remembered: a replay comes without them. Raises what the use-case raises.
        """
        key = self._idempotency_key()
        fingerprint = self._fingerprint() if key else b""

        def answering(work: Work) -> Answer:
            answer = Answer(status, to_jsonable_python(render(use_case(work))))
            if key:
                _remember(work, key, fingerprint, _without(answer, shown_once))
            return answer

        try:
            return self._respond(self.do(answering))
        except (BrokerError, IntegrityError):
            remembered = self._recall(key, fingerprint) if key else None
            if remembered is None:
                raise
            return self._respond(remembered, {REPLAYED: "true"})

    def do(self, use_case: Callable[[Work], T]) -> T:
        """Run a use-case in a transaction of its own and commit. For pages, which do not answer with JSON."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.core.sessions.begin() as session:
                    return use_case(self._work(session))
            except OperationalError as error:
                lost = isinstance(error.orig, pg.DeadlockDetected | pg.SerializationFailure)
                if not lost or attempt == ATTEMPTS:
                    raise
            except Busy:
                if attempt == ATTEMPTS:
                    raise
                sleep(PAUSES_S[attempt - 1])
        raise AssertionError("unreachable")

    def read(self, use_case: Callable[[Work], T], *, render: Callable[[T], Any], status: int = 200) -> Response:
        """Answer with what a use-case reads; the database refuses any write meanwhile."""
        return self._respond(self.look(lambda work: Answer(status, to_jsonable_python(render(use_case(work))))))

    def look(self, use_case: Callable[[Work], T]) -> T:
        """What a use-case reads, in a read-only transaction. For pages and streams."""
        with self._reading() as session:
            return use_case(self._work(session))

    def trial(self, use_case: Callable[[Work], T]) -> T:
        """What a use-case computes in working tables of the transaction, which is rolled back: nothing stays."""
        with self.core.sessions() as session:
            return use_case(self._work(session))

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self.core.sessions() as session:
            session.connection(execution_options={"postgresql_readonly": True})
            yield session

    def _work(self, session: Session) -> Work:
        """Sign in, check the permission and the CSRF token, and gather what a use-case needs."""
        now = self.core.clock()
        actor = self._sign_in(session, now)
        permission = permissions.declared(self.request.scope.get("route"))
        if permission is None:
            raise AssertionError(f"route without a permission: {self.request.url.path}")
        permissions.check(actor, permission)
        self.actor = actor
        return Work(
            session=session,
            actor=actor,
            now=now,
            calendar=self.core.calendar,
            trace_id=self.request.scope["state"]["request_id"],
        )

    def _sign_in(self, session: Session, now: datetime) -> Actor:
        scheme, _, token = self.request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return tenancy.actor_of_token(session, token.strip(), now)
        cookie = self.request.cookies.get(COOKIE)
        if not cookie:
            raise NotSignedIn("session.missing")
        actor, self.csrf_token = tenancy.actor_of_session(session, cookie, now)
        if self.request.method not in SAFE_METHODS:
            self._compare_csrf(self.csrf_token)
        return actor

    def _compare_csrf(self, expected: str) -> None:
        """A cookie goes along by itself, so a write must also carry the token that only our own pages know."""
        given = self.request.headers.get(CSRF_HEADER, "")
        content_type = self.request.headers.get("content-type", "").lower()
        if not given and content_type.startswith("application/x-www-form-urlencoded"):
            fields = parse_qs(self._body().decode("utf-8", "replace"))
            given = fields.get(CSRF_FIELD, [""])[0]
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise Forbidden("csrf.missing")

    def _body(self) -> bytes:
        body: bytes = self.request.scope["state"].get("body", b"")
        return body

    def _idempotency_key(self) -> str:
        key = self.request.headers.get(IDEMPOTENCY_KEY, "")
        if len(key) > MOST_KEY or not key.isprintable():
            raise Invalid([Problem("idempotency.key", "Idempotency-Key", params={"most": MOST_KEY})])
        return key if self.request.method == "POST" else ""

    def _fingerprint(self) -> bytes:
        url = self.request.url
        head = f"{self.request.method} {url.path}?{url.query}\n"
        # A multipart body is the same body under another boundary.
        _, _, boundary = self.request.headers.get("content-type", "").partition("boundary=")
        body = self._body().replace(boundary.strip('"').encode(), b"") if boundary else self._body()
        return hashlib.sha256(head.encode() + body).digest()

    def _recall(self, key: str, fingerprint: bytes) -> Answer | None:
        """The answer remembered for a key. Raises Invalid ``idempotency.reused`` for another request's key."""
        if self.actor is None:
            return None
        with self._reading() as session:
            row = session.get(IdempotencyKey, (self.actor.account_id, key))
        if row is None:
            return None
        if row.fingerprint != fingerprint:
            raise _Reused([Problem("idempotency.reused", "Idempotency-Key")])
        return Answer(row.status, row.body)

    def _respond(self, answer: Answer, headers: dict[str, str] | None = None) -> Response:
        """JSON. A body with a version carries it as its ETag; something created says where it is."""
        out = dict(headers or {})
        body = answer.body if isinstance(answer.body, dict) else {}
        if isinstance(body.get("version"), int):
            out["ETag"] = f'"{body["version"]}"'
        if answer.status == 201 and "id" in body:
            out["Location"] = f"{self.request.url.path}/{body['id']}"
        if answer.status == 204:
            return Response(status_code=204, headers=out)
        return JSONResponse(answer.body, answer.status, headers=out)


class _Reused(Invalid):
    """One key for two different requests."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.code = "idempotency.reused"


def _remember(work: Work, key: str, fingerprint: bytes, answer: Answer) -> None:
    """Written with the use-case's own rows, at the latest by the commit; an older row refuses it all."""
    row = IdempotencyKey(
        account_id=work.actor.account_id,
        key=key,
        fingerprint=fingerprint,
        status=answer.status,
        body={} if answer.body is None else answer.body,  # 204: nothing is sent, and NULL is not allowed
    )
    work.session.add(row)


def _without(answer: Answer, fields: tuple[str, ...]) -> Answer:
    if not isinstance(answer.body, dict):
        return answer
    return Answer(answer.status, {name: value for name, value in answer.body.items() if name not in fields})


async def unit_of_work(request: Request) -> UnitOfWork:
    return UnitOfWork(request)


Uow = Annotated[UnitOfWork, Depends(unit_of_work)]
"""What a route asks for."""
