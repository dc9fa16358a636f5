"""Quotas and competing requests over HTTP: one's own tree, old and new, who else waits, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from quotas import service
from quotas.errors import QuotaExceeded
from quotas.values import Line, ResourceClass
from tests.api.server import Server
from tests.stories.world import form


def make_form(**changes: Any) -> dict[str, Any]:
    """A complete form of the education department that begins soon."""
    day = datetime.now(UTC).date() + timedelta(days=2)
    dates = {"start_date": day.isoformat(), "end_date": (day + timedelta(days=300)).isoformat()}
    return form(**(dates | changes))


def submit(client: httpx.Client, **changes: Any) -> str:
    answer = client.post("/api/v1/requests", json=make_form(**changes))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_a_unit_reads_its_own_quota_and_no_neighbours(applicant: httpx.Client) -> None:
    """Limits, use, holds and what is left by class; another unit is as unknown as none."""
    found = applicant.get("/api/v1/units/jyt/quota").json()
    bars = {(bar["resource_class"], bar["sub_cloud"]): bar for bar in found["bars"]}
    assert bars["vcpu", None]["limit"] == 2400
    assert bars["vcpu", None]["left"] == 2400 - bars["vcpu", None]["in_use"] - bars["vcpu", None]["held"]
    answer = applicant.get("/api/v1/units/rst/quota")
    assert (answer.status_code, answer.json()["code"]) == (404, "unit.unknown")


def test_units_below_come_page_by_page(server: Server) -> None:
    """Every unit below the region once."""
    bureau, seen = server.person("approve.1"), []
    url: str | None = "/api/v1/units/450000/quota/units?limit=30"
    while url:
        page = bureau.get(url).json()
        seen += [unit["code"] for unit in page["data"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) > 60
    assert {"450200", "jyt"} <= set(seen)


def test_a_check_and_a_request_show_old_asked_and_new(applicant: httpx.Client) -> None:
    """The same table before submission and after it; what cannot be held says whose limit it is."""
    rows = applicant.post("/api/v1/requests/check", json=make_form()).json()["quota"]["rows"]
    vcpu = next(row for row in rows if row["resource_class"] == "vcpu")
    assert vcpu["new"] == vcpu["used"] + vcpu["asked"] > vcpu["used"]
    items = [{"kind": "server", "name": "big", "count": 200, "vcpu": 256, "memory_gib": 8,
              "image": "openeuler-22.03-x86_64", "zone": "shared"}]  # fmt: skip
    refused = applicant.post("/api/v1/requests/check", json=make_form(items=items)).json()["quota"]["refused"]
    said = {each["code"]: each["message"] for each in refused}
    assert {"quota.limit", "quota.capacity"} <= set(said)
    assert "教育厅" in said["quota.limit"]
    request_id = submit(applicant)
    again = applicant.get(f"/api/v1/requests/{request_id}/quota").json()
    assert next(r for r in again["rows"] if r["resource_class"] == "vcpu")["asked"] == vcpu["asked"]


def test_who_else_waits_is_for_those_who_decide(server: Server, applicant: httpx.Client) -> None:
    """The office sees every competing request once, page by page; the applicant does not ask about others."""
    mine, others = submit(applicant), {submit(applicant), submit(applicant)}
    assert applicant.get(f"/api/v1/requests/{mine}/competing").status_code == 403
    office, seen = server.person("approve.jyt"), []
    url: str | None = f"/api/v1/requests/{mine}/competing?limit=1"
    while url:
        page = office.get(url).json()
        seen += [other["id"] for other in page["data"]]
        url = page["next"]
    assert len(seen) == len(set(seen))
    assert others <= set(seen)
    assert mine not in seen
    limit = next(c for c in page["contested"] if c["resource_class"] == "vcpu" and c["owner"])
    assert limit["new"] == limit["used"] + limit["asked"]
    assert limit["waiting"] > 0


def test_the_ipv6_plan_is_read_block_by_block_and_as_a_map(server: Server, applicant: httpx.Client) -> None:
    """Every block once, parents first; a zone in 256 cells; a unit's people get their own blocks only."""
    bureau, seen = server.person("approve.1"), []
    url: str | None = "/api/v1/prefix-blocks?zone=shared&limit=100"
    while url:
        page = bureau.get(url).json()
        seen += page["data"]
        url = page["next"]
    ids = [block["id"] for block in seen]
    assert len(ids) == len(set(ids)) > 200
    assert all(block["parent_id"] in (None, *ids[:place]) for place, block in enumerate(seen))
    found = bureau.get(f"/api/v1/prefix-blocks/{ids[0]}/map").json()
    assert (found["within"], found["cell_length"], len(found["children"]) > 60) == ("3fff:100::/24", 32, True)
    assert applicant.get(f"/api/v1/prefix-blocks/{ids[0]}/map").json()["code"] == "prefix.block_unknown"
    mine = applicant.get("/api/v1/prefix-blocks?zone=shared").json()["data"]
    assert mine[0]["prefix"] == "3fff:122::/32"
    answer = applicant.get(f"/api/v1/prefix-blocks/{mine[0]['id']}/map?within=10.0.0.0/8")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "prefix.part_outside")


GPU, IPV6 = ResourceClass.GPU, ResourceClass.IPV6_64
"""Nobody in the demonstration region has one or asks for one."""


@pytest.fixture
def lent(server: Server) -> Iterator[None]:
    """Of the region's 20 two departments have 10 each, and the second uses all."""
    core = server.app.state.core
    with core.works.begin() as work:
        units = {row.code: row.id for row in work.session.execute(text("SELECT code, id FROM broker.unit"))}
        cloud = UUID(str(work.session.scalar(text("SELECT id FROM broker.sub_cloud WHERE code = 'main'"))))
        service.alone(work.session)
        service.set_inventory(work.session, cloud, GPU, total=100)
        for code, amount, borrowing in (("450000", 20, 0), ("jyt", 10, 0), ("rst", 10, None)):
            service.set_limit(work.session, units[code], GPU, None, amount, borrowing=borrowing)
        asked = {"owner": units["rst"], "lines": [Line(GPU, 20, cloud)], "expires_at": work.now + timedelta(days=1)}
        held = service.hold(work.session, node=units["rst"], **asked)
    yield
    with core.works.begin() as work:
        service.alone(work.session)
        service.void(work.session, held)
        for code in ("450000", "jyt", "rst"):
            service.set_limit(work.session, units[code], GPU, None, None)


def limit_line(limit: int | None, **more: Any) -> dict[str, Any]:
    return {"resource_class": "gpu", "limit": limit} | more


def test_the_bureau_looks_at_limits_and_then_sets_them(server: Server, lent: None) -> None:
    """Who is over and who loses borrowing is said before and after; looking sets nothing; setting is an event."""
    bureau = server.person("approve.1")
    before = bureau.get("/api/v1/quota-nodes/450000/limits").json()
    own = {"resource_class": "gpu", "sub_cloud": None, "sub_cloud_code": None, "limit": 20, "load": 20}
    own |= {"borrowing": 0, "lending": None}
    assert own in before["limits"]
    asked: dict[str, Any] = {"lines": [limit_line(15)]}
    (change,) = bureau.post("/api/v1/quota-nodes/450000/limits/check", json=asked).json()["changes"]
    assert (change["before"]["limit"], change["after"]["limit"], change["more"]) == (20, 15, 0)
    (effect,) = change["effects"]
    assert (effect["over"], effect["load"], effect["room_before"], effect["room_after"]) == (5, 20, 0, 0)
    assert bureau.get("/api/v1/quota-nodes/450000/limits").json() == before

    (kept,) = bureau.post("/api/v1/quota-nodes/jyt/limits/check", json={"lines": [limit_line(4, lending=4)]}).json()[
        "changes"
    ]
    assert kept["after"] == {"limit": 4, "borrowing": 0, "lending": 4, "load": 0}
    asked |= {"reason": "统筹调整", "seen": before["seen"]}
    done = bureau.post("/api/v1/quota-nodes/450000/limits", json=asked)
    assert (done.status_code, done.json()["changes"]) == (200, [change])
    stale = bureau.post("/api/v1/quota-nodes/450000/limits", json=asked)
    assert (stale.status_code, stale.json()["code"]) == (412, "quota.limits_moved")
    core = server.app.state.core
    with core.sessions() as session:
        data = session.scalar(
            text("SELECT data FROM broker.audit_event WHERE action = 'quota.limit_set' ORDER BY id DESC LIMIT 1")
        )
    assert (data["limit"], data["was"]["limit"], data["reason"]) == (15, 20, "统筹调整")
    undone = {"lines": [limit_line(None)], "reason": "恢复"}
    (freed,) = bureau.post("/api/v1/quota-nodes/rst/limits", json=undone).json()["changes"]
    assert (freed["before"]["limit"], freed["after"], freed["effects"]) == (10, None, [])


def test_the_bureau_gives_a_system_a_node_and_puts_it_elsewhere(server: Server, lent: None) -> None:
    """Looked at, refused with every limit that refuses, moved over it by a word; by nobody else, with a reason."""
    bureau, url, core = server.person("approve.1"), "/api/v1/quota-nodes", server.app.state.core
    wish = {"system": "zsksy-wsbm"}
    assert server.person("approve.jyt").post(url, json=wish | {"reason": "核定"}).status_code == 403
    assert [e["code"] for e in bureau.post(url, json=wish).json()["errors"]] == ["reason.missing"]
    assert bureau.post(url, json={"system": "nothing", "reason": "核定"}).json()["code"] == "system.unknown"
    made = bureau.post(url, json=wish | {"reason": "核定"})
    assert (made.status_code, made.json()["moved_holds"]) == (201, 0)
    with core.works.begin() as work:
        cloud = work.session.scalar(text("SELECT id FROM broker.sub_cloud WHERE code = 'main'"))
        node = UUID(made.json()["node_id"])
        until = work.now + timedelta(days=1)
        held = service.hold(work.session, owner=node, node=node, lines=[Line(IPV6, 3, cloud)], expires_at=until)
    limit = {"lines": [{"resource_class": "ipv6_64", "limit": 2}], "reason": "统筹"}
    assert bureau.post(f"{url}/rst/limits", json=limit).status_code == 200
    looked = bureau.post(f"{url}/zsksy-wsbm/move/check", json={"below": "rst"}).json()
    assert (looked["nodes"], [(o["limit"], o["load"]) for o in looked["over"]]) == (1, [(2, 3)])
    move: dict[str, Any] = {"below": "rst", "reason": "划转"}
    refused = bureau.post(f"{url}/zsksy-wsbm/move", json=move)
    assert (refused.status_code, refused.json()["code"]) == (409, "quota.exceeded")
    assert [(e["code"], e["field"]) for e in refused.json()["errors"]] == [("quota.limit", "ipv6_64")]
    assert bureau.post(f"{url}/zsksy-wsbm/move", json=move | {"over": True}).json() == looked
    assert bureau.post(f"{url}/rst/move", json=move | {"below": "zsksy-wsbm"}).json()["code"] == "quota.node_inside"
    assert f"{looked['over'][0]['name']} / " in bureau.get("/quota/nodes?node=zsksy-wsbm").text
    back = bureau.post(f"{url}/zsksy-wsbm/move", json=move | {"below": "jyt-zsksy"})
    assert (back.json()["nodes"], back.json()["over"]) == (1, [])
    with core.works.begin() as work:
        service.void(work.session, held)
    limit["lines"][0]["limit"] = None  # type: ignore[index]
    assert bureau.post(f"{url}/rst/limits", json=limit).status_code == 200
    with core.sessions() as session:
        events = session.execute(
            text("SELECT action, data ->> 'reason' FROM broker.audit_event WHERE subject_id = :node ORDER BY id"),
            {"node": node},
        ).all()
    assert [tuple(row) for row in events if row.action.startswith("quota.node")] == [
        ("quota.node_given", "核定"), ("quota.node_moved", "划转"), ("quota.node_moved", "划转"),
    ]  # fmt: skip
    with core.sessions() as session:
        assert service.verify(session) == []


def test_a_look_at_limits_or_a_move_waits_for_nobody_who_counts(server: Server, lent: None) -> None:
    """Somebody is half-way through a count, with the gate and the root's row: the previews answer all the same."""
    core = server.app.state.core
    with core.works.begin() as counting:
        unit = counting.session.scalar(text("SELECT id FROM broker.unit WHERE code = 'jyt'"))
        cloud = counting.session.scalar(text("SELECT id FROM broker.sub_cloud WHERE code = 'main'"))
        service.alone(counting.session)
        lines = [Line(GPU, 1, cloud)]
        with pytest.raises(QuotaExceeded):
            service.hold(counting.session, owner=unit, node=unit, lines=lines, expires_at=counting.now)
        asked = {"lines": [limit_line(15)]}
        answer = server.person("approve.1").post("/api/v1/quota-nodes/450000/limits/check", json=asked)
        moved = server.person("approve.1").post("/api/v1/quota-nodes/jyt-zsksy/move/check", json={"below": "rst"})
    assert (moved.status_code, moved.json()["nodes"] > 0) == (200, True)
    assert answer.json()["changes"][0]["effects"][0]["over"] == 5


def test_a_limit_in_a_retired_cloud_can_be_lifted_and_nothing_else(server: Server, lent: None) -> None:
    """It still counts what is there; raised or set anew it would only mislead."""
    bureau, url, core = server.person("approve.1"), "/api/v1/quota-nodes/jyt/limits", server.app.state.core
    retire = text("UPDATE broker.sub_cloud SET retired_at = :at WHERE code = 'rst'")
    lift: dict[str, Any] = {"lines": [limit_line(None, sub_cloud="rst")], "reason": "停用"}
    assert bureau.post(url, json=lift | {"lines": [limit_line(5, sub_cloud="rst")]}).status_code == 200
    with core.works.begin() as work:
        work.session.execute(retire, {"at": work.now})
    try:
        assert "（已停用）" in bureau.get("/quota/limits?node=jyt").text
        answer = bureau.post(url, json=lift | {"lines": [limit_line(9, sub_cloud="rst")]})
        assert [(e["code"], e["field"]) for e in answer.json()["errors"]] == [("cloud.retired", "lines[0].limit")]
        (told,) = (m for m in bureau.get(url).json()["limits"] if m["sub_cloud"])
        (change,) = bureau.post(url, json=lift).json()["changes"]
        assert (told["sub_cloud_code"], change["sub_cloud_code"], change["sub_cloud"]) == (
            "rst",
            "rst",
            told["sub_cloud"],
        )
        assert (change["before"]["limit"], change["after"]) == (5, None)
        assert "（已停用）" not in bureau.get("/quota/limits?node=jyt").text
        answer = bureau.post(url, json=lift)
        assert [e["code"] for e in answer.json()["errors"]] == ["cloud.unknown"]
    finally:
        with core.works.begin() as work:
            work.session.execute(retire, {"at": None})


def test_what_is_wrong_with_limits_comes_at_once_and_changes_nothing(server: Server, lent: None) -> None:
    """Every line's mistakes and the missing reason; a line that is right is not set either."""
    bureau = server.person("approve.1")
    before = bureau.get("/api/v1/quota-nodes/450000/limits").json()
    lines = [
        limit_line(30),
        limit_line(30),
        limit_line(-1, sub_cloud="main", lending=-2),
        limit_line(1, sub_cloud="nowhere"),
        {"resource_class": "abacus", "limit": 1},
        {"resource_class": "object_gib", "limit": 5, "borrowing": 3},
    ]
    answer = bureau.post("/api/v1/quota-nodes/450000/limits", json={"lines": lines})
    assert (answer.status_code, {(e["code"], e["field"]) for e in answer.json()["errors"]}) == (
        422,
        {
            ("quota.twice", "lines[1].resource_class"),
            ("quota.bad_amount", "lines[2].limit"),
            ("quota.bad_amount", "lines[2].lending"),
            ("cloud.unknown", "lines[3].sub_cloud"),
            ("quota.unknown_class", "lines[4].resource_class"),
            ("quota.no_lender", "lines[5].borrowing"),
            ("reason.missing", "reason"),
        },
    )
    guarantee = {"lines": [limit_line(30, lending=0)], "reason": "保留"}
    answer = bureau.post("/api/v1/quota-nodes/jyt/limits", json=guarantee)
    assert [e["code"] for e in answer.json()["errors"]] == ["quota.not_covered_by"]
    assert (
        bureau.post("/api/v1/quota-nodes/450000/limits", json={"lines": []}).json()["errors"][0]["code"]
        == "quota.no_lines"
    )
    assert bureau.get("/api/v1/quota-nodes/450000/limits").json() == before


def test_only_the_bureau_sets_limits(server: Server, applicant: httpx.Client) -> None:
    """Not a unit, not the office of another cloud; an unknown node is unknown."""
    asked = {"lines": [limit_line(1)], "reason": "试"}
    assert applicant.post("/api/v1/quota-nodes/jyt/limits", json=asked).json()["code"] == "role.missing"
    other = server.person("approve.jyt").post("/api/v1/quota-nodes/jyt/limits", json=asked)
    assert (other.status_code, other.json()["code"]) == (403, "duty.missing")
    unknown = server.person("approve.1").post("/api/v1/quota-nodes/nowhere/limits", json=asked)
    assert unknown.status_code in {404, 422}
