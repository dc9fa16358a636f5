"""The pages of zombie systems: the Center looks, the Bureau decides; in a browser as well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from broker.reclamation.models import ReclaimCase
from broker.zombies import board, service
from broker.zombies.service import Given
from tests.console.people import Console
from tests.console.test_browser import DESK, open_window

__all__ = ["open_window"]


@pytest.mark.browser
def test_the_center_scans_and_the_bureau_decides(console: Console, open_window: object, screenshots: Path) -> None:
    """The demonstration's zombie stands first; its five signs say why; not a zombie until a day, and it is gone."""
    opener: Any = open_window
    page = opener("assess.1", DESK).go("/zombies")
    page.get_by_role("button", name="重新检测").click()
    expect(page.locator("tbody tr").first).to_contain_text("教育系统疫情日报系统")
    page.screenshot(path=screenshots / "zombies.png", full_page=True)
    page = opener("approve.1", DESK).go("/zombies")
    page.get_by_role("link", name="教育系统疫情日报系统").click()
    expect(page.get_by_text("所支撑的业务已于 2023-01-08 停办")).to_be_visible()
    expect(page.get_by_text("不掌握：没有服务器，或没有监测数据")).to_be_visible()
    page.screenshot(path=screenshots / "zombie.png", full_page=True)
    page.get_by_label("理由").fill("防疫预案要求保留")
    later = datetime.now(UTC) + timedelta(days=60)
    page.get_by_label("不是的，何时再看").fill(later.date().isoformat())
    page.get_by_role("button", name="不是僵尸系统").click()
    expect(page.get_by_text("防疫预案要求保留")).to_be_visible()
    assert "教育系统疫情日报系统" not in console.person("approve.1").get("/zombies").text


def test_a_decision_leads_to_its_cases_and_says_where_they_stand(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linked for who may open it, by its number alone for others."""
    world, bureau = console.world, console.person("approve.1")
    console.person("assess.1").post("/zombies/scans", {})
    code = "jyt-yqrb"
    system_id = world.scalar("SELECT id FROM broker.information_system WHERE code = :c", c=code)
    with world.acting("approve.1") as work:
        finding = board.one(work, code)[1].id
        given = Given(service.CONFIRMED, "停办")
        made = service.decide(work, world.app.settings, system_id, finding, given).id
    url = f"/zombies/{system_id}"
    assert "当时没有可收回的资源" in bureau.get(url).text
    cases = [(ReclaimCase(id=uuid4(), number=f"HS-90000{n}", state="suspended"), n == 1) for n in (1, 2)]
    monkeypatch.setattr(board, "cases_of", lambda *_: {made: cases})
    page = bureau.get(url)
    assert f"/reclaim/{cases[0][0].id}" in page.links
    assert f"/reclaim/{cases[1][0].id}" not in page.links
    assert "HS-900001</a>：已停用" in page.text
    assert "HS-900002</span>：已停用" in page.text
