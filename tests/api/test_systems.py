"""The register of information systems over HTTP: registering, mergers, proposals, endings, imports, the total."""

from __future__ import annotations

import io
from typing import Any

import httpx
import openpyxl
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.texts.register import HEADINGS
from tests.api.server import Server, one_person

BASE = {
    "unit": "jyt", "name": "学位管理系统", "mlps_level": 3, "function": "学位授予信息管理", "scope_of_use": "全区高校",
    "frequency_of_use": "每日", "approving_department": "自治区发展改革委", "funding_source": "自治区本级财政",
}  # fmt: skip


def system(code: str, **more: Any) -> dict[str, Any]:
    return {**BASE, "code": code, "approved_on": "2018-05-06", **more}


def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def codes(answer: httpx.Response) -> set[str]:
    assert answer.is_client_error, answer.text
    body = answer.json()
    return {e["code"] for e in body["errors"]} | {body["code"]}


def post(person: httpx.Client, path: str, body: Any = None, **more: Any) -> httpx.Response:
    return person.post(f"/api/v1/systems{path}", json=body, **more)


def upload(person: httpx.Client, content: bytes, name: str = "台账.csv") -> httpx.Response:
    return person.post("/api/v1/systems/imports", files={"file": (name, content)})


def csv_of(*rows: dict[str, Any]) -> bytes:
    """A file as a unit would send it, in Chinese headings."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[HEADINGS[name] for name in names], *([str(row.get(name, "")) for name in names] for row in rows)]
    return "\r\n".join(",".join(line) for line in lines).encode("gb18030")


def test_the_total_only_falls(server: Server) -> None:
    """Art. 29: a new system is refused, comes with a merger (those end), and its revisions stay."""
    person = server.person("apply.jyt")
    refused = post(person, "", system("fall-new", approved_on="2024-03-01"))
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["code"], error["article"]) == (422, "system.total_only_falls", "Art. 29")
    before = done(person.get("/api/v1/systems/totals?months=1"))[-1]["total"]
    for code in ("fall-a", "fall-b"):
        done(post(person, "", system(code)))
    merged = done(post(person, "", system("fall-new", approved_on="2024-03-01", merges=["fall-a", "fall-b"])))
    assert done(person.get("/api/v1/systems/totals?months=1"))[-1]["total"] == before + 2 + 1 - 2
    old = done(person.get("/api/v1/systems/fall-a"))
    assert (old["ended_kind"], old["merged_into"], old["retired_at"] is not None) == ("merged", "fall-new", True)
    assert [r["source"] for r in old["revisions"]] == ["end", "form"]
    assert done(person.get(f"/api/v1/systems/{merged['id']}"))["merged"] == ["fall-a", "fall-b"]
    assert codes(post(person, "", system("fall-2", approved_on="2024-03-01", merges=["fall-a"]))) >= {
        "system.merge_ended"
    }


def test_a_reason_instead_of_a_merger_is_approved_by_the_bureau(server: Server) -> None:
    """Art. 29, 14: proposed by the unit, decided by the Bureau and nobody else; then it is in the register."""
    person, bureau = server.person("apply.jyt"), server.person("approve.1")
    form = system("grow-1", approved_on="2024-03-01", growth_reason="承担新增法定职责")
    proposal = done(post(person, "/proposals", form))
    assert codes(post(person, "/proposals", form)) >= {"system.proposed"}
    assert person.get("/api/v1/systems/grow-1").status_code == 404
    decision = {"approved": True, "answer": "同意"}
    path = f"/proposals/{proposal['id']}/decision"
    assert post(person, path, decision).status_code == 403
    assert codes(post(bureau, path, {"approved": True, "answer": " "})) >= {"reason.missing"}
    assert proposal["id"] in {p["id"] for p in done(bureau.get("/api/v1/systems/proposals"))}
    assert done(post(bureau, path, decision))["decision"] == "approved"
    assert codes(post(bureau, path, decision)) >= {"system.proposal_decided"}
    assert done(bureau.get("/api/v1/systems/grow-1"))["growth_reason"] == "承担新增法定职责"


def test_the_total_does_not_rise_by_the_back_door(server: Server) -> None:
    """Art. 29: two accounts of one person are one; what was registered as stock needs a reason to count as new."""
    person, bureau = server.person("apply.jyt"), server.person("approve.1")
    made = done(post(person, "", system("door-1")))
    path = f"/api/v1/systems/{made['id']}"
    later = system("door-1", approved_on="2025-06-01")
    assert codes(person.put(path, json=later, headers={"If-Match": '"1"'})) >= {"system.leaves_stock"}
    assert codes(post(person, "/proposals", system("door-1", growth_reason="x"))) >= {"system.code_taken"}
    proposal = done(post(person, "/proposals", later | {"growth_reason": "补录批准日期"}))
    with one_person(server, "apply.jyt", "approve.1"):
        refused = post(bureau, f"/proposals/{proposal['id']}/decision", {"approved": True, "answer": "同意"})
        assert codes(refused) == {"duty.separated"}
        with Session(server.engine) as session, pytest.raises(IntegrityError, match="two_persons"):
            session.execute(text(_DECIDE), {"id": proposal["id"]})
    done(post(bureau, f"/proposals/{proposal['id']}/decision", {"approved": True, "answer": "同意"}))
    found = done(bureau.get("/api/v1/systems/door-1"))
    assert (found["approved_on"], found["growth_reason"]) == ("2025-06-01", "补录批准日期")


_DECIDE = """
UPDATE broker.system_proposal SET decision = 'refused', answer = 'x', decided_at = now(),
    decided_by = (SELECT id FROM broker.account WHERE login = 'approve.1') WHERE id = :id
"""


def test_a_system_is_revised_and_ended_by_whom_it_belongs_to(server: Server) -> None:
    """Nothing is deleted; a stale version and another unit change nothing."""
    person = server.person("apply.jyt")
    made = done(post(person, "", system("end-1")))
    path = f"/api/v1/systems/{made['id']}"
    seen = {"If-Match": '"1"'}
    changed = system("end-1", name="新名称", monthly_users=12, reported_on="2026-01-01")
    assert server.person("audit").put(path, json=changed, headers=seen).status_code == 403
    assert done(person.put(path, json=changed, headers=seen))["version"] == 2
    assert person.put(path, json=changed, headers=seen).status_code == 412
    assert codes(person.put(path, json=system("end-2"))) >= {"system.code_fixed"}
    end = f"/{made['id']}/end"
    assert codes(post(person, end, {"kind": "shut_down", "reason": ""})) >= {"reason.missing"}
    assert codes(post(person, end, {"kind": "merged", "reason": "并", "into": "end-1"})) >= {"system.merge_unknown"}
    assert codes(post(person, end, {"kind": "handed_over", "reason": "移"})) >= {"system.handed_to"}
    assert done(post(person, end, {"kind": "shut_down", "reason": "业务停办"}))["ended_kind"] == "shut_down"
    assert codes(post(person, end, {"kind": "shut_down", "reason": "业务停办"})) >= {"system.ended"}
    entries = [r["entry"]["name"] for r in done(person.get(path))["revisions"]]
    assert entries == ["新名称", "新名称", "学位管理系统"]
    listed = done(person.get("/api/v1/systems?state=ended&q=end-1"))["data"]
    assert [s["code"] for s in listed] == ["end-1"]


def test_a_system_goes_to_another_unit_by_the_bureaus_word(server: Server) -> None:
    """The register says since when; the old unit writes no more, the new one does; half a word changes nothing."""
    old, bureau = server.person("apply.jyt"), server.person("approve.1")
    made = done(post(old, "", system("move-1")))
    move = f"/{made['id']}/move"
    assert post(old, move, {"unit": "wjw", "reason": "机构改革"}).status_code == 403
    assert codes(post(bureau, move, {"unit": "nobody", "reason": " "})) >= {"reason.missing", "unit.unknown"}
    assert codes(post(bureau, move, {"unit": "jyt", "reason": "机构改革"})) >= {"system.same_unit"}
    seen = {"If-Match": '"1"'}
    moved = done(post(bureau, move, {"unit": "wjw", "reason": "机构改革"}, headers=seen))
    assert (moved["unit"], moved["version"]) == ("wjw", 2)
    path = f"/api/v1/systems/{made['id']}"
    assert [r["source"] for r in done(bureau.get(path))["revisions"]] == ["move", "form"]
    now, before = done(bureau.get(path))["owners"]
    assert (now["until"], now["since"] == before["until"]) == (None, True)
    assert "主管单位沿革" in bureau.get(f"/systems/{made['id']}").text
    left = done(old.get("/api/v1/systems/moves?unit=jyt"))  # the old unit sees that it went
    assert [(m["code"], m["source"]) for m in left if m["code"] == "move-1"] == [("move-1", "move")]
    assert codes(old.get("/api/v1/systems/moves?unit=rst")) >= {"unit.unknown"}
    assert "move-1" in old.get("/systems/moves").text
    assert old.get(f"/api/v1/resources/{made['id']}/owners").status_code == 404
    entry = system("move-1", name="划转后的名称", unit="wjw")
    assert old.put(path, json=entry).status_code == 404
    assert done(server.person("apply.wjw").put(path, json=entry))["name"] == "划转后的名称"
    assert post(bureau, move, {"unit": "jyt", "reason": "退回"}, headers=seen).status_code == 412
    done(post(server.person("apply.wjw"), f"/{made['id']}/end", {"kind": "shut_down", "reason": "停办"}))
    assert codes(post(bureau, move, {"unit": "jyt", "reason": "退回"})) == {"system.ended"}


def test_the_bureau_and_the_center_see_all_and_a_unit_its_own(server: Server) -> None:
    """Art. 26: the whole list is kept in one place; another unit's stays closed to units."""
    every = {s["code"] for s in done(server.person("approve.1").get("/api/v1/systems?limit=100"))["data"]}
    assert {"jyt-xjgl", "lz-12345"} <= every
    own = {s["code"] for s in done(server.person("apply.jyt").get("/api/v1/systems?limit=100"))["data"]}
    assert "jyt-xjgl" in own
    assert "rst-sbk" not in own
    assert server.person("apply.jyt").get("/api/v1/systems/rst-sbk").status_code == 404


def test_a_file_gets_a_verdict_on_every_line_and_is_written_whole_or_not_at_all(server: Server) -> None:
    """Dry run first; one wrong line keeps all out; what was seen is what is written."""
    person = server.person("apply.jyt")
    good = {k: v for k, v in system("imp-1").items() if k != "merges"}
    bad = {**good, "code": "imp-2", "mlps_level": 9, "unit": "rst"}
    looked = done(upload(person, csv_of(good, bad, {**good, "code": "imp-3", "approved_on": ""})))
    assert looked["counts"] == {"new": 1, "proposal": 0, "change": 0, "same": 0, "wrong": 2}
    assert [{e["code"] for e in line["errors"]} for line in looked["lines"]] == [
        set(), {"unit.unknown", "mlps.range"}, {"system.total_only_falls"},
    ]  # fmt: skip
    refused = post(person, f"/imports/{looked['id']}/apply", {"digest": looked["digest"]})
    assert {e["field"] for e in refused.json()["errors"]} == {"3.unit", "3.mlps_level", "4.merges"}
    assert person.get("/api/v1/systems/imp-1").status_code == 404
    proposed = {**good, "code": "imp-3", "approved_on": "2024-01-01", "growth_reason": "新增职责"}
    looked = done(upload(person, csv_of(good, proposed)))
    assert post(person, f"/imports/{looked['id']}/apply", {"digest": "0" * 64}).status_code == 409
    applied = done(post(person, f"/imports/{looked['id']}/apply", {"digest": looked["digest"]}))
    assert applied["applied_at"]
    assert codes(post(person, f"/imports/{looked['id']}/apply", {"digest": looked["digest"]})) >= {"import.applied"}
    assert done(person.get("/api/v1/systems/imp-1"))["revisions"][0]["source"] == "import"
    assert "imp-3" in {p["code"] for p in done(person.get("/api/v1/systems/proposals"))}
    assert server.person("audit").get(f"/api/v1/systems/imports/{looked['id']}").status_code == 403


def test_a_file_that_was_looked_at_before_the_register_moved_is_looked_at_again(server: Server) -> None:
    """Nobody writes what he has not seen."""
    person = server.person("apply.jyt")
    good = {k: v for k, v in system("moved-1").items() if k != "merges"}
    looked = done(upload(person, csv_of(good)))
    done(post(person, "", system("moved-1")))
    assert codes(post(person, f"/imports/{looked['id']}/apply", {"digest": looked["digest"]})) >= {"import.changed"}
    again = done(person.get(f"/api/v1/systems/imports/{looked['id']}"))
    assert again["counts"]["same"] == 1


def test_what_is_exported_is_imported_without_a_change(server: Server) -> None:
    """The register goes out as Excel and CSV, ended systems too, and comes back saying nothing new."""
    person = server.person("apply.jyt")
    made = done(post(person, "", system("trip-1", monthly_users=0, reported_on="2026-01-01", name="=危险")))
    done(post(person, f"/{made['id']}/end", {"kind": "shut_down", "reason": "停"}))
    made = done(post(person, "", system("trip-2", monthly_users=0, reported_on="2026-01-01")))
    for form in ("xlsx", "csv"):
        content = person.get(f"/api/v1/systems/export?form={form}").content
        looked = done(upload(person, content, f"x.{form}"))
        kinds = {line["code"]: line["kind"] for line in looked["lines"]}
        assert kinds["trip-2"] == "same", looked["lines"]
        assert kinds["trip-1"] == "same", looked["lines"]
    content = person.get("/api/v1/systems/template?form=xlsx").content
    book = openpyxl.load_workbook(io.BytesIO(content))
    assert [str(cell.value).rstrip(" *") for cell in book.worksheets[0][1]] == list(HEADINGS.values())
    assert done(upload(person, content))["lines"] == []


def test_a_foreign_heading_a_double_one_and_a_missing_one_are_told_at_once(server: Server) -> None:
    """Without its columns no line can be read."""
    content = "系统编号,系统编号,随便\r\nx,y,z".encode()
    assert codes(upload(server.person("apply.jyt"), content)) >= {
        "import.unknown_column", "import.column_twice", "import.missing_column",
    }  # fmt: skip
