"""Errors are vocabulary: problem+json for every one, with the request id, and nothing of our inside."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import anyio
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError

import api
import broker
from api import errors, texts
from api.middleware import Surroundings
from broker.telemetry import configure_logging
from tests.api.server import Server, wait_until

FIELDS = {"type", "title", "status", "code", "detail", "instance", "request_id", "errors", "total"}
REFUSALS = {
    "Problem", "BrokerError", "NotSignedIn", "Forbidden", "NotFound", "Conflict", "Stale", "TooLarge", "TooMany",
}  # fmt: skip


def test_a_problem_has_all_its_fields_and_the_request_id(visitor: httpx.Client) -> None:
    """RFC 9457, with our code, the Chinese sentence and the id that the log has."""
    answer = visitor.get("/api/v1/me", headers={"X-Request-Id": "abc-123"})
    body = answer.json()
    assert set(body) == FIELDS
    assert (body["code"], body["status"], body["instance"]) == ("session.missing", 401, "/api/v1/me")
    assert body["request_id"] == answer.headers["x-request-id"] == "abc-123"
    assert body["type"] == "urn:guiyun:problem:session.missing"
    assert "WWW-Authenticate" in answer.headers


def test_a_strange_request_id_is_replaced(visitor: httpx.Client) -> None:
    """What goes into the log is ours unless it is sane."""
    for strange in ("x" * 65, "a b", "<script>", ""):
        answer = visitor.get("/healthz", headers={"X-Request-Id": strange})
        assert len(answer.headers["x-request-id"]) == 32


def _failing(error: Exception) -> httpx.Response:
    """What an application answers one of whose routes raises ``error``."""
    app = FastAPI()
    errors.install(app)
    app.add_middleware(Surroundings, secure=True)

    @app.get("/", response_model=None)
    def fail() -> NoReturn:
        raise error

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/")

    return anyio.run(ask)


def test_the_unexpected_is_answered_with_the_id_and_nothing_else() -> None:
    """An exception nobody foresaw: 500 in problem+json, no message, no traceback, headers as always."""
    answer = _failing(RuntimeError("the password is hunter2"))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal.error")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "Content-Security-Policy" in answer.headers
    assert "Strict-Transport-Security" in answer.headers


def _database_error(server: Server, statement: str) -> Exception:
    try:
        with server.engine.connect() as connection:
            connection.execute(sql(statement))
    except SQLAlchemyError as error:
        return error
    raise AssertionError(statement)


def test_what_the_database_refuses_is_told_apart(server: Server) -> None:
    """Impossible data is the caller's (422), a broken constraint is a lost race (409), a time-out is our load (503)."""
    cases = {
        "SELECT 99999999999::int4": (422, "value.unstorable"),
        "INSERT INTO broker.unit (id, code, kind) SELECT gen_random_uuid(), code, kind FROM broker.unit LIMIT 1": (
            409,
            "row.conflict",
        ),
        "SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)": (503, "database.busy"),
        "SELECT 1/0 FROM nowhere": (500, "internal.error"),
    }
    for statement, expected in cases.items():
        answer = _failing(_database_error(server, statement))
        assert (answer.status_code, answer.json()["code"]) == expected, statement


def test_every_answer_carries_the_security_headers(visitor: httpx.Client) -> None:
    """No script from elsewhere, no framing, no sniffing, nothing kept by caches; errors included."""
    for path in ("/healthz", "/nowhere", "/api/v1/me"):
        headers = visitor.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "'unsafe-inline'" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


@pytest.fixture
def log(server: Server) -> Iterator[io.StringIO]:
    """What the API logs, also where the console's server was started since in this process, and logs elsewhere."""
    handlers = logging.getLogger().handlers
    configure_logging(server.app.state.core.settings, server.log)
    yield server.log
    logging.getLogger().handlers = handlers


def test_the_log_has_the_request_id_and_no_secret(log: io.StringIO, visitor: httpx.Client) -> None:
    """One JSON line a request, found by its id; passwords and tokens never reach it."""
    visitor.post(
        "/api/v1/sessions",
        json={"login": "nobody.log", "password": "swordfish-77"},
        headers={"X-Request-Id": "find-me", "Authorization": "Bearer s3cr3t-s3cr3t"},
    )
    wait_until(lambda: "find-me" in log.getvalue())  # the line is written after the answer
    lines = [json.loads(line) for line in log.getvalue().splitlines() if "find-me" in line]
    assert [line["event"] for line in lines] == ["http.request"]
    assert (lines[0]["status"], lines[0]["route"], lines[0]["method"]) == (401, "/api/v1/sessions", "POST")
    assert "swordfish" not in log.getvalue()
    assert "s3cr3t" not in log.getvalue()


def _codes(tree: ast.AST) -> set[str]:
    """The codes that a module's refusals are made with."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        at = 1 if name == "_complain" else 0
        if (name in REFUSALS or name == "_complain") and len(node.args) > at:
            code = node.args[at]
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                found.add(code.value)
    return found


def test_every_code_that_can_be_raised_has_a_chinese_sentence() -> None:
    """Whoever adds a refusal adds its sentence in api/texts."""
    codes: set[str] = set()
    for package in (api, broker):
        for file in Path(str(package.__file__)).parent.rglob("*.py"):
            codes |= _codes(ast.parse(file.read_text(encoding="utf-8")))
    assert len(codes) > 50
    assert sorted(codes - set(texts.SENTENCES)) == []


def test_sentences_are_sentences_and_survive_missing_blanks() -> None:
    """Each ends with a full stop and can be filled, also when a blank was forgotten."""
    for code in texts.SENTENCES:
        filled = texts.sentence(code)
        assert filled.endswith("。"), code
        assert "{" not in filled, code


def test_articles_are_named_as_officials_name_them() -> None:
    """``Art. 17(2)`` is 第十七条第（二）项; a rule of ours has no article."""
    assert texts.article("Art. 17(2)") == "《实施细则》第十七条第（二）项"
    assert texts.article("Art. 10") == "《实施细则》第十条"
    assert texts.article("Art. 26") == "《实施细则》第二十六条"
    assert texts.article("") == ""
