"""Stage 1 over HTTP: forms, drafts, lists, versions, attachments, and who sees what."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.server import Server, one_person

PDF = b"%PDF-1.7\n" + b"x" * 100


def form(**changes: Any) -> dict[str, Any]:
    """A form of the education department that is complete."""
    today = date.today()  # noqa: DTZ011 - the form's days are far enough from midnight's two sides
    return {
        "unit": "jyt",
        "system": "JYT-001",
        "purpose": "招生考试报名系统扩容",
        "contact": {"name": "韦海燕", "phone": "0771-1234567", "email": "wei@example.cn"},
        "expected_users": 20000,
        "start_date": (today + timedelta(days=3)).isoformat(),
        "end_date": (today + timedelta(days=300)).isoformat(),
        "funding_source": "部门预算",
        "nature": "new",
        "classified": False,
        "document_number": "桂教函〔2026〕12号",
        "items": [
            {"kind": "segment", "name": "net", "zone": "shared"},
            {"kind": "server", "name": "app", "vcpu": 2, "memory_gib": 4, "image": "openeuler-24.03"},
        ],
        **changes,
    }


@pytest.fixture(scope="module")
def complete(server: Server) -> dict[str, Any]:
    """A form whose system and image exist in the demonstration region."""
    person = server.person("apply.jyt")
    system = person.get("/api/v1/systems").json()["data"][0]["code"]
    with server.engine.connect() as connection:
        image = connection.exec_driver_sql(
            "SELECT i.code FROM broker.image i WHERE i.cpu_arch = 'x86_64' ORDER BY 1 LIMIT 1"
        ).scalar_one()
    made = form(system=system)
    made["items"][1]["image"] = image
    return made


def submitted(server: Server, complete: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A request just submitted."""
    answer = server.person("apply.jyt").post("/api/v1/requests", json={**complete, **changes})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_complete_form_becomes_a_request(server: Server, complete: dict[str, Any]) -> None:
    """Number, state, version as ETag, the form without personal data, its quote, its clock, what one may do."""
    person = server.person("apply.jyt")
    made = submitted(server, complete)
    assert made["state"] == "submitted"
    assert made["number"].startswith("GX-")
    answer = person.get(f"/api/v1/requests/{made['id']}")
    body = answer.json()
    assert answer.headers["etag"] == f'"{body["version"]}"'
    assert body["form"]["purpose"] == complete["purpose"]
    assert "contact" not in body["form"]
    assert body["contact"]["name"] == "韦海燕"
    assert body["quote"]["total_fen"] > 0
    assert [(c["stage"], c["workdays"]) for c in body["clocks"]] == [("approval", 1)]
    assert body["actions"] == ["withdraw"]
    assert [i["state"] for i in body["items"]] == ["requested", "requested"]


def test_all_mistakes_of_a_form_come_back_at_once(server: Server, complete: dict[str, Any]) -> None:
    """Fields, codes, sentences and articles; nothing is made."""
    person = server.person("apply.jyt")
    wrong = {
        **complete,
        "classified": True,
        "unit": "nowhere",
        "start_date": "2019-01-01",
        "expected_users": -5,
        "items": [{"kind": "server", "name": "Ä", "vcpu": "four", "memory_gib": 10**12, "image": "x"}],
    }
    before = len(person.get("/api/v1/requests?limit=100").json()["data"])
    answer = person.post("/api/v1/requests", json=wrong)
    assert answer.status_code == 422
    found = {(e["field"], e["code"]) for e in answer.json()["errors"]}
    assert found >= {
        ("classified", "request.classified"),
        ("unit", "unit.unknown"),
        ("start_date", "date.past"),
        ("expected_users", "field.range"),
        ("items[0].name", "field.format"),
        ("items[0].vcpu", "field.type"),
        ("items[0].memory_gib", "field.range"),
    }
    assert {e["article"] for e in answer.json()["errors"] if e["code"] == "request.classified"} == {"Art. 2(3)"}
    assert len(person.get("/api/v1/requests?limit=100").json()["data"]) == before


def test_ten_thousand_items_are_one_mistake(server: Server, complete: dict[str, Any]) -> None:
    """An absurd number of items is refused without ten thousand sentences."""
    items = [{"kind": "segment", "name": f"n{i}", "zone": "shared"} for i in range(10_000)]
    answer = server.person("apply.jyt").post("/api/v1/requests", json={**complete, "items": items})
    assert answer.status_code == 422
    assert [e["code"] for e in answer.json()["errors"]] == ["field.count"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("start_date", "0001-01-01", "field.date"),
        ("start_date", "2099-W01-1", "field.date"),
        ("end_date", "20991231", "field.date"),
        ("end_date", "9999-12-31", "field.date"),
        ("attachments", [str(uuid4())] * 21, "field.count"),
    ],
)
def test_absurd_values_have_a_code_of_their_own(
    server: Server, complete: dict[str, Any], field: str, value: Any, code: str
) -> None:
    """Dates nobody can count from, other writings of a date, more attachments than are read: each is one mistake."""
    answer = server.person("apply.jyt").post("/api/v1/requests", json=complete | {field: value})
    assert answer.status_code == 422
    assert [(e["field"], e["code"]) for e in answer.json()["errors"]] == [(field, code)]


def test_a_form_can_be_tried_without_keeping_anything(server: Server, complete: dict[str, Any]) -> None:
    """The same problems and the same quote as a submission, and no row."""
    person = server.person("apply.jyt")
    body = person.post("/api/v1/requests/check", json={**complete, "expected_users": 0}).json()
    assert [p["field"] for p in body["problems"]] == ["expected_users"]
    assert body["quote"]["total_fen"] > 0


def test_two_people_cannot_overwrite_each_other(server: Server, complete: dict[str, Any]) -> None:
    """A draft is replaced only by who saw its last version: 412 for the other."""
    person = server.person("apply.jyt")
    made = person.post("/api/v1/requests?submit=false", json=complete)
    url, first = made.headers["location"], person.get(made.headers["location"]).headers["etag"]
    changed = {**complete, "purpose": "改过的用途说明"}
    assert person.put(f"{url}?submit=false", json=changed, headers={"If-Match": first}).status_code == 200
    late = person.put(f"{url}?submit=false", json=complete, headers={"If-Match": first})
    assert (late.status_code, late.json()["code"]) == (412, "version.stale")
    assert person.get(url).json()["form"]["purpose"] == "改过的用途说明"
    strange = person.put(url, json=complete, headers={"If-Match": 'W/"x"'})
    assert strange.status_code == 412
    done = person.put(url, json=complete, headers={"If-Match": person.get(url).headers["etag"]})
    assert done.json()["state"] == "submitted"


def test_who_asked_does_not_decide_with_another_account(server: Server, complete: dict[str, Any]) -> None:
    """Two accounts of one person are one where two people are asked for; nor is it offered."""
    made, bureau = submitted(server, complete), server.person("approve.jyt")
    path = f"/api/v1/requests/{made['id']}"
    word = {"decision": "approve", "revision": made["revision"]}
    with one_person(server, "apply.jyt", "approve.jyt"):
        assert "approve" not in bureau.get(path).json()["actions"]
        refused = bureau.post(f"{path}/approval", json=word)
        assert (refused.status_code, refused.json()["code"]) == (403, "duty.separated")
    assert "approve" in bureau.get(path).json()["actions"]
    assert bureau.post(f"{path}/approval", json=word).json()["state"] == "approved"


def test_a_page_of_the_list_takes_two_statements_whatever_its_size(
    server: Server, complete: dict[str, Any], statements: list[str]
) -> None:
    """Signing in and one query: for one row as for twenty."""
    for _ in range(5):
        submitted(server, complete)
    person = server.person("apply.jyt")
    for limit in (1, 5):
        statements.clear()
        assert len(person.get(f"/api/v1/requests?limit={limit}").json()["data"]) == limit
        assert len(statements) == 2


def test_pages_follow_each_other_without_gap_or_repetition(server: Server, complete: dict[str, Any]) -> None:
    """Walking the ``next`` links gives every request once, newest first."""
    for _ in range(3):
        submitted(server, complete)
    person = server.person("apply.jyt")
    everything = [r["id"] for r in person.get("/api/v1/requests?limit=100").json()["data"]]
    walked, url = [], "/api/v1/requests?limit=2"
    while url:
        body = person.get(url).json()
        walked += [r["id"] for r in body["data"]]
        url = body["next"]
    assert walked == everything == sorted(everything, reverse=True)


@pytest.mark.parametrize("query", ["after=!!!", "after=AAAA", "limit=0", "limit=101", "limit=x", "state=nothing"])
def test_bad_list_parameters_are_refused(applicant: httpx.Client, query: str) -> None:
    """A wrong cursor, an absurd limit, an unknown state."""
    assert applicant.get(f"/api/v1/requests?{query}").status_code == 422


def test_a_unit_sees_its_tree_and_nothing_else(server: Server, complete: dict[str, Any]) -> None:
    """Another department gets 404, as for what does not exist; audit sees it; the deciding authority sees it."""
    made = submitted(server, complete)
    url = f"/api/v1/requests/{made['id']}"
    for login, status in (
        ("chief.jyt", 200), ("audit", 200), ("admin", 200), ("approve.jyt", 200), ("assess.jyt", 200),
        ("deliver.jyt", 200), ("apply.rst", 404), ("apply.liuzhou", 404), ("apply.zsksy", 404),
        ("approve.liuzhou", 404), ("finance", 403),
    ):  # fmt: skip
        assert server.person(login).get(url).status_code == status, login
    missing = server.person("apply.rst").get(f"/api/v1/requests/{uuid4()}").json()
    assert missing["code"] == server.person("apply.rst").get(url).json()["code"] == "request.not_found"
    assert made["id"] not in [r["id"] for r in server.person("apply.rst").get("/api/v1/requests").json()["data"]]


@pytest.mark.parametrize("login", ["approve.1", "assess.1", "deliver.1", "audit", "finance", "admin", "chief.jyt"])
def test_only_units_apply(server: Server, complete: dict[str, Any], login: str) -> None:
    """A role that may not write requests is refused before anything is looked at."""
    answer = server.person(login).post("/api/v1/requests", json=complete)
    assert (answer.status_code, answer.json()["code"]) == (403, "role.missing")


def test_a_request_can_be_withdrawn_once(server: Server, complete: dict[str, Any]) -> None:
    """Then it is final."""
    person, made = server.person("apply.jyt"), submitted(server, complete)
    url = f"/api/v1/requests/{made['id']}/withdrawal"
    assert person.post(url, json={"reason": "计划有变"}).json()["state"] == "withdrawn"
    again = person.post(url, json={})
    assert (again.status_code, again.json()["code"]) == (409, "state.refused")
    assert "已撤回" in again.json()["detail"]


def upload(client: httpx.Client, content: bytes, name: str = "函.pdf", **headers: str) -> httpx.Response:
    return client.post(
        "/api/v1/attachments",
        files={"file": (name, content, "application/pdf")},
        data={"document_number": "桂教函〔2026〕12号"},
        headers=headers,
    )


def test_a_letter_is_uploaded_attached_and_downloaded(server: Server, complete: dict[str, Any]) -> None:
    """SM3, size and type are recorded; it comes back byte for byte, always as a download."""
    person = server.person("apply.jyt")
    letter = upload(person, PDF).json()
    strange = server.person("apply.rst").get(f"/api/v1/attachments/{letter['id']}")
    assert (strange.status_code, strange.json()["code"]) == (404, "attachment.not_found")
    assert (letter["media_type"], letter["size_bytes"], len(letter["sm3"])) == ("application/pdf", len(PDF), 64)
    made = submitted(server, complete, attachments=[letter["id"]])
    assert person.get(f"/api/v1/requests/{made['id']}").json()["attachments"][0]["id"] == letter["id"]
    answer = person.get(f"/api/v1/attachments/{letter['id']}")
    assert answer.content == PDF
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%E5%87%BD.pdf"
    assert server.person("apply.rst").get(f"/api/v1/attachments/{letter['id']}").status_code == 404
    assert server.person("approve.jyt").get(f"/api/v1/attachments/{letter['id']}").status_code == 200
    assert server.person("approve.1").get(f"/api/v1/attachments/{letter['id']}").status_code == 404


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"<html><script>", "attachment.type"), (b"", "attachment.size"), (b"PK\x03\x04zip", "attachment.type")],
)
def test_what_only_calls_itself_a_pdf_is_refused(server: Server, content: bytes, code: str) -> None:
    """The first bytes tell the type, not the browser."""
    answer = upload(server.person("apply.jyt"), content)
    assert answer.status_code == 422
    assert code in [e["code"] for e in answer.json()["errors"]]


def test_a_letter_of_more_than_20_mib_is_refused(server: Server) -> None:
    """The body's own limit holds before the file is looked at; elsewhere the small limit holds."""
    assert upload(server.person("apply.jyt"), PDF + b"x" * (21 << 20)).status_code == 413
    assert upload(server.person("apply.jyt"), PDF + b"x" * (3 << 20)).status_code == 201


def test_a_repeated_upload_is_one_attachment(server: Server) -> None:
    """The same file under the same key, although a client draws a new boundary each time."""
    person, key = server.person("apply.jyt"), uuid4().hex
    first, second = (upload(person, PDF, **{"Idempotency-Key": key}) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotent-replay"] == "true"


def test_live_progress_reaches_a_browser(server: Server, complete: dict[str, Any]) -> None:
    """The stream begins with the state and tells when the request is withdrawn; others may not open it."""
    person, made = server.person("apply.jyt"), submitted(server, complete)
    url = f"/api/v1/requests/{made['id']}/events"
    assert server.person("apply.rst").get(url).status_code == 404
    with person.stream("GET", url) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert _next_data(lines)["state"] == "submitted"
        person.post(f"/api/v1/requests/{made['id']}/withdrawal", json={})
        # The submission's own notification may arrive only now, behind the state that the stream began with.
        told = (_next_data(lines)["state"] for _ in range(2))
        assert next(state for state in told if state != "submitted") == "withdrawn"


def _next_data(lines: Any) -> dict[str, Any]:
    for line in lines:
        if line.startswith("data: "):
            found: dict[str, Any] = json.loads(line.removeprefix("data: "))
            return found
    raise AssertionError("the stream ended")
