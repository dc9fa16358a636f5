"""``guiyun systems`` and ``guiyun zombies``: the register and the five signs at a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.typist import Typist


def test_a_file_is_looked_at_first_and_written_when_all_of_it_is_right(typist: Typist, tmp_path: Path) -> None:
    """Exit 1 with every wrong line; exported, changed and applied it says what it did."""
    file = tmp_path / "台账.csv"
    typist.does("systems", "export", str(file), as_="apply.jyt")
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    assert "没有需要" not in typist.does("systems", "import", str(file), as_="apply.jyt").out
    file.write_text("\n".join([lines[0], lines[1].replace("全区中小学", "全区"), lines[1]]), encoding="utf-8")
    told = json.loads(typist.refused("systems", "import", str(file), "--apply", "--json", as_="apply.jyt"))
    assert {error["code"] for error in told["errors"]} == {"import.code_twice"}
    assert "截至" in typist.does("systems", "total", "--months", "3", as_="apply.jyt").out
    assert "jyt-xjgl" in typist.does("systems", "show", "jyt-xjgl", as_="apply.jyt").out
    assert typist.does("systems", "moves", "--unit", "jyt", "--json", as_="apply.jyt").json == []
    assert typist.does("systems", "proposals", "--json", as_="approve.1").json == []


def test_the_five_signs_are_shown_with_their_evidence(typist: Typist) -> None:
    """Scanned by the Center, shown in words, kept by the Bureau until a day."""
    assert "检测了" in typist.does("zombies", "scan", as_="assess.1").out
    first = typist.does("zombies", "--json", as_="approve.1").json["data"][0]
    assert (first["code"], first["level"], first["signs"]["idle"]) == ("jyt-yqrb", "likely", None)
    shown = typist.does("zombies", "show", "jyt-yqrb", as_="approve.1").out
    assert "所支撑的业务已于 2023-01-08 停办" in shown
    assert "不掌握" in shown
    assert "待认定" in typist.does("zombies", as_="approve.1").out
    refused = typist.refused("zombies", "keep", "jyt-yqrb", "--reason", "留", "--until", "2020-01-01", as_="approve.1")
    assert "zombie.look_again" in refused
