"""The console in headless Chromium: by keyboard, live, under its strict policy; screenshots of the main pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from broker.delivery import begin
from broker.region.loader import DEMONSTRATION_PASSWORD
from tests.console.conftest import todays_form
from tests.console.people import Console
from tests.stories import road

pytestmark = pytest.mark.browser

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
REPLACED = ("htmx:afterRequest", "htmx:sendAbort")
PATIENCE_MS = 120_000
"""How long a busy machine may take; nothing waits that long when all is well."""

expect.set_options(timeout=PATIENCE_MS)


class Window:
    """One person's window; whatever the browser complains about fails the test."""

    def __init__(self, context: BrowserContext, url: str, login: str) -> None:
        self.complaints: list[str] = []
        self.url = url
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda r: self.complaints.append(r.url) if not r.url.startswith(url) else None)
        self.page.goto(f"{url}/sign-in")
        self.page.fill("#login", login)
        self.page.fill("#password", DEMONSTRATION_PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(lambda at: "sign-in" not in at)

    def _hear(self, message: ConsoleMessage) -> None:
        """What is wrong; not that a newer check took the place of one on its way, which htmx calls two errors.

        The first it says of every request without an answer; of one that failed it says ``htmx:sendError`` as well.
        """
        if message.type in {"error", "warning"} and not message.text.startswith(REPLACED):
            self.complaints.append(message.text)

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page


@pytest.fixture
def open_window(chromium: Browser, console: Console) -> Iterator[object]:
    """Opens a window for a person: ``open_window(login, size)``; at the end no window may have complained."""
    contexts: list[BrowserContext] = []
    windows: list[Window] = []

    def opener(login: str, size: dict[str, int] = DESK) -> Window:
        context = chromium.new_context(
            viewport={"width": size["width"], "height": size["height"]}, locale="zh-CN", timezone_id="Asia/Shanghai"
        )
        contexts.append(context)
        windows.append(Window(context, console.server.url, login))
        return windows[-1]

    yield opener
    complaints = [text for window in windows for text in window.complaints]
    for context in contexts:
        context.close()
    assert complaints == []


def type_into(page: Page, label: str, text: str) -> None:
    """Tab from field to field, as somebody without a mouse does, until the one with this label; then type."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.labels?.[0]?.textContent.trim()") == label:
            page.keyboard.type(text)
            return
    raise AssertionError(f"the keyboard does not reach {label}")


def choose(page: Page, label: str, option: str) -> None:
    """Tab to a list and go down to an option."""
    type_into(page, label, "")
    for _ in range(40):
        if page.evaluate("document.activeElement.selectedOptions[0].textContent").startswith(option):
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"{label} has no {option}")


def press(page: Page, name: str, key: str = "Enter") -> None:
    """Tab to a button or radio and press it."""
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "(document.activeElement.labels?.[0]?.textContent || document.activeElement.textContent).trim()"
        )
        if found.startswith(name):
            page.keyboard.press(key)
            return
    raise AssertionError(f"the keyboard does not reach {name}")


def test_an_applicant_fills_in_and_submits_by_keyboard_and_an_approver_approves(
    open_window: object, console: Console, screenshots: Path
) -> None:
    """Art. 17(1, 2) without a mouse: every field is reached in order, checks appear, nothing typed is lost."""
    assert callable(open_window)
    applicant: Window = open_window("apply.jyt")
    page = applicant.go("/requests/new")
    choose(page, "信息系统", "中小学学籍")
    type_into(page, "预计用户数", "50000")
    type_into(page, "用途", "中小学学籍管理系统扩容：新学年全区学籍注册高峰期并发增长，现有应用服务器不足。")
    page.fill("#f-end_date", f"{datetime.now(UTC).year + 1}-01-31")  # a date field's parts depend on the locale
    page.focus("#f-end_date")
    type_into(page, "资金来源", "自治区本级财政")
    page.focus("#f-items-1-vcpu")
    choose(page, "操作系统镜像", "openEuler 22.03 LTS (x86")
    press(page, "数据盘")
    expect(page.locator("#f-items-1-data_disks-0-size_gib")).to_be_focused()
    expect(page.locator("#f-purpose")).to_have_value(
        "中小学学籍管理系统扩容：新学年全区学籍注册高峰期并发增长，现有应用服务器不足。"
    )
    type_into(page, "姓名", "韦海燕")
    type_into(page, "联系电话", "0771-5815001")
    type_into(page, "公文文号", "桂教函〔2026〕112号")
    expect(page.locator("#check")).to_contain_text("可以提交")
    expect(page.locator("#check")).to_contain_text("元/月")
    page.screenshot(path=screenshots / "form.png", full_page=True)
    press(page, "提交申请")
    page.wait_for_url("**?done=submitted")
    path = page.url.removeprefix(console.server.url).split("?")[0]

    approver: Window = open_window("approve.jyt")
    approver.page.screenshot(path=screenshots / "desk.png")
    page = approver.go(f"{path}/decision")
    page.screenshot(path=screenshots / "decision.png", full_page=True)
    page.focus("input[value=approve]")
    page.keyboard.press("Space")
    press(page, "确认决定")
    page.wait_for_url("**?done=approve")
    expect(page.locator("h1")).to_contain_text("待评估")
    # The applicant's page was open all the time and has moved on by itself.
    expect(applicant.page.locator("h1")).to_contain_text("待评估")


def test_what_is_left_follows_the_numbers_and_the_plan_is_walked_by_keyboard(
    open_window: object, console: Console, delivered: UUID, screenshots: Path
) -> None:
    """The quota card changes while typing and names the limit that binds; arrows and Enter zoom to a segment."""
    assert callable(open_window)
    console.world.clock.now = datetime.now(UTC)
    waits = road.submit(console.world, "apply.zsksy", **todays_form(unit="jyt-zsksy", system="zsksy-wsbm"))
    window: Window = open_window("apply.jyt")
    page = window.go("/quota")
    page.screenshot(path=screenshots / "quota.png", full_page=True)
    page = window.go("/requests/new")
    expect(page.locator("#quota-card")).to_contain_text("批准后")
    expect(page.locator("[data-refused]")).to_have_count(0)
    page.fill("#f-items-1-count", "200")
    page.fill("#f-items-1-vcpu", "64")
    expect(page.locator("[data-refused=vcpu]")).to_contain_text("自治区教育厅的处理器（核）限额为 2,400")
    page.fill("#f-items-1-vcpu", "1")
    expect(page.locator("[data-refused=vcpu]")).to_have_count(0)

    page = window.go("/ipv6")
    page.screenshot(path=screenshots / "ipv6.png", full_page=True)
    page.focus(".map a[tabindex='0']")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.column") == "1"
    page.keyboard.press("ArrowLeft")
    for length in (40, 48, 56, 64):
        page.keyboard.press("Enter")
        expect(page.locator("h1 .map-prefix")).to_contain_text(f"/{min(length, 56)}")
        page.focus(".map a[tabindex='0']")
    expect(page.locator("#segment-title")).to_contain_text("/64")
    expect(page.locator(".map-side")).to_contain_text("ip6.arpa")
    assert console.world.request(waits).state == "submitted"


def test_a_field_that_was_left_shows_its_complaint_at_once(open_window: object) -> None:
    """The sentence stands beside the field and is tied to it; fields not reached yet stay quiet."""
    assert callable(open_window)
    page = open_window("apply.jyt").go("/requests/new")
    expect(page.locator("#check")).to_contain_text("待完善")
    page.fill("#f-items-1-vcpu", "900")
    page.keyboard.press("Tab")
    expect(page.locator("#f-items-1-vcpu-error")).to_have_text("数值应在 1 至 256 之间。")
    expect(page.locator("#f-items-1-vcpu")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#f-purpose-error")).to_have_text("")
    page.fill("#f-items-1-vcpu", "8")
    page.keyboard.press("Tab")
    expect(page.locator("#f-items-1-vcpu-error")).to_have_text("")


def test_progress_appears_without_a_reload_and_after_one(
    open_window: object, console: Console, screenshots: Path
) -> None:
    """Steps come by server-sent events; a reload goes on where it is; at the end the whole page has moved on."""
    assert callable(open_window)
    console.world.clock.now = datetime.now(UTC)
    request_id = road.up_to_order(console.world, **todays_form())
    page = open_window("apply.jyt").go(f"/requests/{request_id}")
    expect(page.locator("#progress")).to_contain_text("已排队")
    page.evaluate("window.sameDocument = true")
    job = next(row.job for row in road.jobs(console.world) if console.world.request(request_id))
    begin.pin_hold(console.world.app.tools(), job)
    expect(page.locator("[data-step=pin_hold]")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True
    page.reload()
    expect(page.locator("[data-step=pin_hold]")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    console.world.clock.now = datetime.now(UTC)
    road.walk(console.world)
    expect(page.locator("[data-step=hand_over]")).to_have_attribute("data-state", "done")
    expect(page.locator("h1")).to_contain_text("已交付")
    expect(page.locator("#handover-title")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True
    page.screenshot(path=screenshots / "request.png", full_page=True)


def test_the_assessor_sees_cost_and_candidates_change_while_typing(
    open_window: object, console: Console, screenshots: Path
) -> None:
    """Art. 17(3): sizes are tried on without a reload."""
    assert callable(open_window)
    request_id = road.submit(console.world, **todays_form())
    road.approve(console.world, request_id)
    page = open_window("assess.jyt").go(f"/requests/{request_id}/assessment")
    before = page.locator("#assess-cost .num").first.inner_text()
    page.fill("#size-1-vcpu", "16")
    page.keyboard.press("Tab")
    expect(page.locator("#proposal")).to_contain_text("申请 4")
    expect(page.locator("#assess-cost .num").first).not_to_have_text(before)
    page.screenshot(path=screenshots / "assessment.png", full_page=True)


def test_the_region_is_drawn_and_fits_a_phone(open_window: object, screenshots: Path) -> None:
    """1 + N + 14, the chart drawn under the strict policy, nothing wider than 390 px."""
    assert callable(open_window)
    bureau = open_window("admin").go("/ipv6")
    bureau.screenshot(path=screenshots / "ipv6-zone.png", full_page=True)
    page = open_window("admin").go("/region")
    expect(page.locator("#region-chart[data-ready]")).to_be_visible()
    page.screenshot(path=screenshots / "region.png", full_page=True)
    phone = open_window("admin", PHONE).go("/region")
    expect(phone.locator("#region-chart[data-ready]")).to_be_visible()
    phone.screenshot(path=screenshots / "region-phone.png")
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize(
    "path", ["/", "/requests", "/requests/new", "/systems", "/notices", "/requests/{id}", "/quota", "/ipv6"]
)
def test_pages_fit_a_phone(open_window: object, delivered: UUID, screenshots: Path, path: str) -> None:
    """Usable at 390 px: no page scrolls sideways."""
    assert callable(open_window)
    page = open_window("apply.jyt", PHONE).go(path.format(id=delivered))
    page.wait_for_load_state()
    page.screenshot(path=screenshots / f"phone-{path.strip('/').split('/')[-1].strip('{}') or 'home'}.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
