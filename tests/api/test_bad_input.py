"""Bad input gets a clear error and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest

from tests.api.server import Server

JSON = {"Content-Type": "application/json"}
DEEP = b'{"name": ' + b"[" * 25 + b"]" * 25 + b"}"
VERY_DEEP = b'{"name": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"

CASES = {
    "broken JSON": (b'{"name": "x"', 400, "json.broken"),
    "nothing but a comma": (b",", 400, "json.broken"),
    "invalid UTF-8": (b'{"name": "\xff\xfe"}', 400, "json.encoding"),
    "Latin-1": ('{"name": "\xe9"}'.encode("latin-1"), 400, "json.encoding"),
    "a duplicate key": (b'{"name": "a", "name": "b"}', 400, "json.duplicate_key"),
    "a duplicate key deep inside": (b'{"name": {"a": [{"b": 1, "b": 2}]}}', 400, "json.duplicate_key"),
    "too deep": (DEEP, 400, "json.too_deep"),
    "deep enough to exhaust a stack": (VERY_DEEP, 400, "json.too_deep"),
    "NaN": (b'{"name": NaN}', 400, "json.number"),
    "an endless number": (b'{"name": 1e999}', 400, "json.number"),
    "an integer of 10,000 digits": (b'{"name": ' + b"9" * 10_000 + b"}", 400, "json.number"),
    "a NUL character": (b'{"name": "a\\u0000b"}', 400, "json.text"),
    "half a surrogate pair": (b'{"name": "\\ud800"}', 400, "json.text"),
    "5 MB of text": (b'{"name": "' + b"x" * 5_000_000 + b'"}', 413, "body.too_large"),
    "a number where text belongs": (b'{"name": 7}', 422, "field.type"),
    "a list where an object belongs": (b"[1, 2]", 422, "field.type"),
    "nothing at all": (b"", 422, "field.missing"),
    "a field missing": (b"{}", 422, "field.missing"),
    "a field nobody knows": (b'{"name": "x", "nmae": "y"}', 422, "field.unknown"),
    "a name of 101 characters": (b'{"name": "' + b"x" * 101 + b'"}', 422, "field.length"),
    "a date that is none": (b'{"name": "x", "expires_at": "2026-02-30"}', 422, "field.type"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_bodies_are_refused_with_their_code_and_change_nothing(
    server: Server, case: str, token_count: list[int]
) -> None:
    """Every malformed body has a status and a stable code, in problem+json, and leaves no row."""
    content, status, code = CASES[case]
    answer = server.person("finance").post("/api/v1/tokens", content=content, headers=JSON)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == answer.json()["status"] == status
    assert answer.json()["errors"][0]["code"] == code


@pytest.mark.parametrize("content", [b"[1, 2]", b'{"name": 7}', b'{"name": "x", "expires_at": "2026-02-30"}'])
def test_a_wrong_type_is_told_in_the_words_of_people(server: Server, content: bytes) -> None:
    """What was expected is named in Chinese, never by a type of Python's."""
    said = server.person("finance").post("/api/v1/tokens", content=content, headers=JSON).json()["errors"][0]["message"]
    assert not re.search("[a-z]{3}", said), said


@pytest.fixture
def token_count(server: Server) -> Iterator[list[int]]:
    """Checks that the number of tokens stays as it was."""

    def count() -> int:
        with server.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM broker.api_token").scalar_one())

    before = count()
    yield [before]
    assert count() == before


def test_a_large_body_is_refused_also_when_it_does_not_say_how_large_it_is(server: Server) -> None:
    """Without Content-Length the limit holds while the body arrives."""

    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    answer = server.person("finance").post("/api/v1/tokens", content=chunks(), headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["code"] == "body.too_large"


def test_all_mistakes_are_told_at_once_with_their_fields(applicant: httpx.Client) -> None:
    """A form with three mistakes has three errors, each with field, code and a Chinese sentence."""
    body = applicant.post("/api/v1/tokens", json={"expires_at": 7, "a": 1, "b": 2}).json()
    assert body["code"] == "form.invalid"
    assert {e["field"] for e in body["errors"]} >= {"name", "a", "b"}
    assert all(e["message"].endswith("。") for e in body["errors"])


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/nothing-here", "http.not_found"),
        ("/api/v1/tokens/not-a-uuid", "field.format"),
        ("/api/v1/tokens/%00", "url.text"),
        ("/api/v1/tokens?x=%00", "url.text"),
    ],
)
def test_bad_addresses_are_refused(applicant: httpx.Client, path: str, code: str) -> None:
    """Unknown paths, ids that are none, and characters nobody can store."""
    assert applicant.delete(path).json()["errors"][0]["code"] == code


def test_a_wrong_method_names_the_right_ones(visitor: httpx.Client) -> None:
    """405 as problem+json, with Allow."""
    answer = visitor.put("/healthz")
    assert (answer.status_code, answer.json()["code"]) == (405, "http.method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_a_form_in_place_of_json_is_refused(applicant: httpx.Client) -> None:
    """A route that reads JSON does not read anything else."""
    answer = applicant.post("/api/v1/tokens", content=b"name=x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


@pytest.mark.parametrize("until", ["9999-12-31", "0001-01-01"])
@pytest.mark.parametrize(("who", "act"), [("approve.jyt", "answer"), ("apply.jyt", "renewal")])
def test_a_day_beyond_any_calendar_is_a_day_like_another(server: Server, until: str, who: str, act: str) -> None:
    """The end of the last day there is lies outside what can be counted: no error of ours."""
    more = {"decision": "accept"} if act == "answer" else {}
    body = {"until": until, "reason": "继续使用", **more}
    answer = server.person(who).post(f"/api/v1/reclaim-cases/{UUID(int=7)}/{act}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "reclaim.not_found")


def test_a_case_over_nothing_says_that_nothing_was_named(server: Server) -> None:
    """And not that there is no resource without a name."""
    answer = server.person("deliver.jyt").post("/api/v1/reclaim-cases", json={"resources": [], "reason": "闲置"})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"], error["field"]) == (422, "field.missing", "resources")
