"""A cookie goes along by itself, so a write must also show that it comes from our own pages."""

from __future__ import annotations

import httpx
import pytest

from tests.api.server import Server

BODY = {"name": "跨站"}


@pytest.fixture
def browser(server: Server) -> httpx.Client:
    """A signed-in browser without the header that our pages add."""
    person = server.person("cloud.operator")
    client = server.visitor()
    client.cookies.update(person.cookies)
    return client


@pytest.mark.parametrize("headers", [{}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": ""}])
def test_a_write_without_the_sessions_token_is_refused(browser: httpx.Client, headers: dict[str, str]) -> None:
    """403, whatever else is right."""
    answer = browser.post("/api/v1/tokens", json=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf.missing")


def test_the_token_of_another_session_is_worth_nothing(server: Server, browser: httpx.Client) -> None:
    """The token is the session's own."""
    other = server.person("audit").headers["X-CSRF-Token"]
    assert browser.post("/api/v1/tokens", json=BODY, headers={"X-CSRF-Token": other}).status_code == 403


def test_the_token_may_come_as_a_field_of_a_form(server: Server, browser: httpx.Client) -> None:
    """Pages without scripts send it as ``csrf_token``: the request gets as far as the form's own check."""
    token = server.person("cloud.operator").headers["X-CSRF-Token"]
    assert browser.request("DELETE", "/api/v1/tokens/" + "0" * 32, data={"csrf_token": token}).status_code == 404
    assert browser.request("DELETE", "/api/v1/tokens/" + "0" * 32, data={"csrf_token": "no"}).status_code == 403


def test_reading_needs_no_token(browser: httpx.Client) -> None:
    """A GET changes nothing."""
    assert browser.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_write_from_another_site_is_refused_even_with_the_token(server: Server, headers: dict[str, str]) -> None:
    """What the browser says of where a request comes from counts also for signing in."""
    person = server.person("cloud.operator")
    assert person.post("/api/v1/tokens", json=BODY, headers=headers).json()["code"] == "csrf.cross_site"
    form = {"login": "audit", "password": "x"}
    assert server.visitor().post("/api/v1/sessions", json=form, headers=headers).json()["code"] == "csrf.cross_site"


def test_our_own_pages_may_write(server: Server) -> None:
    """Origin and Sec-Fetch-Site as a browser sends them from our own page."""
    headers = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert server.person("cloud.operator").post("/api/v1/tokens", json=BODY, headers=headers).status_code == 201
