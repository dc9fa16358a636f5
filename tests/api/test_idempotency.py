"""One key, one effect: what a repeated POST gets, and what it must not do again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
from sqlalchemy import func, select

from broker.db.idempotency import IdempotencyKey
from broker.tenancy.models import ApiToken
from tests.api.server import Server
from tests.stories.world import form

Post = Callable[..., httpx.Response]


def poster(client: httpx.Client) -> Post:
    def post(name: str, key: str) -> httpx.Response:
        return client.post("/api/v1/tokens", json={"name": name}, headers={"Idempotency-Key": key})

    return post


def tokens(server: Server, name: str) -> int:
    with server.engine.connect() as connection:
        return connection.scalar(select(func.count()).where(ApiToken.name == name)) or 0


def test_a_repeated_post_gets_the_same_answer_and_acts_once(server: Server) -> None:
    """The stored status and body come back, marked as a replay; nothing is made again."""
    post, key, name = poster(server.person("finance")), uuid4().hex, uuid4().hex
    first, second = post(name, key), post(name, key)
    assert first.status_code == second.status_code == 201
    assert "idempotent-replay" not in first.headers
    assert second.headers["idempotent-replay"] == "true"
    assert second.json()["id"] == first.json()["id"]
    assert second.headers["location"] == first.headers["location"]
    assert tokens(server, name) == 1


def test_what_is_shown_once_is_not_remembered(server: Server) -> None:
    """A replay comes without the token: the database must not hold it in the clear."""
    post, key, name = poster(server.person("finance")), uuid4().hex, uuid4().hex
    first, second = post(name, key), post(name, key)
    assert first.json()["token"]
    assert "token" not in second.json()


def test_a_key_used_for_something_else_is_refused(server: Server) -> None:
    """Same key, other content: 422, and nothing happens."""
    post, key, name = poster(server.person("finance")), uuid4().hex, uuid4().hex
    post(uuid4().hex, key)
    answer = post(name, key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency.reused")
    assert tokens(server, name) == 0


def test_a_key_belongs_to_its_account(server: Server) -> None:
    """Two people may use the same key and do not see each other's answers."""
    key, name = uuid4().hex, uuid4().hex
    one = poster(server.person("finance"))(name, key)
    other = poster(server.person("audit"))(name, key)
    assert one.status_code == other.status_code == 201
    assert one.json()["id"] != other.json()["id"]


def test_eight_at_once_with_one_key_act_once(server: Server) -> None:
    """A race is decided by the database: one acts, the others get its answer."""
    client, key, name = server.person("finance"), uuid4().hex, uuid4().hex
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: poster(client)(name, key), range(8)))
    assert {a.status_code for a in answers} == {201}
    assert len({a.json()["id"] for a in answers}) == 1
    assert tokens(server, name) == 1


def test_a_key_costs_no_statement(server: Server, statements: list[str]) -> None:
    """Signing in, the token, its audit event together with the remembered answer: three statements."""
    post = poster(server.person("finance"))
    statements.clear()
    post(uuid4().hex, uuid4().hex)
    assert len(statements) == 3
    statements.clear()
    server.person("finance").post("/api/v1/tokens", json={"name": "ohne"})
    assert len(statements) == 3


def test_a_key_of_201_characters_is_refused(server: Server) -> None:
    """At most 200 visible characters."""
    post = poster(server.person("finance"))
    assert post("x", "k" * 200).status_code == 201
    assert post("x", "k" * 201).json()["errors"][0]["code"] == "idempotency.key"


def test_a_form_that_is_only_tried_is_checked_anew_each_time(server: Server) -> None:
    """Nothing is written: the same key with another form gets that form's answer."""
    client, headers = server.person("apply.jyt"), {"Idempotency-Key": uuid4().hex}
    for users in (0, -1):
        answer = client.post("/api/v1/requests/check", json=form(expected_users=users), headers=headers)
        assert answer.status_code == 200
        assert "idempotent-replay" not in answer.headers
        assert "expected_users" in {problem["field"] for problem in answer.json()["problems"]}
    remembered = select(func.count()).where(IdempotencyKey.key == headers["Idempotency-Key"])
    with server.engine.connect() as connection:
        assert connection.scalar(remembered) == 0


def test_signing_in_twice_with_one_key_makes_two_sessions(server: Server, visitor: httpx.Client) -> None:
    """A session is a secret: it is neither kept nor given to whoever sends the key again."""
    headers = {"Idempotency-Key": uuid4().hex}
    person = {"login": "audit", "password": "guiyun-demo-2026"}
    first, second = (visitor.post("/api/v1/sessions", json=person, headers=headers) for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json()["csrf_token"] != second.json()["csrf_token"]
    wrong = visitor.post("/api/v1/sessions", json=person | {"password": "wrong"}, headers=headers)
    assert wrong.status_code == 401


def test_every_post_says_what_a_key_does(server: Server, visitor: httpx.Client) -> None:
    """Each names the header once: honoured, or why it has no effect."""
    paths = visitor.get("/api/v1/openapi.json").json()["paths"]
    without_effect = set()
    for path, operations in paths.items():
        if "post" in operations:
            [key] = [p for p in operations["post"]["parameters"] if p["name"] == "Idempotency-Key"]
            if "不起作用" in key["description"]:
                without_effect.add(path)
    assert without_effect == {
        "/api/v1/sessions",
        "/api/v1/requests/check",
        "/api/v1/requests/{request_id}/assessment/proposal",
        "/api/v1/quota-nodes/{code}/limits/check",
        "/api/v1/quota-nodes/{code}/move/check",
    }
