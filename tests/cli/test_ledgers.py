"""The verbs on the database: they recount, and name what differs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from api.cli.display import ZONE
from broker.audit import events, seal
from broker.db.base import new_id
from broker.db.session import make_sessions
from broker.region import calendars
from broker.workdays import load_calendar
from providers.contract import Kind
from providers.simulated.faults import vanish
from quotas import service
from quotas.values import Line, ResourceClass
from tests.cli.typist import Typist
from tests.conftest import Database
from tests.quotas.world import SOON, plant
from tests.stories.world import World


@pytest.fixture
def chain(engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of the test's own with five sealed events."""
    monkeypatch.setenv("GUIYUN_DATABASE_URL", database.app_url)
    with make_sessions(engine).begin() as session:
        for number in range(5):
            events.record(
                session, at=datetime.now(UTC), actor_id=None, action="test", subject_type="test",
                subject_id=new_id(), data={"number": number},
            )  # fmt: skip
    with make_sessions(engine).begin() as session:
        assert seal.seal(session) == 5


def test_a_whole_chain_verifies_against_its_anchor(typist: Typist, chain: None) -> None:
    """The head that was kept is found again."""
    head = typist.does("audit", "head").out.strip()
    assert head.startswith("5:")
    assert f"审计链完整：5 条，末端 {head}" in typist.does("audit", "verify", "--anchor", head).out
    assert typist.does("audit", "verify", "--json").json["whole"] is True


def test_a_changed_event_is_named(typist: Typist, chain: None, owner_engine: Engine) -> None:
    """Whoever changes an event, the owner of the tables included, is found out."""
    with owner_engine.begin() as connection:
        connection.execute(text("ALTER TABLE broker.audit_event DISABLE TRIGGER USER"))
        connection.execute(
            text(
                "UPDATE broker.audit_event SET action = 'other' WHERE id ="
                " (SELECT event_id FROM broker.audit_seal WHERE seq = 3)"
            )
        )
    said = typist.types("audit", "verify")
    assert (said.status, said.err.split("：")[0]) == (1, "audit.differs")
    assert "第 3 条：事件被改动" in said.out


def test_a_chain_that_lost_its_end_does_not_reach_the_anchor(typist: Typist, chain: None, owner_engine: Engine) -> None:
    """Only the anchor kept outside can tell."""
    head = typist.does("audit", "head").out.strip()
    with owner_engine.begin() as connection:
        connection.execute(text("ALTER TABLE broker.audit_seal DISABLE TRIGGER USER"))
        connection.execute(text("DELETE FROM broker.audit_seal WHERE seq = 5"))
    typist.does("audit", "verify")
    assert typist.refused("audit", "verify", "--anchor", head).startswith("audit.differs：")


def test_counters_agree_with_their_rows_or_the_difference_is_named(
    typist: Typist, chain: None, owner_engine: Engine
) -> None:
    """Recounted from rows; a counter that somebody turned is named."""
    assert "一致" in typist.does("quota", "verify").out
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO quotas.inventory (pool_id, resource_class, total, reserved, allocation_ratio, step, used)"
                " VALUES (gen_random_uuid(), 'vcpu_x86_64', 10, 0, 1, 1, 3);"
                "INSERT INTO quotas.hold (id, owner, node_id, state, expires_at)"
                " VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'done', now())"
            )
        )
    said = typist.types("quota", "verify")
    assert (said.status, said.err.split("：")[0]) == (1, "quota.differs")
    assert "记录 3，重新计数 0" in said.out
    assert "hold.without_lines" in said.out


def test_a_hold_that_was_changed_behind_the_functions_is_named(
    typist: Typist, chain: None, engine: Engine, owner_engine: Engine
) -> None:
    """Whose it is and until when: no counter has it, and a superuser may turn it, or a dump that is put back."""
    with make_sessions(engine).begin() as session:
        tree = plant(session)
        made = service.hold(
            session, owner=new_id(), node=tree.units[0], lines=[Line(ResourceClass.IPV6_64, 1, tree.pool)],
            expires_at=SOON,
        )  # fmt: skip
    typist.does("quota", "verify")
    with owner_engine.begin() as connection:
        forged = "UPDATE quotas.hold SET owner = gen_random_uuid(), expires_at = expires_at + interval '1 year'"
        connection.execute(text(forged))
    said = typist.types("quota", "verify", "--json")
    assert (said.status, json.loads(said.err)["code"]) == (1, "quota.differs")
    found = [(d["what"], d["id"]) for d in said.json["differences"]]
    assert found == [("hold.expires_at", str(made)), ("hold.owner", str(made))]


def test_quotas_and_addresses_are_shown(typist: Typist, world: World) -> None:
    """What a unit may hold, what clouds have left, which prefixes are in use."""
    typist.delivered(world)
    unit = typist.does("quota", "show", "jyt", "--json").json
    vcpu = next(one for one in unit if one["resource_class"] == "vcpu")
    assert (vcpu["limit"], vcpu["used"] >= 8, vcpu["left"]) == (2400, True, 2400 - vcpu["used"])
    assert "处理器（核）" in typist.does("quota", "show", "jyt").out
    there = typist.does("quota", "show", "jyt", "--cloud", "jyt", "--json").json
    assert next(one["left"] for one in there if one["resource_class"] == "vcpu_x86_64") is not None
    assert "受限于" in typist.does("quota", "show", "jyt", "--cloud", "jyt").out
    clouds = typist.does("quota", "show", "--cloud", "jyt", "--json").json
    assert {one["sub_cloud"] for one in clouds} == {"jyt"}
    assert typist.refused("quota", "show", "nowhere").splitlines()[1].startswith("  unit.unknown：")
    assert typist.refused("quota", "show", "--cloud", "moon").startswith("cloud.unknown：")
    plan = typist.does("ipv6", "plan", "--zone", "shared", "--json").json
    assert any(node["live"] for node in plan)
    assert len(typist.does("ipv6", "plan", "--all", "--json").json) > len(plan)
    assert "3fff:100::/24" in typist.does("ipv6", "plan").out
    assert "没有重叠" in typist.does("ipv6", "verify").out


def test_a_month_is_previewed_and_issued(typist: Typist, world: World) -> None:
    """The preview writes nothing; what is issued has a version; a month that has not begun is refused."""
    month = datetime.now(ZONE).strftime("%Y-%m")
    typist.metered(world, month)
    before = typist.does("statements", "--json", as_="finance").json
    previewed = typist.does("bill", "preview", month, "--json").json
    assert previewed["problems"] == []
    assert "应收" in typist.does("bill", "preview", month).out
    assert typist.does("statements", "--json", as_="finance").json == before
    first, second = (typist.does("bill", "issue", month, "--json").json for _ in range(2))
    assert {s["version"] + 1 for s in first} == {s["version"] for s in second}
    assert typist.refused("bill", "issue", "2999-01").startswith("statement.month_not_begun：")
    out = typist.folder / "focus"
    written = typist.does("bill", "export", month, "--format", "focus", "--ascii", "--out", str(out), "--json").json
    rows = list(csv.DictReader((out / f"focus-{month}.csv").read_text(encoding="ascii").splitlines()))
    assert (written["rows"], written["total_fen"]) == (len(rows), sum(s["total_fen"] for s in second))
    assert "写入" in typist.does("bill", "export", month, "--format", "focus", "--parquet", "--out", str(out)).out
    assert typist.types("bill", "export", month, "--ascii", "--out", str(out)).status == 2
    typist.does("statements", second[0]["id"], "--out", str(out / "one.xlsx"), as_="finance")
    assert (out / "one.xlsx").read_bytes().startswith(b"PK")
    assert typist.refused("statements", second[0]["id"], "--out", str(out / "x.doc"), as_="finance").startswith("form")


def test_what_is_gone_from_a_cloud_is_named(typist: Typist, world: World) -> None:
    """A server that somebody removed by hand: the row has it, the cloud has not."""
    assert "与台账一致" in typist.does("reconcile", "rst").out
    number = typist.delivered(world)
    server = next(r for r in resources(typist, number) if r["kind"] == "server")
    vanish(world.clouds_url, "jyt", Kind.SERVER, server["id"])
    said = typist.types("reconcile", "jyt")
    assert (said.status, said.err.split("：")[0]) == (1, "cloud.differs")
    assert "台账有、云上无" in said.out
    assert server["id"] in said.out
    assert typist.refused("reconcile", "moon").startswith("cloud.unknown：")


def resources(typist: Typist, number: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = typist.does("resources", "--request", number, "--json", as_="apply.jyt").json
    return found


def test_working_days_of_a_year_are_shown(typist: Typist) -> None:
    """Days off, days made up, the region's own; a year nobody has published is provisional as a whole."""
    known = typist.does("calendar", "2026").out
    assert "壮族三月三" in known
    assert "上班（调休）" in known
    assert typist.does("calendar", "2026", "--json").json["published"] is True
    unknown = typist.does("calendar", "2031", "--json").json
    assert (unknown["published"], len(unknown["provisional"])) == (False, 365)
    assert "暂定" in typist.does("calendar", "2031").out


def test_the_doctor_says_what_runs_and_what_is_missing(
    typist: Typist, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of all parts, migrations, clouds; without a broker it says how to start one."""
    parts = {part["name"]: part for part in typist.does("doctor", "--json").json["parts"]}
    assert parts["数据库"]["detail"].startswith("PostgreSQL ")
    assert parts["数据库结构"]["verdict"] == "good"
    assert "17 个正常" in typist.does("doctor").out
    monkeypatch.delenv("GUIYUN_DATABASE_URL")
    assert "make run" in typist.does("doctor").out
    assert typist.refused("audit", "verify").startswith("broker.not_running：")


def test_the_doctor_says_when_processes_count_by_different_days(typist: Typist, world: World) -> None:
    """Two calendars in use are broken: whoever recounts a deadline would undo what the other has counted."""
    with world.app.works.begin() as work:
        for ahead in (0, 3):  # the server of these tests has spoken of its calendar before
            then = replace(work, now=datetime.now(UTC) + timedelta(minutes=ahead))
            for each in (then, replace(then, calendar=load_calendar(None, close="12:00"))):
                calendars.note(each)
    said = typist.types("doctor", "--json")
    parts = {part["name"]: part for part in said.json["parts"]}
    assert (said.status, parts["工作日历"]["verdict"]) == (1, "broken")
    assert "GUIYUN_HOLIDAYS_FILE" in parts["工作日历"]["remedy"]
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.calendar_in_use SET last_at = '2000-01-01'"))
    parts = {part["name"]: part for part in typist.does("doctor", "--json").json["parts"]}
    assert parts["工作日历"]["verdict"] == "good"


def test_the_doctor_ends_with_1_when_the_schema_is_old(
    typist: Typist, blank_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something needed is missing: it is named, with the line that helps."""
    monkeypatch.setenv("GUIYUN_DATABASE_URL", blank_database.owner_url)
    said = typist.types("doctor", "--json")
    assert said.status == 1
    broken = {part["name"]: part["remedy"] for part in said.json["parts"] if part["verdict"] == "broken"}
    assert broken["数据库结构"] == "guiyun db migrate"
