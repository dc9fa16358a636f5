"""The register's pages: registering with and without a merger, importing, the curve; in a browser as well."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from playwright.sync_api import expect

from api.texts.register import HEADINGS
from tests.console.people import Console
from tests.console.test_browser import DESK, open_window

__all__ = ["open_window"]

ENTRY = {
    "unit": "jyt", "code": "web-1", "name": "教师培训平台", "mlps_level": "2", "function": "教师培训报名与学时",
    "scope_of_use": "全区教师", "frequency_of_use": "每周", "approving_department": "自治区发展改革委",
    "approved_on": "2023-05-06", "funding_source": "自治区本级财政",
}  # fmt: skip


def test_a_new_system_without_a_merger_goes_to_the_bureau(console: Console) -> None:
    """Art. 29: refused with the article; with a reason it waits; the Bureau agrees, and its page is there."""
    person = console.person("apply.jyt")
    assert "只减不增" in person.post("/systems", ENTRY, status=422).text
    assert "教师培训平台" in person.post("/systems", ENTRY | {"growth_reason": "新增法定职责"}).text
    bureau = console.person("approve.1")
    page = bureau.get("/systems/proposals")
    action = next(f["action"] for f in page.all("form") if f.get("action", "").startswith("/systems/proposals/"))
    assert "请填写理由" in bureau.post(action, {"decision": "approved", "answer": ""}, status=422).text
    page = bureau.post(action, {"decision": "approved", "answer": "同意"})
    shown = bureau.get(next(link for link in page.links if link.startswith("/systems/0")))
    assert "新增法定职责" in shown.text


def test_a_system_of_the_stock_that_is_to_count_as_new_goes_to_the_bureau_too(console: Console) -> None:
    """Dated later on its own page: refused with the article; with a reason it waits; agreed, the entry says so."""
    person, bureau = console.person("apply.jyt"), console.person("approve.1")
    stock = ENTRY | {"code": "web-stock", "approved_on": "2018-05-06"}
    made = person.post("/systems", stock)
    at = next(f["action"] for f in made.all("form") if f.get("action", "").endswith("/end"))[:-4]
    assert "只减不增" in person.get(f"{at}/edit").text
    later = stock | {"approved_on": "2023-05-06", "version": "1"}
    assert "附新增理由" in person.post(f"{at}/edit", later, status=422).text
    assert "web-stock" in person.post(f"{at}/edit", later | {"growth_reason": "改为新增法定职责"}).text
    page = bureau.get("/systems/proposals")
    actions = [f["action"] for f in page.all("form") if f.get("action", "").startswith("/systems/proposals/")]
    bureau.post(actions[-1], {"decision": "approved", "answer": "同意"})
    assert "改为新增法定职责" in person.get(at).text
    assert "只减不增" not in person.get(f"{at}/edit").text


def test_the_bureau_gives_a_system_to_another_unit_and_both_see_it_go(console: Console) -> None:
    """Nothing typed is lost; then the page says whose it was, and the old unit reads that it left."""
    bureau, old = console.person("approve.1"), console.person("apply.jyt")
    made = old.post("/systems", ENTRY | {"code": "web-move", "approved_on": "2018-05-06"})
    action = next(f["action"] for f in made.all("form") if f.get("action", "").endswith("/end"))[:-4]
    said = bureau.post(f"{action}/move", {"unit": "nowhere", "reason": "机构改革", "version": "1"}, status=422)
    assert "没有这个单位" in said.text
    assert any(field.get("value") == "nowhere" for field in said.all("input"))
    assert "主管单位沿革" in bureau.post(f"{action}/move", {"unit": "wjw", "reason": "机构改革", "version": "1"}).text
    assert "web-move" in old.get("/systems/moves?unit=jyt").text
    assert "划转到另一单位" not in old.get("/systems").text


@pytest.mark.browser
def test_a_file_is_looked_at_and_imported_in_a_browser(
    console: Console, open_window: object, screenshots: Path, tmp_path: Path
) -> None:
    """Upload, verdict on every line, import; then the curve shows it."""
    book = openpyxl.Workbook()
    book.worksheets[0].append([HEADINGS[name] for name in ENTRY])
    book.worksheets[0].append(list((ENTRY | {"code": "web-2", "approved_on": "2016-05-06"}).values()))
    book.worksheets[0].append(list((ENTRY | {"code": "web-3", "mlps_level": "9"}).values()))
    file = io.BytesIO()
    book.save(file)
    path = tmp_path / "台账.xlsx"
    path.write_bytes(file.getvalue())
    opener: Any = open_window
    page = opener("apply.jyt", DESK).go("/systems/import")
    page.set_input_files("#f-file", path)
    page.get_by_role("button", name="预检").click()
    expect(page.get_by_text("有 1 行有误")).to_be_visible()
    page.screenshot(path=screenshots / "system-verdict.png", full_page=True)
    book.worksheets[0].delete_rows(3)
    book.save(path)
    page.goto(f"{console.server.url}/systems/import")
    page.set_input_files("#f-file", path)
    page.get_by_role("button", name="预检").click()
    page.get_by_role("button", name="导入全部 1 行").click()
    expect(page.get_by_text("文件已导入台账")).to_be_visible()
    page.goto(f"{console.server.url}/systems/total")
    expect(page.locator(".curve-line")).to_be_attached()
    page.screenshot(path=screenshots / "system-total.png", full_page=True)
    for at, name in (
        ("/systems", "systems"),
        ("/systems/new", "new"),
        ("/systems/proposals", "proposals"),
        ("/systems/import", "import"),
    ):
        page.goto(f"{console.server.url}{at}")
        page.screenshot(path=screenshots / f"system-{name}.png", full_page=True)
    page.goto(f"{console.server.url}/systems")
    page.get_by_role("link", name="教师培训平台").first.click()
    page.screenshot(path=screenshots / "system.png", full_page=True)
