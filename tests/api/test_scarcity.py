"""Quotas and competing requests over HTTP: one's own tree, old and new, who else waits, page by page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

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
