"""``guiyun ipv6``: what an operator, and a stranger's script, does with the plan."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from quotas.ipv6 import service as ipv6
from quotas.ipv6.values import Zone
from tests.cli.typist import Said, Typist
from tests.conftest import Database

HEADER = "prefix,zone,owner,label,state,until"


@pytest.fixture
def pool(engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A database of the test's own with one pool, 3fff:100::/60 in the shared zone, below a block."""
    monkeypatch.setenv("GUIYUN_DATABASE_URL", database.app_url)
    block, made = uuid4(), uuid4()
    with Session(engine) as session:
        common = {"zone": Zone.SHARED, "routing_domain": "gx-shared"}
        ipv6.ensure_pool(session, id=block, prefix="3fff:100::/56", hands_out=False, **common)  # type: ignore[arg-type]
        ipv6.ensure_pool(session, id=made, prefix="3fff:100::/60", parent_id=block, **common)  # type: ignore[arg-type]
        session.commit()
    return made


def allocated(typist: Typist, owner: str, *words: str) -> str:
    said = typist.does("ipv6", "allocate", "--pool", "3fff:100::/60", "--owner", owner, *words, "--json")
    prefix: str = said.json["prefix"]
    return prefix


def refused(typist: Typist, *words: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(typist.refused("ipv6", *words, "--json"))
    return found


def test_a_prefix_is_handed_out_grown_given_back_and_audited(typist: Typist, pool: UUID, engine: Engine) -> None:
    """One owner, one prefix; every change leaves an audit event."""
    first = allocated(typist, "教育厅")
    assert allocated(typist, "教育厅") == first
    assert allocated(typist, "卫健委") != first
    grown = typist.does("ipv6", "grow", "--owner", "教育厅", "--length", "63", "--json").json
    assert grown["prefix"] == first.replace("/64", "/63")
    back = typist.does("ipv6", "release", "--owner", "教育厅", "--quarantine-days", "0", "--json").json
    assert (back["state"], back["prefix"]) == ("quarantined", grown["prefix"])
    assert typist.does("ipv6", "sweep", "--json").json[0]["prefix"] == grown["prefix"]
    said = typist.does("ipv6", "verify").out
    assert "没有重叠" in said
    assert "另有 1 个网段（1 个 /64）由人工分配，不计入任何单位的配额。" in said
    with engine.connect() as connection:
        actions = connection.scalars(text("SELECT action FROM broker.audit_event ORDER BY id")).all()
    assert [a for a in actions if a != "prefix.allocated"] == ["prefix.grown", "prefix.released"]


def test_every_refusal_has_its_code_and_changes_nothing(typist: Typist, pool: UUID) -> None:
    """Unknown pool, bad lengths, IPv4, double release, another's: 1, and a stable code."""
    mine, theirs = allocated(typist, "a"), allocated(typist, "b")
    at = ("allocate", "--owner", "c", "--pool")
    before = typist.does("ipv6", "export").out
    for words, code in (
        ((*at, "3fff:999::/60"), "prefix.unknown_pool"),
        ((*at, "10.0.0.0/8"), "prefix.not_ipv6"),
        ((*at, "3fff:100::1/60"), "prefix.host_bits"),
        ((*at, "3fff:100::/60", "--length", "65"), "prefix.too_long"),
        ((*at, "3fff:100::/60", "--length", "59"), "prefix.too_short"),
        ((*at, "3fff:100::/56"), "prefix.hands_out_nothing"),
        (("release", "--owner", "a", "--prefix", theirs), "prefix.not_yours"),
        (("release", "--owner", "nobody"), "prefix.gone"),
        (("reserve", mine, "--reason", "测试"), "prefix.overlap"),
        (("reserve", "3fff:999::/64", "--reason", "测试"), "prefix.outside"),
        (("lift", str(uuid4())), "prefix.gone"),
    ):
        assert refused(typist, *words)["code"] == code
    full = refused(typist, *at, "3fff:100::/60", "--length", "60")
    assert (full["code"], full["fits"]) == ("prefix.pool_full", 62)
    assert typist.does("ipv6", "export").out == before
    typist.does("ipv6", "release", "--owner", "a", "--prefix", mine)
    assert refused(typist, "release", "--owner", "a", "--prefix", mine)["code"] == "prefix.gone"
    assert typist.types("ipv6", "lift", "nonsense").status == 2
    assert typist.types("ipv6").status == 2


def test_a_refusal_names_owners_and_says_what_became_of_the_prefix(typist: Typist, pool: UUID) -> None:
    """No id of ours, no English state: the name that was typed, another's label, each state in the operator's words."""
    mine, theirs = allocated(typist, "教育厅"), allocated(typist, "卫健委", "--length", "62")

    def sentence(*words: str) -> str:
        return typist.refused("ipv6", *words)

    assert sentence("grow", "--owner", "教育厅", "--length", "60").endswith(
        f"{theirs}（卫健委，使用中）；最多可扩展到：/61。\n"
    )
    assert f"{mine} 与已有的网段、保留范围或地址块重叠：{mine}（教育厅，使用中）。" in sentence(
        "reserve", mine, "--reason", "演练"
    )
    assert "“教育厅”已有另一个网段：" in sentence(
        "allocate", "--pool", "3fff:100::/60", "--owner", "教育厅", "--length", "63"
    )
    assert "“无此人”没有可以操作的网段：没有分配过。" in sentence("release", "--owner", "无此人")
    typist.does("ipv6", "release", "--owner", "教育厅", "--quarantine-days", "0")
    assert "“教育厅”没有可以操作的网段：已经收回，正在静置。" in sentence("release", "--owner", "教育厅")
    typist.does("ipv6", "sweep")
    assert "“教育厅”没有可以操作的网段：已经收回。" in sentence("grow", "--owner", "教育厅", "--length", "63")
    kept = typist.does("ipv6", "reserve", mine, "--reason", "演练", "--json").json
    assert f"{mine}（演练，保留）" in sentence("reserve", mine, "--reason", "再来")
    assert "“演练”没有可以操作的网段：是保留的范围" in sentence("release", "--owner", kept["owner"], "--prefix", mine)


def test_lines_are_answered_one_by_one(typist: Typist, pool: UUID) -> None:
    """Each line an answer, in order: the prefix, or a code; 1 when any was refused."""
    calls: list[dict[str, Any]] = [
        {"do": "allocate", "pool": "3fff:100::/60", "owner": "a"},
        {"do": "allocate", "pool": str(pool), "owner": "b", "length": 62},
        {"do": "allocate", "pool": "3fff:100::/60", "owner": "c", "length": 48},
        {"do": "release", "owner": "a"},
        {"do": "release", "owner": "a"},
        {"do": "reserve", "prefix": "3fff:100::/56", "reason": "x"},
        {"do": "dance"},
        {"do": "allocate", "owner": "d"},
        {"do": "allocate", "pool": "3fff:100::/60", "owner": "\ud800"},
        {"do": "allocate", "pool": "\ud800", "owner": "f"},
    ]
    typed = "".join(json.dumps(c) + "\n" for c in calls) + "nonsense\n\n" + "[" * 200_000 + "\n"
    said = typist.types("ipv6", "--file", "-", stdin=typed)
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [a.get("code") for a in answers] == [
        None, None, "prefix.too_short", None, "prefix.gone", "prefix.overlap", *["usage.wrong"] * 6
    ]  # fmt: skip
    assert said.status == 1
    assert [a["detail"] for a in answers[6:]] == [
        "do 应为 allocate、release、grow、reserve、lift 之一", "缺少 pool", "owner 中有不能保存的字符",
        "pool 中有不能保存的字符", "不是 JSON", "不是 JSON",
    ]  # fmt: skip
    assert answers[1]["prefix"].endswith("/62")
    assert typist.types("ipv6", "--file", "-", stdin=json.dumps(calls[0] | {"owner": "e"})).status == 0


def imported(typist: Typist, *rows: str, options: tuple[str, ...] = ()) -> tuple[Said, list[tuple[str, object]]]:
    file = typist.folder / "plan.csv"
    file.write_text("\n".join((HEADER, *rows)), encoding="utf-8-sig")
    said = typist.types("ipv6", "import", str(file), "--json", *options)
    return said, [(line["outcome"], line["of_line"]) for line in said.json["lines"]]


ROWS = {
    "3fff:100:0:2::/64,shared,教育厅,,,": ("ok", None),
    "3fff:100:0:4::/62,,,视频会议,reserved,": ("ok", None),
    "3fff:100:0:5::/64,,x,,,": ("overlaps", 3),
    "3fff:100:0:2::/64,,y,,,": ("duplicate", 2),
    "3fff:999::/64,,,,,": ("outside", None),
    "3fff:100:0:20::/64,,,,,": ("hands_out_nothing", None),
    "3fff:100:0:3::/64,private,,,,": ("wrong_zone", None),
    "3fff:100:0:3::1/64,,,,,": ("host_bits", None),
    "3fff:100:0:3::/65,,,,,": ("too_long", None),
    "10.0.0.0/24,,,,,": ("not_ipv6", None),
    "3fff:100:0:8::/64,,,,lost,": ("bad_state", None),
    "3fff:100:0:9::/64,,,,quarantined,": ("bad_until", None),
    "3fff:100:0:a::/64,,,,reserved,": ("bad_label", None),
    "3fff:100:0:b::/64,,a\0b,,,": ("bad_text", None),
    "3fff:100:0:8::/64,,found,,,": ("ok", None),
}


def test_an_import_says_of_every_line_what_is_wrong_and_writes_all_or_nothing(typist: Typist, pool: UUID) -> None:
    """All or nothing; --partial writes what can be; --dry-run nothing; again: all is there already."""
    before = typist.does("ipv6", "export").out
    for options in ((), ("--dry-run",), ("--dry-run", "--partial")):
        said, found = imported(typist, *ROWS, options=options)
        assert found == list(ROWS.values())
        assert (said.status, said.json["written"]) == (1, False)
        assert typist.does("ipv6", "export").out == before
    said, found = imported(typist, *ROWS, options=("--partial",))
    assert (said.status, said.json["written"], said.json["counts"]["ok"]) == (1, True, 3)
    good = [row for row, verdict in ROWS.items() if verdict[0] == "ok"]
    said, found = imported(typist, *good)
    assert (said.status, {outcome for outcome, _ in found}) == (0, {"same"})
    said = typist.types("ipv6", "import", str(typist.folder / "plan.csv"))
    assert said.out == "已写入：新增 0 行，已存在 3 行，冲突 0 行。\n"
    allocated(typist, "next")
    assert "没有重叠" in typist.does("ipv6", "verify").out


@pytest.mark.parametrize("form", ["csv", "json"])
def test_an_export_reads_back_into_an_empty_database(
    typist: Typist, pool: UUID, blank_database: Database, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Pools, prefixes in all states, reservations: the second export is the first."""
    allocated(typist, "a", "--label", "甲, “乙”")
    allocated(typist, "b", "--length", "62")
    allocated(typist, "c", "--hold-days", "3")
    typist.does("ipv6", "release", "--owner", "b")
    typist.does("ipv6", "reserve", "3fff:100:0:80::/57", "--reason", "预留")
    file = typist.folder / f"plan.{form}"
    typist.does("ipv6", "export", "--format", form, "--out", str(file))
    monkeypatch.setenv("GUIYUN_DATABASE_URL", blank_database.owner_url)
    typist.does("db", "migrate")
    monkeypatch.setenv("GUIYUN_DATABASE_URL", blank_database.app_url)
    assert set(typist.does("ipv6", "import", str(file), "--json").json["counts"]) == {"ok"}
    assert typist.does("ipv6", "export", "--format", form).out == file.read_text(encoding="utf-8")
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
        assert [r["kind"] for r in rows] == ["block", "pool", "prefix", "prefix", "prefix", "prefix"]


def test_a_file_that_is_no_plan_is_refused(typist: Typist, pool: UUID) -> None:
    """Neither CSV with a prefix column nor a JSON list."""
    deep, wide, long = "[" * 200_000, f"prefix\n{'x' * 200_000}\n", "prefix,owner\n3fff:100:0:2::/64,a,b\n"
    for content in ("a,b\n1,2\n", "[1]", "[", "", deep, wide, long):
        said = typist.types("ipv6", "import", "-", stdin=content)
        assert (said.status, said.err.split("：")[0]) == (1, "prefix.import_unreadable")
    assert typist.types("ipv6", "import", "/nowhere/plan.csv").status == 2


def test_what_is_in_the_plan_is_the_same_also_while_it_rests(typist: Typist, pool: UUID) -> None:
    """An unchanged export says nothing new; what rests is no other's, nor in use; a free place is taken again."""
    allocated(typist, "a")
    rests = allocated(typist, "b")
    typist.does("ipv6", "release", "--owner", "b")
    plan = typist.folder / "exported.csv"
    typist.does("ipv6", "export", "--out", str(plan))
    assert set(typist.does("ipv6", "import", str(plan), "--json").json["counts"]) == {"same"}
    assert [outcome for outcome, _ in imported(typist, f"{rests},shared,b,,,")[1]] == ["overlaps"]
    owner = str(uuid4())
    row = f"3fff:100:0:7::/64,shared,{owner},,,"
    assert imported(typist, row)[1] == [("ok", None)]
    typist.does("ipv6", "release", "--owner", owner, "--quarantine-days", "0")
    typist.does("ipv6", "sweep")
    assert imported(typist, row)[1] == [("ok", None)]


def test_a_date_of_any_offset_is_a_date(typist: Typist, pool: UUID) -> None:
    """What PostgreSQL's text would not take is written in UTC; what no calendar has is the line's own mistake."""
    good, bad = "2099-01-01T00:00:00-23:59", "9999-12-31T23:59:59-23:59"
    found = imported(typist, *(f"3fff:100:0:{n}::/64,,{n},,held,{at}" for n, at in enumerate((good, bad), 2)))[1]
    assert [outcome for outcome, _ in found] == ["ok", "bad_until"]


def test_facts_and_levels_are_shown(typist: Typist, pool: UUID) -> None:
    """Reverse zones, gateway, SLAAC; how full each level is."""
    allocated(typist, "a", "--length", "61")
    found = typist.does("ipv6", "facts", "3fff:100::/61", "--json").json
    assert (len(found["reverse_zones"]), found["gateway"], found["slaac"]) == (8, "3fff:100::1", False)
    assert "不可以" in typist.does("ipv6", "facts", "3fff:100::/61").out
    levels = typist.does("ipv6", "plan", "--levels", "--json").json
    assert [(u["live_64"], u["size_64"]) for u in levels] == [(8, 256), (8, 16)]
    assert len({(u["zone"], u["depth"], u["level"]) for u in levels}) == len(levels)
    assert "50.00%" in typist.does("ipv6", "plan", "--levels").out


def test_verify_names_what_somebody_tampered_with(typist: Typist, pool: UUID, owner_engine: Engine) -> None:
    """The owner drops the constraint and inserts an overlap: both are named, and the exit status is 1."""
    allocated(typist, "a")
    with owner_engine.begin() as connection:
        connection.execute(text("ALTER TABLE quotas.prefix_allocation DROP CONSTRAINT ex_prefix_allocation_overlap"))
        connection.execute(
            text(
                "INSERT INTO quotas.prefix_allocation"
                " (id, pool_id, domain_id, owner, prefix, first_64, count_64, state)"
                " SELECT gen_random_uuid(), pool_id, domain_id, gen_random_uuid(), set_masklen(prefix::inet, 63)::cidr,"
                " first_64, 2, 'active' FROM quotas.prefix_allocation"
            )
        )
    said = typist.types("ipv6", "verify", "--json")
    assert (said.status, json.loads(said.err)["code"]) == (1, "ipv6.differs")
    assert {d["what"] for d in said.json["differences"]} == {"overlap", "unguarded"}
