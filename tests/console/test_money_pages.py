"""Pages about money: what each payer owes, industry clouds, settlements, a statement and its files; who sees which."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import Range

from broker.db.session import make_sessions
from broker.metering.models import UsageRecord
from broker.pricing.months import Month
from tests.console.billing import as_one_person, draw_months, finance_of_nanning, finance_of_pingxiang, use_months
from tests.console.people import Console
from tests.console.test_browser import DESK, PHONE, Window, open_window

__all__ = ["open_window"]


@pytest.fixture(scope="module")
def used(console: Console) -> list[Month]:
    """Three months in which the demonstration region used something."""
    with make_sessions(console.server.engine).begin() as session:
        finance_of_nanning(session)
        finance_of_pingxiang(session)
        return use_months(session, datetime.now(UTC), 3)


@pytest.fixture(scope="module")
def months(console: Console, used: list[Month]) -> list[Month]:
    """The same, billed."""
    with make_sessions(console.server.engine).begin() as session:
        draw_months(session, datetime.now(UTC), used)
    return used


def test_two_people_say_in_their_browsers_where_the_books_begin(
    open_window: object, console: Console, used: list[Month], screenshots: Path, request: pytest.FixtureRequest
) -> None:
    """One asks and may only take it back; the other agrees; only then the card is gone.

    Also after months were closed, when late usage from before them may stop the next: then it is the first of these.
    """
    assert callable(open_window)
    one = open_window("finance", DESK).go("/months")
    for done in ("撤回", ""):
        if done:
            one.fill("#begin-month", str(used[0]))
        else:
            request.getfixturevalue("months")
            one = open_window("finance", DESK).go("/months")
            expect(one.locator("#begin-month[readonly]")).to_have_value(str(used[0]))
        one.fill("#begin-reason", "此前为试运行")
        one.get_by_role("button", name="申请", exact=True).click()
        one.wait_for_url("**?done=beginning_asked")
        expect(one.get_by_role("button", name="同意", exact=True)).to_have_count(0)
        if done:
            one.get_by_role("button", name=done, exact=True).click()
            one.wait_for_url("**?done=beginning_dropped")
    audit = console.person("audit").get("/months").text
    assert "此前为试运行" in audit
    assert 'action="/months' not in audit
    other = open_window("admin", DESK).go("/months")
    expect(other.get_by_text("此前为试运行")).to_be_visible()
    other.screenshot(path=screenshots / "beginning.png", full_page=True)
    other.get_by_role("button", name="同意", exact=True).click()
    other.wait_for_url("**?done=beginning_agreed")
    expect(other.locator("#begin-title")).to_have_count(0)


@pytest.fixture(scope="module")
def statement_id(console: Console, months: list[Month]) -> str:
    """Nanning's newest statement, of a month that is not closed."""
    return newest(console, months[-1])


def newest(console: Console, month: Month) -> str:
    """The newest statement of Nanning's for a month."""
    with make_sessions(console.server.engine)() as session:
        found = session.execute(
            text(
                "SELECT s.id FROM broker.statement s JOIN broker.unit u ON u.id = s.payer_unit_id"
                " WHERE u.code = '450100' AND s.month = :month ORDER BY s.version DESC LIMIT 1"
            ),
            {"month": month.first_day},
        )
        return str(found.scalar_one())


def test_the_overview_leads_to_each_payer_and_its_statement(console: Console, months: list[Month]) -> None:
    """From what all owe to one payer to its lines; every chart's numbers answer."""
    finance = console.person("finance")
    overview = finance.get(f"/payers?month={months[-1]}")
    assert "南宁市" in overview.text
    payer = next(link for link in overview.links if link.startswith("/payers/"))
    page = finance.get(payer)
    for element in [*overview.all("div"), *page.all("div")]:
        if "data-chart" in element:
            data = finance.client.get(element["data-chart"]).json()
            assert data["names"]
            assert all(len(one["data"]) == len(data["names"]) for one in data["series"])
            assert all(isinstance(fen, int) for one in data["series"] for fen in one["data"])
    statement = finance.get(next(link for link in page.links if link.startswith("/statements/")))
    assert "demo-2025" in statement.text
    assert "上月" in statement.text


def test_a_statement_is_taken_away_as_csv_excel_and_pdf(console: Console, statement_id: str) -> None:
    """The same lines, exact to the fen, rule and price version on each; the Excel file holds the amounts as written."""
    finance = console.person("finance")
    answer = finance.client.get(f"/statements/{statement_id}/file/csv")
    assert answer.status_code == 200
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    total = sum(Decimal(row["金额（元）"]) for row in rows)
    assert {row["价目版本"] for row in rows} == {"demo-2025"}
    assert all(row["付费规则"] and row["依据"] for row in rows)
    book = finance.client.get(f"/statements/{statement_id}/file/xlsx")
    assert "filename*=utf-8''" in book.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(book.content)) as parts:
        lines = parts.read("xl/worksheets/sheet2.xml").decode()
        summary = parts.read("xl/worksheets/sheet1.xml").decode()
        styles = parts.read("xl/styles.xml").decode()
    assert all(f"<v>{row['金额（元）']}</v>" in lines for row in rows)
    assert re.search(rf'<c r="B7" s="[0-9]+"><v>{total:f}</v>', summary)  # a number in its head, too
    assert f"<v>{total:f}</v>" in summary[summary.index('r="B8"') :]
    assert "#,##0.####" not in styles  # would show a whole number with a point at its end
    printed = finance.client.get(f"/statements/{statement_id}/file/pdf")
    assert printed.headers["content-type"] == "application/pdf"
    assert printed.content.startswith(b"%PDF-")
    assert b"STSong-Light" in printed.content
    assert b"FontFile" not in printed.content  # nothing embedded: small, and no font file needed here
    assert finance.client.get(f"/statements/{statement_id}/file/doc").status_code == 422
    assert console.person("apply.jyt").client.get(f"/statements/{statement_id}/file/csv").status_code == 404


@pytest.fixture(scope="module")
def closed_id(console: Console, months: list[Month]) -> str:
    """Nanning's statement of the last month that was closed."""
    return newest(console, months[-2])


def test_a_payer_objects_on_the_page_and_the_region_answers(
    console: Console, closed_id: str, months: list[Month]
) -> None:
    """From the line to the objection, to the notice, to the answer: -1.50 yuan stay -1.50 yuan."""
    city, region = console.person("finance.nanning"), console.person("finance")
    shown, whole = city.get("/statements").text, region.get("/statements").text
    assert "生成账单" not in shown, "only who keeps the region's books draws one"
    assert all(word in whole for word in ("生成账单", "已关账", "试算账单"))
    statement = city.get(f"/statements/{closed_id}")
    links = [link for link in statement.links if link.endswith("/dispute")]
    assert links
    assert not [x for x in region.get(f"/statements/{closed_id}").links if x.endswith("/dispute")]
    assert not [x for x in city.get(f"/statements/{newest(console, months[-1])}").links if x.endswith("/dispute")]
    assert "请填写异议理由" in city.post(links[0], {"reason": " "}, status=422).text
    page = city.post(links[0], {"reason": "该服务器 9 月 10 日已停用"})
    assert "异议已提交" in page.text
    told = region.get("/notices")
    assert "有新的异议" in told.text
    found = next(x for x in region.get("/disputes").links if x.startswith("/disputes/"))
    assert found in told.links
    given = {"decision": "accepted", "reason": "核实属实", "amount": "-1.505"}
    wrong = region.post(f"{found}/answer", given, status=422)
    assert wrong.value("amount") == "-1.505"
    page = region.post(f"{found}/answer", given | {"amount": "-1.50"})
    assert "-1.50" in page.text
    assert "已获接受" in city.get("/notices").text
    assert (
        city.client.post(f"{found}/answer", data={"csrf_token": city.token, "decision": "rejected"}).status_code == 403
    )


@pytest.mark.parametrize(
    ("login", "url", "status"),
    [
        ("finance", "/industry-clouds", 200),
        ("approve.1", "/industry-clouds", 200),
        ("audit", "/settlements", 200),
        ("audit", "/months", 200),
        ("approve.1", "/months", 403),
        ("approve.jyt", "/industry-clouds", 403),
        ("approve.1", "/settlements", 403),
        ("cloud.operator", "/payers", 403),
        ("cloud.operator", "/settlements", 200),
    ],
)
def test_each_overview_is_for_whom_it_concerns(
    console: Console, months: list[Month], login: str, url: str, status: int
) -> None:
    """The Bureau sees what industry clouds cost (Art. 16(3)), the region's finance and audit everything (0005)."""
    page = console.person(login).get(url, status=status)
    if status == 200 and url == "/industry-clouds":
        assert "健康" in page.text or "行业云" in page.text


def test_budgets_are_set_and_drawn(console: Console, months: list[Month]) -> None:
    """A wrong amount stays in the form; a right one is in the table and in the picture, whole fen."""
    region, city, year = console.person("finance"), console.person("finance.nanning"), months[0].year
    page = region.get(f"/budgets?year={year}")
    payer = next(option["value"] for option in page.all("option") if len(option["value"]) == 36)
    given = {"year": str(year), "payer": payer, "amount": "1.234"}
    assert region.post("/budgets", given, status=422).value("amount") == "1.234"
    done = region.post("/budgets", given | {"amount": "9,876,543.21"})
    assert "预算已设定" in done.text
    assert "9,876,543.21" in done.text
    data = region.client.get(f"/budgets/chart?year={year}").json()
    assert (data["series"][0]["name"], data["series"][0]["data"]) == ("预算", [987_654_321])
    assert "设定预算</button>" not in city.get(f"/budgets?year={year}").text
    assert region.get("/budgets?year=26", status=422)


@dataclass(frozen=True)
class Shown:
    """The statements that are looked at."""

    open: str
    closed: str


@pytest.fixture(scope="module")
def shown(statement_id: str, closed_id: str) -> Shown:
    return Shown(statement_id, closed_id)


def follow(window: Window, begins: str) -> Page:
    """The first link of a table that begins so, and wait until its page is there: the old one may have more charts."""
    window.page.click(f"table a[href^='{begins}']")
    window.page.wait_for_url(lambda at: urlsplit(at).path.startswith(begins))
    return window.page


@pytest.mark.browser
def test_how_the_pages_about_money_look(
    open_window: object, console: Console, months: list[Month], shown: Shown, screenshots: Path
) -> None:
    """Charts draw, nothing is refused by the policy, and a phone does not scroll sideways."""
    assert callable(open_window)
    desk: Window = open_window("finance", DESK)
    pages = {
        "payers": f"/payers?month={months[-1]}",
        "payer": "",
        "industry": f"/industry-clouds?month={months[-1]}",
        "budgets": f"/budgets?year={months[0].year}",
        "settlements": "/settlements",
        "settlement": "",
        "statement": f"/statements/{shown.open}",
        "statements": "/statements",
    }
    for name, url in pages.items():
        if name == "payer":
            page = follow(desk, "/payers/")
        elif name == "settlement":
            page = follow(desk, "/settlements/")
        else:
            page = desk.go(url)
        for chart in page.locator("[data-chart]").all():
            chart.scroll_into_view_if_needed()
        expect(page.locator("[data-chart]:not([data-ready])")).to_have_count(0)
        page.screenshot(path=screenshots / f"money-{name}.png", full_page=True)
    page = open_window("finance.nanning", DESK).go(f"/statements/{shown.closed}")
    page.screenshot(path=screenshots / "money-closed.png", full_page=True)
    page.locator("a[href$='/dispute']").first.click()
    page.screenshot(path=screenshots / "money-dispute-form.png", full_page=True)
    page.fill("#f-reason", "该服务器上月已停用，应只收存储费用。")
    page.click("main form button[type=submit]")
    expect(page.locator("main")).to_contain_text("异议已提交")
    path = page.url.removeprefix(console.server.url).split("?")[0]
    page = desk.go(path)
    page.screenshot(path=screenshots / "money-dispute.png", full_page=True)
    desk.go("/disputes").screenshot(path=screenshots / "money-disputes.png", full_page=True)
    phone: Window = open_window("finance", PHONE)
    for name in ("payers", "industry", "statement"):
        page = phone.go(pages[name])
        expect(page.locator("[data-chart]:not([data-ready])")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name


HEAD = "资源编号,计量项,数量,开始时间,结束时间\n"


@pytest.mark.browser
def test_usage_by_file_adjustments_and_parts_of_bills_in_a_browser(
    open_window: object, console: Console, months: list[Month], shown: Shown, screenshots: Path
) -> None:
    """An operator brings a file, two of finance put a line right, a county and a cloud's operator see their part."""
    assert callable(open_window)
    start = f"{months[-1]}-10T00:00:00+08:00"
    page = open_window("deliver.1", DESK).go("/usage")
    page.screenshot(path=screenshots / "money-usage.png", full_page=True)
    right = f"ZY-90000000,public_ip,2,{start},\n"
    for name, lines in (("wrong", f"{right}ZY-90000000,memory_gib,1.5,{start},\n"), ("right", right)):
        page.set_input_files(
            "#f-records", {"name": "用量.csv", "mimeType": "text/csv", "buffer": (HEAD + lines).encode()}
        )
        page.click("form[action='/usage/records/imports'] button[type=submit]")
        expect(page.locator("h1")).to_contain_text("用量记录预检")
        page.screenshot(path=screenshots / f"money-usage-{name}.png", full_page=True)
        if name == "wrong":
            expect(page.locator("main")).to_contain_text("由资源本身的规格计量")
            page.click("main a[href='/usage']")
    page.click("main form button[type=submit]")
    expect(page.locator("main")).to_contain_text("用量已导入")

    page = open_window("finance", DESK).go(f"/statements/{shown.closed}")
    page.locator("a[href$='/adjustment']").first.click()
    page.fill("#f-amount", "-0.01")
    page.fill("#f-reason", "单价录入有误")
    page.screenshot(path=screenshots / "money-adjustment-form.png", full_page=True)
    page.click("main form button[type=submit]")
    expect(page.locator("main")).to_contain_text("待确认")
    page = open_window("admin", DESK).go("/adjustments")
    page.screenshot(path=screenshots / "money-adjustments.png", full_page=True)
    page.click("form[action$='/confirm'] button")
    expect(page.locator("main")).to_contain_text("已确认")

    page = open_window("finance.pingxiang", DESK).go("/statements")
    page.locator("table a[href^='/statements/']").first.click()
    expect(page.locator("main")).to_contain_text("只列出本县")
    page.screenshot(path=screenshots / "money-part.png", full_page=True)

    page = open_window("cloud.operator", DESK).go("/settlements")
    page.screenshot(path=screenshots / "money-operator.png", full_page=True)
    assert page.locator("nav.tabs a").count() == 1
    phone = open_window("deliver.1", PHONE).go("/usage")
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_month_is_previewed_closed_and_opened_again_in_a_browser(
    open_window: object, console: Console, months: list[Month], screenshots: Path
) -> None:
    """What stops it first; put right, the close; then two people open it again. The last test of these months."""
    assert callable(open_window)
    month = months[-1]
    with make_sessions(console.server.engine).begin() as session:
        resource = session.execute(text("SELECT id FROM broker.resource LIMIT 1")).scalar_one()
        record = UsageRecord(resource_id=resource, meter="unpriced", quantity=1, during=Range(month.start, None))
        session.add(record)
        session.flush()
        record_id = record.id
    one = open_window("finance", DESK).go("/months")
    one.get_by_role("link", name="试算", exact=True).click()
    expect(one.locator("#stops-title")).to_contain_text("2")  # no price, and none to settle by
    expect(one.get_by_text("unpriced").first).to_be_visible()
    expect(one.get_by_role("button", name=f"关账 {month}")).to_have_count(0)
    one.screenshot(path=screenshots / "month-stopped.png", full_page=True)
    with make_sessions(console.server.engine).begin() as session:
        session.get_one(UsageRecord, record_id).quantity = 0
    one.reload()
    one.screenshot(path=screenshots / "month.png", full_page=True)
    audit = console.person("audit").get(f"/months/{month}").text
    assert "没有使其不能关账的项目" in audit
    assert 'action="/months' not in audit
    one.get_by_role("button", name=f"关账 {month}").click()
    one.wait_for_url("**/months?done=month_closed")
    one.fill("#reopen-reason", "漏导用量")
    one.get_by_role("button", name="申请重新打开").click()
    one.wait_for_url("**?done=reopening_asked")
    expect(one.get_by_role("button", name="同意重新打开")).to_have_count(0)
    with as_one_person(console, "finance", "admin"):  # his second account sees no button, and is refused
        admin = console.person("admin")
        assert "等待另一人同意" in admin.get("/months").text
        assert "同意重新打开" not in admin.get("/months").text
        assert "应当是两个人" in admin.post(f"/months/{month}/reopening", {"step": "agree"}, status=403).text
    other = open_window("admin", DESK).go("/months")
    other.screenshot(path=screenshots / "months.png", full_page=True)
    other.get_by_role("button", name="同意重新打开").click()
    other.wait_for_url("**?done=month_reopened")
    expect(other.get_by_text("已重新打开", exact=True).first).to_be_visible()
    expect(other.get_by_text("陈慧：漏导用量（林涛同意）")).to_be_visible()
    open_window("finance", PHONE).go("/months").screenshot(path=screenshots / "months-phone.png", full_page=True)
    assert console.person("finance.nanning").client.get("/months").status_code == 403
