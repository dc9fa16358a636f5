"""The whole road over HTTP, as the different people walk it; the machine's steps are the worker's own."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import NullPool, create_engine, text

from api import uow
from broker.reclamation import dates
from quotas import service as quotas
from quotas.ipv6 import service as ipv6
from tests.api.server import Server
from tests.conftest import Database
from tests.stories.road import walk
from tests.stories.world import Clock, World, form

DAYS = {"start_date": "2099-01-01", "end_date": "2099-12-31"}


@pytest.fixture(scope="module")
def world(server: Server, simulated_database: Database) -> World:
    """The machine's side of the same broker; its clouds have been asked how they are."""
    made = World(server.app.state.core, Clock(), server.database, simulated_database.app_url)
    made.ask_health()
    return made


@pytest.fixture(autouse=True)
def clouds_feel_well(world: World) -> None:
    """As the worker asks every minute: what a cloud said ten minutes ago counts for nothing any more."""
    world.feel_well()


def done(answer: httpx.Response) -> Any:
    """The body of an answer that must be a success."""
    assert answer.is_success, answer.text
    return answer.json()


def submit(server: Server, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = done(server.person("apply.jyt").post("/api/v1/requests", json=form(**DAYS, **changes)))
    return made


def approve(server: Server, made: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"decision": "approve", "revision": made["revision"], **more}
    return server.person("approve.jyt").post(f"/api/v1/requests/{made['id']}/approval", json=body)


def assess(server: Server, made: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"decision": "confirm", "revision": made["revision"], **more}
    return server.person("assess.jyt").post(f"/api/v1/requests/{made['id']}/assessment", json=body)


def order(server: Server, made: dict[str, Any], login: str = "deliver.jyt") -> httpx.Response:
    return server.person(login).post(f"/api/v1/requests/{made['id']}/delivery")


def delivered(server: Server, world: World, **changes: Any) -> dict[str, Any]:
    """A request that was carried to its handover."""
    made = submit(server, **changes)
    done(approve(server, made))
    done(assess(server, made))
    done(order(server, made))
    walk(world)
    return made


def test_a_request_travels_from_form_to_release(server: Server, world: World) -> None:
    """Each person does their part; what each stage leaves can be read; in the end nothing is left in the cloud."""
    made = submit(server)
    url = f"/api/v1/requests/{made['id']}"
    unit = server.person("apply.jyt")
    assert server.person("approve.jyt").get(url).json()["actions"] == ["approve", "return", "refuse"]
    assert done(approve(server, made))["state"] == "approved"
    assert [a["decision"] for a in done(unit.get(f"{url}/approvals"))] == ["approve"]
    proposal = done(server.person("assess.jyt").get(f"{url}/assessment"))
    assert (proposal["outcome"], proposal["complete"]) == ("proposed", True)
    assert done(assess(server, made))["state"] == "assessed"
    assert done(order(server, made))["state"] == "delivering"
    walk(world)
    assert done(unit.get(url))["state"] == "delivered"
    delivery = done(unit.get(f"{url}/deliveries"))[0]
    assert {s["state"] for s in delivery["steps"]} == {"done"}
    assert delivery["handovers"][0]["record"]["resources"]
    resources = done(unit.get(f"/api/v1/resources?request={made['id']}"))["data"]
    assert {r["state"] for r in resources} == {"active"}
    assert done(unit.get(f"{url}/cost"))["missing"] == 0
    release = done(unit.post(f"{url}/release", json={"reason": "系统已下线"}))[0]
    waiting = done(server.person("deliver.jyt").get("/api/v1/releases"))
    assert release["id"] in [r["id"] for r in waiting]
    done(server.person("deliver.jyt").post(f"/api/v1/releases/{release['id']}/confirmation"))
    walk(world)
    assert done(unit.get(url))["state"] == "released"
    assert done(unit.get(f"{url}/releases"))[0]["state"] == "released"


def test_every_candidate_says_why_it_was_or_was_not_chosen(server: Server, world: World) -> None:
    """For each item every sub-cloud with every filter's verdict in a sentence, before and after the decision."""
    made = submit(server)
    done(approve(server, made))
    url = f"/api/v1/requests/{made['id']}/assessment"
    for step in ("proposed", "confirm"):
        body = done(server.person("assess.jyt").get(url))
        assert body["outcome"] == step
        for placement in body["placements"]:
            assert sum(c["chosen"] for c in placement["candidates"]) == 1
            assert len(placement["candidates"]) == 17
            for candidate in placement["candidates"]:
                assert len(candidate["verdicts"]) == 9
                assert all(v["message"].endswith("。") for v in candidate["verdicts"])
        if step == "proposed":
            done(assess(server, made))


@pytest.mark.parametrize("ends", [True, False])
def test_who_meets_a_prefix_in_the_making_begins_anew(
    server: Server,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    ends: bool,  # noqa: FBT001
) -> None:
    """An assessment does not wait for it with the counters that others wait for: it pauses without them."""
    made = submit(server)
    done(approve(server, made))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        with server.app.state.core.works.begin() as work:
            quotas.alone(work.session)  # nobody holds a counter meanwhile
        if ends:
            other.rollback()

    monkeypatch.setattr(uow, "sleep", pause)
    monkeypatch.setattr(ipv6, "sleep", lambda _: pytest.fail("waits with counters"))
    claim = text("SELECT pg_advisory_xact_lock(quotas.claim_of(domain_id::int, prefix)) FROM quotas.prefix_pool")
    engine = create_engine(server.database.owner_url, poolclass=NullPool)
    with engine.connect() as other:
        other.execute(claim)
        answer = assess(server, made)
    if ends:
        assert (done(answer)["state"], len(pauses)) == ("assessed", 1)
    else:
        assert (answer.status_code, answer.json()["code"], len(pauses)) == (409, "prefix.busy", 2)


def test_the_assessor_tries_sizes_before_confirming_them(server: Server, world: World) -> None:
    """A trial changes nothing; what is confirmed is what was tried."""
    made = submit(server)
    done(approve(server, made))
    person, url = server.person("assess.jyt"), f"/api/v1/requests/{made['id']}/assessment"
    before = done(person.get(url))["monthly_fen"]
    changes = {"sizes": {"1": {"vcpu": 2}}}
    tried = done(person.post(f"{url}/proposal", json=changes))
    assert tried["monthly_fen"] < before == done(person.get(url))["monthly_fen"]
    done(assess(server, made, **changes))
    confirmed = done(person.get(url))
    assert confirmed["monthly_fen"] == tried["monthly_fen"]
    assert [p["overridden"] for p in confirmed["placements"]] == [False, True, False]
    assert person.post(f"{url}/proposal", json={"sizes": {"1": {"colour": 2}}}).status_code == 422


def test_a_decision_on_an_older_revision_is_refused(server: Server) -> None:
    """Who saw another revision is told so: 409, and nothing is decided."""
    made = submit(server)
    answer = approve(server, {**made, "revision": made["id"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "revision.stale")
    assert done(server.person("apply.jyt").get(f"/api/v1/requests/{made['id']}"))["state"] == "submitted"


def test_a_return_needs_a_reason_and_stops_the_clock(server: Server) -> None:
    """Returned, corrected, submitted again: a new revision under the same number."""
    made = submit(server)
    assert approve(server, made, decision="return").json()["errors"][0]["code"] == "reason.missing"
    assert done(approve(server, made, decision="return", reason="请补充公文"))["state"] == "returned"
    person, url = server.person("apply.jyt"), f"/api/v1/requests/{made['id']}"
    assert done(person.get(url))["clocks"][0]["stands_still"]
    again = done(person.put(url, json=form(**DAYS, purpose="补充后的用途说明")))
    assert (again["state"], again["number"]) == ("submitted", made["number"])
    assert again["revision"] != made["revision"]
    assert approve(server, made).status_code == 409
    assert done(approve(server, again))["state"] == "approved"


def test_nobody_acts_outside_their_duty(server: Server) -> None:
    """Another authority's approver does not even see it; roles gate the endpoint before that."""
    made = submit(server)
    body = {"decision": "approve", "revision": made["revision"]}
    url = f"/api/v1/requests/{made['id']}/approval"
    assert server.person("approve.1").post(url, json=body).status_code == 404
    for login in ("apply.jyt", "assess.jyt", "deliver.jyt", "audit", "admin"):
        assert server.person(login).post(url, json=body).json()["code"] == "role.missing", login
    assert order(server, made).json()["code"] == "state.refused"


def test_the_key_to_the_servers_is_shown_once(server: Server, world: World) -> None:
    """Without a key of the applicant's: a private key, once, to the applicant only, also when the POST is repeated."""
    made = delivered(server, world, ssh_public_key="")
    delivery = done(server.person("apply.jyt").get(f"/api/v1/requests/{made['id']}/deliveries"))[0]
    assert delivery["secret_waiting"]
    url, key = f"/api/v1/deliveries/{delivery['id']}/secret", {"Idempotency-Key": made["id"]}
    assert server.person("lead.jyt").post(url).json()["code"] == "secret.not_yours"
    first = done(server.person("apply.jyt").post(url, headers=key))
    assert "PRIVATE KEY" in first["private_key"]
    repeated = server.person("apply.jyt").post(url, headers=key)
    assert repeated.headers["idempotent-replay"] == "true"
    assert "private_key" not in repeated.json()
    assert server.person("apply.jyt").post(url).json()["code"] == "secret.shown"
    with server.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT string_agg(body::text, '') FROM broker.idempotency_key").scalar_one()
    assert "PRIVATE KEY" not in kept


def test_the_road_costs_few_statements_over_http(server: Server, world: World, statements: list[str]) -> None:
    """Four decisions with their idempotency keys stay within their share of the sixty statements of a road."""
    for login in ("apply.jyt", "approve.jyt", "assess.jyt", "deliver.jyt"):
        server.person(login)
    statements.clear()
    made = submit(server)
    done(approve(server, made))
    done(assess(server, made))
    done(order(server, made))
    assert len(statements) <= 52
    walk(world)


def test_statements_notices_registers_and_the_audit_log_can_be_read(server: Server, world: World) -> None:
    """Every register answers with what its schema says; the audit log has each decision with its article."""
    made = delivered(server, world)
    audit = server.person("audit")
    events = done(audit.get(f"/api/v1/audit/events?request={made['id']}&limit=100"))["data"]
    assert {"request.submitted", "request.approved", "request.assessed", "request.delivering"} <= {
        e["action"] for e in events
    }
    assert {e["article"] for e in events if e["action"] == "request.approved"} == {"Art. 17(2)"}
    assert done(audit.get("/api/v1/audit/head"))["hash"]
    notices = done(server.person("apply.jyt").get("/api/v1/notices"))["data"]
    assert made["number"] in notices[0]["message"]
    assert server.person("apply.jyt").post("/api/v1/notices/read", json={"ids": [notices[0]["id"]]}).status_code == 204
    assert done(server.person("apply.jyt").get("/api/v1/notices"))["data"][0]["read"]
    assert len(done(server.person("finance").get("/api/v1/sub-clouds"))) == 17
    assert {u["code"] for u in done(server.person("apply.jyt").get("/api/v1/units"))} >= {"jyt", "jyt-xxzx"}
    assert done(server.person("finance").get("/api/v1/statements"))["next"] is None
    assert (
        server.person("finance").get("/api/v1/statements?month=2026-13").json()["errors"][0]["code"] == "month.invalid"
    )
    assert server.person("apply.jyt").get("/api/v1/audit/events").status_code == 403


def test_a_system_is_registered_within_ones_own_tree(server: Server) -> None:
    """Art. 26: registered first; a code is taken once; another unit's tree is closed."""
    system = {
        "unit": "jyt", "code": "jyt-test", "name": "测试系统", "mlps_level": 3, "function": "测试",
        "scope_of_use": "全区", "frequency_of_use": "每天", "approving_department": "自治区教育厅",
        "funding_source": "部门预算", "approved_on": "2018-05-06",
    }  # fmt: skip
    person = server.person("apply.jyt")
    assert done(person.post("/api/v1/systems", json=system))["mlps_level"] == 3
    twice = person.post("/api/v1/systems", json={**system, "mlps_level": 9}).json()["errors"]
    assert {e["code"] for e in twice} == {"system.code_taken", "mlps.range"}
    elsewhere = person.post("/api/v1/systems", json={**system, "unit": "rst", "code": "jyt-2"})
    assert elsewhere.json()["errors"][0]["code"] == "unit.unknown"


def test_an_exception_to_article_10_is_put_on_record(server: Server) -> None:
    """By an approver, with a reason and a document; after it a dedicated network is no longer refused."""
    dedicated = form(**DAYS, unit="jyt", dedicated_network=True)
    person = server.person("apply.jyt")
    before = done(person.post("/api/v1/requests/check", json=dedicated))["problems"]
    assert [p["code"] for p in before] == ["request.dedicated_network"]
    exception = {
        "unit": "jyt", "document_number": "桂数发〔2026〕3号", "reason": "考试保密需要",
        "valid_from": "2020-01-01T00:00:00+08:00",
    }  # fmt: skip
    assert server.person("approve.1").post("/api/v1/network-exceptions", json=exception).status_code == 201
    assert done(person.post("/api/v1/requests/check", json=dedicated))["problems"] == []


def test_a_case_is_opened_heard_and_answered(server: Server, world: World) -> None:
    """An operator opens it, the owner objects, the authority answers; each sees what he may do, and no one else may."""
    made = delivered(server, world)
    operator, unit, bureau = (server.person(who) for who in ("deliver.jyt", "apply.jyt", "approve.jyt"))
    resources = done(operator.get("/api/v1/resources", params={"request": made["id"], "kind": "server"}))["data"]
    numbers = [resources[0]["number"]]
    assert unit.post("/api/v1/reclaim-cases", json={"resources": numbers, "reason": "闲置"}).status_code == 403
    wrong = operator.post("/api/v1/reclaim-cases", json={"resources": ["ZY-99999999"], "reason": "闲置"})
    assert (wrong.status_code, wrong.json()["errors"][0]["code"]) == (422, "reclaim.resource_unknown")
    case = done(operator.post("/api/v1/reclaim-cases", json={"resources": numbers, "reason": "长期闲置"}))
    assert (case["state"], case["resources"]) == ("found", 2), "the server and the disk that hangs on it"
    with world.app.works.begin() as work:
        dates.come(work)
    url = f"/api/v1/reclaim-cases/{case['id']}"
    assert done(unit.get(url))["offers"] == ["object"]
    assert done(unit.post(f"{url}/objection", json={"reason": "月底使用"}))["state"] == "objected"
    assert done(bureau.get(url))["offers"] == ["accept", "extend", "refuse", "withdraw"]
    refused = bureau.post(f"{url}/answer", json={"decision": "accept", "reason": "好"})
    assert refused.json()["errors"][0]["code"] == "reclaim.until_missing"
    answered = done(bureau.post(f"{url}/answer", json={"decision": "extend", "reason": "再核实", "workdays": 5}))
    assert (answered["state"], answered["objections"][0]["decision"]) == ("noticed", "extend")
    listed = done(unit.get("/api/v1/reclaim-cases", params={"open": "true", "number": case["number"]}))["data"]
    assert [line["id"] for line in listed] == [case["id"]]
    assert server.person("apply.wjw").get(url).status_code == 404
    assert done(operator.post(f"{url}/withdrawal", json={"reason": "重新评估"}))["state"] == "dropped"
