"""``guiyun networks``: dedicated networks at a terminal, from a file to finance's empty list."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from api.texts.dedicated import HEADINGS
from tests.cli.typist import Typist

LINE = (
    "cli-1,jyt,教育专网,全区学籍业务,县级,全区教育局,否,2012-06-01,桂教〔2012〕8号,"
    "125,电信,自治区本级财政,860000,apply.jyt,"
)


def test_a_network_is_imported_planned_and_given_another_day(typist: Typist, tmp_path: Path) -> None:
    """A wrong line keeps the file out; plan and days are told; a step out of order is refused by its code."""
    file, me = tmp_path / "专网.csv", "apply.jyt"
    heading = ",".join(HEADINGS.values())
    file.write_text("\n".join([heading, LINE, LINE.replace("2012-06-01", "2022-06-01")]), encoding="utf-8")
    told = json.loads(typist.refused("networks", "import", str(file), "--apply", "--json", as_=me))
    assert {e["code"] for e in told["errors"]} == {"import.code_twice", "network.none_new"}
    file.write_text(f"{heading}\n{LINE}", encoding="utf-8")
    assert "已写入台账" in typist.does("networks", "import", str(file), "--apply", as_=me).out
    assert "待报计划" in typist.does("networks", as_=me).out
    today = datetime.now(UTC).date()
    days = [str(today + timedelta(days=n)) for n in (30, 60, 90)]
    done = ("--done-on", str(today), "--evidence", "报告")
    assert "network.step_order" in typist.refused("networks", "connect", "cli-1", *done, as_=me)
    words = (
        "--scope", "全部", "--content", "迁入公用网络区", "--zone", "shared", "--leader", "lead.jyt", "--office",
        "信息处", "--liaison", me, "--document", "桂教函〔2026〕20号", "--connect-by", days[0], "--migrate-by", days[1],
        "--shut-down-by", days[2],
    )  # fmt: skip
    assert "现为“待联通”" in typist.does("networks", "plan", "cli-1", *words, as_=me).out
    assert "network.no_segment" in typist.refused("networks", "connect", "cli-1", *done, as_=me)
    later = ("--step", "connect", "--due-on", days[1], "--reason", "割接推迟")
    assert "期限已调整" in typist.does("networks", "redate", "cli-1", *later, as_="approve.1").out
    shown = typist.does("networks", "show", "cli-1", as_="finance").out
    assert "期限调整" in shown
    assert "割接推迟" in shown
    assert "860,000.00 元" in shown
    assert typist.does("networks", "stopped", "--json", as_="finance").json == []
