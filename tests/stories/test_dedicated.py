"""Dedicated networks (Art. 10-12) over HTTP, on a real database: a delivered segment, fake time, two people at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from api.texts.dedicated import HEADINGS
from broker.dedicated import demonstration
from broker.workflows.dispatch import Dispatch
from tests.stories.dedicated_office import (
    API,
    BUREAU,
    CHIEF,
    FINANCE,
    SECOND,
    UNIT,
    Office,
    closing,
    done,
    network,
    office,
    plan,
    see,
    segment,
    unsee,
)

__all__ = ["office", "segment"]


def test_a_network_goes_the_four_steps_on_a_real_segment(office: Office, segment: str) -> None:
    """Art. 11: plan, connect, migrate, shut down; each rests on what the extranet and the inventory show."""
    made = office.done(UNIT, API, network("road-1"))
    path = f"{API}/{made['id']}"
    assert (made["next"], made["late"], made["plan"]) == ("plan", False, None)
    assert office.refused(UNIT, f"{path}/connection", done(office, segment)) == {"network.step_order"}
    planned = office.done(UNIT, f"{path}/plan", plan(office))
    assert (planned["next"], planned["due_on"], planned["plan"]["leader"]) == ("connect", office.day(30), "lead.jyt")
    assert "network.planned" in office.notices(BUREAU, made["id"])
    assert office.refused(UNIT, f"{path}/plan", plan(office)) == {"network.step_done"}
    assert office.refused(UNIT, f"{path}/connection", done(office)) == {"network.no_segment"}
    assert office.refused(UNIT, f"{path}/connection", done(office, segment)) == {"network.segment_not_verified"}
    see(office, segment, verified=True)
    connected = office.connect(path, segment)
    assert [(s["number"], s["verified"], s["step"]) for s in connected["segments"]] == [(segment, True, "connect")]
    migrated = office.done(UNIT, f"{path}/migration", done(office))
    assert [(s["code"], s["attached"]) for s in migrated["carried"]] == [("jyt-xjgl", True)]
    asked = office.done(UNIT, f"{path}/closing", closing(office))
    assert asked["next"] == "shut_down"
    assert office.refused(UNIT, f"{path}/closing", closing(office)) == {"network.closing_proposed"}
    word = {"decision": "confirmed", "answer": "现场核查属实"}
    assert office.ask(UNIT, "POST", f"{path}/closing/decision", word).status_code == 403
    ended = office.done(BUREAU, f"{path}/closing/decision", word)
    assert (ended["next"], ended["steps"][3]["outcome"]) == (None, "removed")
    assert (ended["steps"][3]["done_by"], ended["steps"][3]["confirmed_by"]) == (UNIT, BUREAU)
    assert office.refused(BUREAU, f"{path}/closing/decision", word) == {"network.no_closing"}
    assert office.refused(UNIT, f"{path}/closing", closing(office)) == {"network.step_done"}
    stay = {"until": office.day(30), "document_number": "x", "reason": "y"}
    assert office.refused(BUREAU, f"{path}/stays", stay) == {"network.closed"}
    assert "network.closing_confirmed" in office.notices(UNIT, made["id"])
    unsee(office)
    events = office.world.rows(
        "SELECT action, article FROM broker.audit_event WHERE subject_id = :n ORDER BY id", n=UUID(made["id"])
    )
    assert [tuple(e) for e in events] == [
        ("network.registered", "Art. 11(1)"), ("network.step_done", "Art. 11(1)"), ("network.reported", "Art. 11(2)"),
        ("network.step_done", "Art. 11(2)"),
        ("network.step_done", "Art. 11(3)"), ("network.closing_proposed", "Art. 11(3)"),
        ("network.closing_confirmed", "Art. 12"),
    ]  # fmt: skip


def test_what_is_late_is_told_to_its_owner_then_to_finance_until_it_is_put_right(office: Office) -> None:
    """Art. 10: notice, five working days, funds stop, a flag for finance; lifted by a new day. Each is told once."""
    world, began = office.world, office.world.clock.now
    made = office.done(UNIT, API, network("late-1"))
    path, key = f"{API}/{made['id']}", made["id"]
    office.done(UNIT, f"{path}/plan", plan(office))
    world.clock.now = began + timedelta(days=30)
    office.pass_by()
    assert not office.read(UNIT, path)["late"]  # the day is not over before its close of business
    world.clock.now = began + timedelta(days=31)
    assert [office.pass_by().noticed, office.pass_by().noticed] == [1, 0]
    assert office.read(UNIT, f"{API}?late=true&q=late-1")["data"][0]["stop"]["stopped_at"] is None
    assert office.notices(UNIT, key) == office.notices(CHIEF, key) == ["network.late"]
    assert office.read(FINANCE, "/api/v1/funds-stops") == []
    world.clock.now += timedelta(days=9)  # five working days, with 清明节 in between
    assert [office.pass_by().stopped, office.pass_by().stopped] == [1, 0]
    (stopped,) = office.read(FINANCE, "/api/v1/funds-stops")
    assert (stopped["network"], stopped["step"], stopped["article"]) == (key, "connect", "Art. 10")
    assert stopped["yearly_cost_fen"] == 860_000_00
    assert office.notices(FINANCE, key) == ["network.funds_stop"]
    assert office.ask(UNIT, "GET", "/api/v1/funds-stops").status_code == 403
    assert office.read(FINANCE, path)["stop"]["stopped_at"] is not None
    order = {"step": "connect", "due_on": office.day(20), "reason": " "}
    assert office.refused(BUREAU, f"{path}/dates", order) == {"reason.missing"}
    assert office.ask(UNIT, "POST", f"{path}/dates", order).status_code == 403
    dated = office.done(BUREAU, f"{path}/dates", order | {"reason": "运营商割接推迟"})
    assert [d["reason"] for d in dated["steps"][1]["dates"]] == ["运营商割接推迟", ""]
    assert (dated["late"], dated["stop"], dated["stops"][0]["lifted_why"]) == (False, None, "dated")
    assert office.read(FINANCE, "/api/v1/funds-stops") == []
    assert office.notices(FINANCE, key) == ["network.funds_stop", "network.funds_lift"]
    world.clock.now = began


def test_dispatch_finds_what_is_late_by_itself(office: Office) -> None:
    """The worker's loop makes the pass: nobody has to call it, and a second worker finds nothing left to do."""
    world, began = office.world, office.world.clock.now
    made = office.done(UNIT, API, network("dispatch-1"))
    world.clock.now = began + timedelta(days=40)
    client: Any = None  # nothing is carried: only dates are looked at
    for _ in range(2):
        Dispatch(world.app, client, heartbeat_s=1).dates()
    assert office.notices(UNIT, made["id"]) == ["network.late"]
    world.clock.now = began


def test_a_network_that_may_stay_is_not_late_until_its_day(office: Office) -> None:
    """Art. 6: the exception is on record with document, reason and a day; then the plan's days hold again."""
    world, began = office.world, office.world.clock.now
    made = office.done(UNIT, API, network("stay-1"))
    path = f"{API}/{made['id']}"
    world.clock.now = began + timedelta(days=40)
    office.pass_by()
    assert office.read(BUREAU, path)["stop"]["step"] == "plan"
    stay = {"until": office.day(100), "document_number": "数字桂办〔2026〕3号", "reason": "跨境监测专线，暂无替代"}
    assert office.refused(BUREAU, f"{path}/stays", {**stay, "until": office.day(0), "reason": ""}) == {
        "network.stay_until", "reason.missing",
    }  # fmt: skip
    assert office.ask(UNIT, "POST", f"{path}/stays", stay).status_code == 403
    kept = office.done(BUREAU, f"{path}/stays", stay)
    assert (kept["late"], kept["stays_until"], kept["stops"][0]["lifted_why"]) == (False, stay["until"], "stays")
    assert office.pass_by().noticed == 0
    world.clock.now += timedelta(days=101)
    office.pass_by()
    assert office.read(BUREAU, path)["stop"]["step"] == "plan"
    world.clock.now = began


def test_no_new_dedicated_network_without_an_exception(office: Office) -> None:
    """Art. 10: what was built since the rules came into force, or nobody knows when, needs the Bureau's exception."""
    for built in ("2019-09-11", None):
        answer = office.ask(UNIT, "POST", API, network("new-1", built_on=built))
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"], error["article"]) == (422, "network.none_new", "Art. 10")
    office.done(
        BUREAU,
        "/api/v1/network-exceptions",
        {
            "unit": "rst", "document_number": "桂数发〔2026〕1号", "reason": "国家部委统一部署",
            "valid_from": "2026-01-01T00:00:00+08:00", "valid_to": "2027-01-01T00:00:00+08:00",
        },
    )  # fmt: skip
    new = network("new-2", unit="rst", built_on="2025-01-01", responsible="apply.rst", systems=[])
    assert office.done("apply.rst", API, new)["exception_id"] is not None
    assert office.refused(UNIT, API, network("new-1", classified=True)) == {"network.classified"}


def test_bad_input_is_told_all_at_once_and_changes_nothing(office: Office) -> None:
    """Every mistake of a form in one answer; another unit's networks are closed to a unit."""
    before = office.world.scalar("SELECT count(*) FROM broker.dedicated_network")
    bad = network(
        "bad-1", unit="wjw", level="galaxy", built_on="2099-01-01", links=-1, yearly_cost_fen=-1,
        responsible="nobody", systems=["no-such", "no-such"],
    )  # fmt: skip
    assert office.refused(UNIT, API, bad) == {
        "unit.unknown", "network.level", "system.future", "network.none_new", "network.links", "network.money",
        "network.person_unknown", "network.system_unknown", "network.system_twice",
    }  # fmt: skip
    assert office.world.scalar("SELECT count(*) FROM broker.dedicated_network") == before
    made = office.done(UNIT, API, network("bad-2"))
    path = f"{API}/{made['id']}"
    assert office.refused(UNIT, API, network("bad-2")) == {"network.code_taken"}
    dates = {
        "connect": {"due_on": office.day(-1), "owner": "nobody"},
        "migrate": {"due_on": office.day(90), "owner": UNIT},
        "shut_down": {"due_on": office.day(60), "owner": UNIT},
    }
    wrong = plan(office, scope=" ", zone="moon", leader="x", document_number="", dates=dates)
    answer = office.ask(UNIT, "POST", f"{path}/plan", wrong).json()["errors"]
    assert {(e["code"], e["field"]) for e in answer} == {
        ("field.missing", "scope"), ("field.missing", "document_number"), ("network.zone", "zone"),
        ("network.person_unknown", "leader"), ("network.person_unknown", "dates.connect.owner"),
        ("network.date_range", "dates.connect.due_on"), ("network.date_order", "dates.shut_down.due_on"),
    }  # fmt: skip
    assert office.ask("apply.rst", "GET", path).status_code == 404
    assert office.refused("apply.rst", f"{path}/plan", plan(office)) == {"network.not_found"}
    later = {"step": "connect", "due_on": office.day(9), "reason": "r"}
    assert office.refused(BUREAU, f"{path}/dates", later) == {"network.not_planned"}
    office.done(UNIT, f"{path}/plan", plan(office))
    unfit = {"done_on": office.day(1), "evidence": " ", "segments": ["ZY-99999999"]}
    assert office.refused(UNIT, f"{path}/connection", unfit) == {
        "system.future", "network.evidence", "network.segment_unknown",
    }  # fmt: skip
    assert office.refused(BUREAU, f"{path}/dates", {**later, "due_on": office.day(80)}) == {"network.date_order"}


def test_a_system_that_has_not_moved_keeps_its_network(office: Office, segment: str) -> None:
    """Art. 11(3): each listed system has a server on a segment of the network, or has ended (merged: its head)."""
    systems = ["jyt-xjgl", "jyt-dzjg"]
    made = office.done(UNIT, API, network("wait-1", systems=systems))
    path = f"{API}/{made['id']}"
    office.done(UNIT, f"{path}/plan", plan(office, zone="private"))
    see(office, segment, verified=True)
    assert office.refused(UNIT, f"{path}/connection", done(office, segment)) == {"network.segment_zone"}
    made = office.done(UNIT, API, network("wait-2", systems=systems))
    path = f"{API}/{made['id']}"
    office.done(UNIT, f"{path}/plan", plan(office))
    office.connect(path, segment)
    answer = office.ask(UNIT, "POST", f"{path}/migration", done(office)).json()["errors"]
    assert [(e["code"], "学历电子注册备案系统" in e["message"]) for e in answer] == [("network.system_waiting", True)]
    system = office.read(UNIT, "/api/v1/systems/jyt-dzjg")
    merge = {"kind": "merged", "reason": "并入学籍管理", "into": "jyt-xjgl"}
    office.done(UNIT, f"/api/v1/systems/{system['id']}/end", merge)
    moved = office.done(UNIT, f"{path}/migration", done(office))
    assert all(each["migrated"] for each in moved["carried"])
    fixed = office.ask(UNIT, "PUT", path, network("wait-2", systems=["jyt-xjgl"])).json()["errors"]
    assert {e["code"] for e in fixed} == {"network.systems_fixed"}
    renamed = office.ask(UNIT, "PUT", path, network("wait-2", name="新名", systems=systems)).json()
    assert [r["entry"]["name"] for r in renamed["revisions"]] == ["新名", "教育专网"]
    stale = office.ask(UNIT, "PUT", path, network("wait-2", systems=systems), **{"If-Match": '"1"'})
    assert stale.status_code == 412
    unsee(office)


def test_a_file_is_looked_at_line_by_line_and_written_whole_or_not_at_all(office: Office) -> None:
    """Verdicts first; one wrong line keeps all out; what was exported comes back saying nothing new."""
    good = {name: str(value) for name, value in network("file-1", level="县", classified="否").items()}
    good |= {"yearly_cost_fen": "860,000.5", "systems": "jyt-xjgl"}
    bad = good | {"code": "file-2", "yearly_cost_fen": "1.234", "classified": "也许"}
    fresh = good | {"code": "file-3", "built_on": "2020-01-01"}
    looked = office.upload(UNIT, csv_of(good, bad, fresh))
    assert looked["counts"] == {"new": 1, "change": 0, "same": 0, "wrong": 2}
    assert [{e["code"] for e in line["errors"]} for line in looked["lines"]] == [
        set(), {"network.money", "network.yes_or_no"}, {"network.none_new"},
    ]  # fmt: skip
    path = f"{API}/imports/{looked['id']}/apply"
    assert office.refused(UNIT, path, {"digest": looked["digest"]}) >= {"network.money", "network.none_new"}
    looked = office.upload(UNIT, csv_of(good, good | {"code": "file-4"}))
    path = f"{API}/imports/{looked['id']}/apply"
    assert office.refused(UNIT, path, {"digest": "0" * 64}) == {"import.changed"}
    assert office.done(UNIT, path, {"digest": looked["digest"]})["applied_at"]
    assert office.refused(UNIT, path, {"digest": looked["digest"]}) == {"import.applied"}
    made = office.read(UNIT, f"{API}/file-1")
    assert (made["yearly_cost_fen"], made["level"], made["revisions"][0]["source"]) == (860_000_50, "county", "import")
    for form in ("xlsx", "csv"):
        content = office.ask(UNIT, "GET", f"{API}/export?form={form}").content
        again = office.upload(UNIT, content)
        assert again["counts"]["same"] == len(again["lines"]) > 3, again["lines"]
    heading = "专网编号,专网编号,随便".encode()
    answer = office.ask(UNIT, "POST", f"{API}/imports", files={"file": ("a.csv", heading)})
    assert {e["code"] for e in answer.json()["errors"]} == {
        "import.unknown_column", "import.column_twice", "import.missing_column",
    }  # fmt: skip
    assert "年运行经费（元）" in answer.text


def csv_of(*rows: dict[str, str]) -> bytes:
    """A file as a unit would send it, in Chinese headings."""
    lines = [[HEADINGS[name] for name in rows[0]], *(list(row.values()) for row in rows)]
    return "\r\n".join(",".join(f'"{cell}"' for cell in line) for line in lines).encode("gb18030")


def test_of_two_people_at_once_one_takes_the_step(office: Office, segment: str) -> None:
    """A race for one step: one is done, the others are told so; and of two at the second word, one confirms."""
    made = office.done(UNIT, API, network("race-1"))
    path, body = f"{API}/{made['id']}/plan", plan(office)
    office.read("lead.jyt", API)  # has its token before the race
    with ThreadPoolExecutor(6) as pool:
        who = (UNIT, "lead.jyt") * 3
        answers = list(pool.map(lambda login: office.ask(login, "POST", path, body).status_code, who))
    assert sorted(answers) == [200, 409, 409, 409, 409, 409]
    path = path.removesuffix("/plan")
    see(office, segment, verified=True)
    office.connect(path, segment)
    office.done(UNIT, f"{path}/migration", done(office))
    office.done(UNIT, f"{path}/closing", closing(office))
    office.read(SECOND, API)
    word = {"decision": "confirmed", "answer": "属实"}
    with ThreadPoolExecutor(4) as pool:
        ask = partial(office.ask, method="POST", path=f"{path}/closing/decision", body=word)
        answers = list(pool.map(lambda login: ask(login).status_code, (BUREAU, SECOND) * 2))
    assert sorted(answers) == [200, 409, 409, 409]
    unsee(office)


def test_the_database_keeps_the_order_whoever_writes(office: Office) -> None:
    """No step without the one before, none twice, no shutdown by one person, no new network without an exception."""
    made = office.done(UNIT, API, network("rows-1"))
    who = office.world.rows("SELECT id FROM broker.account ORDER BY id LIMIT 2")
    sql = (
        "INSERT INTO broker.network_step (network_id, position, done_on, evidence, outcome, done_by, confirmed_by, at)"
        f" VALUES ('{made['id']}', {{}}, '2026-03-02', 'x', {{}}, '{who[0].id}', {{}}, now())"
    )

    def write(*statements: str) -> str:
        with pytest.raises(DBAPIError) as refused, office.world.app.works.begin() as work:
            work.session.connection().exec_driver_sql("; ".join(statements))
        return str(refused.value)

    first, second, third = (sql.format(n, "NULL", "NULL") for n in (1, 2, 3))
    assert "fk_network_step_previous" in write(second)
    assert "pk_network_step" in write(first, first)
    alone = sql.format(4, "'removed'", f"'{who[0].id}'")
    assert "are one person" in write(first, second, third, alone)
    one_person = "UPDATE broker.account SET person_id = (SELECT id FROM broker.person LIMIT 1)"
    other = sql.format(4, "'removed'", f"'{who[1].id}'")
    assert "are one person" in write(first, second, third, one_person, other)
    assert "ck_network_step_last" in write(first, second, third, sql.format(4, "NULL", "NULL"))
    assert "permission denied" in write("DELETE FROM broker.network_step")
    assert "permission denied" in write("UPDATE broker.network_date SET due_on = '2030-01-01'")
    new = f"UPDATE broker.dedicated_network SET built_on = NULL WHERE id = '{made['id']}'"
    assert "ck_dedicated_network_none_new" in write(new)


def test_a_newcomer_finds_networks_in_every_case(office: Office) -> None:
    """The demonstration's list: two whose funds are stopped, one that is late since yesterday, one that may stay."""
    with office.world.app.works.begin() as work:
        assert demonstration.load(work.session, work.calendar, work.now) == 5
    office.pass_by()
    rows = office.read("audit", f"{API}?limit=100")["data"]
    found = {r["code"]: (r["next"], r["late"], bool(r["stop"] and r["stop"]["stopped_at"])) for r in rows}
    assert {code: found[code] for code in ("jyt-kszw", "slt-swzw", "wjw-wszw", "lz-spzw", "rst-jcal")} == {
        "jyt-kszw": ("connect", False, False),
        "slt-swzw": ("connect", True, True),
        "wjw-wszw": ("plan", True, True),
        "lz-spzw": ("connect", True, False),
        "rst-jcal": ("plan", False, False),
    }
