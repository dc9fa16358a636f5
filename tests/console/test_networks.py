"""The pages of dedicated networks: the list, one as a line of time, the steps by form, finance's stopped funds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from api.console.timeline import LEFT, RIGHT, WIDTH, draw
from api.views import dedicated as views
from broker.db.base import new_id
from broker.dedicated import stops
from broker.dedicated.models import NetworkDate
from broker.extranet import service
from broker.extranet.models import SegmentAttachment
from tests.console.people import Console
from tests.console.test_browser import DESK, PHONE, open_window
from tests.console.test_pages import blemishes, tokens_missing
from tests.extranet.wire import Wire

__all__ = ["open_window"]

NETWORK = {
    "unit": "jyt", "code": "page-1", "name": "教育考试专网", "purpose": "全区考点视频巡查", "level": "county",
    "coverage": "14 个市、111 个县（市、区）考点", "classified": "否", "built_on": "2013-03-01",
    "grounds": "桂教〔2012〕8号", "links": "125", "carrier": "中国电信", "funding_source": "自治区本级财政",
    "yearly_cost_fen": "860,000.00", "responsible": "apply.jyt", "systems": "jyt-xjgl",
}  # fmt: skip


def plan(**more: str) -> dict[str, str]:
    first = datetime.now(UTC).date()
    days = {"connect": 30, "migrate": 75, "shut_down": 120}
    named = {f"dates.{step}.due_on": str(first + timedelta(days=n)) for step, n in days.items()}
    return named | dict.fromkeys((f"dates.{step}.owner" for step in days), "apply.jyt") | {
        "step": "plan", "scope": "全部专线", "content": "视频巡查业务迁入公用网络区", "zone": "shared",
        "leader": "lead.jyt", "office": "教育信息化处", "liaison": "apply.jyt", "document_number": "桂教函〔2026〕20号",
    } | more  # fmt: skip


@pytest.fixture(scope="module")
def network(console: Console) -> str:
    """The address of a network that the education department put on the list by form, and whose plan it reported."""
    person = console.person("apply.jyt")
    wrong = person.post("/networks", NETWORK | {"links": "x", "yearly_cost_fen": "1.234", "level": "星系"}, status=422)
    assert wrong.text.count("专线条数应为") == 2  # in the summary and at its field
    assert "年运行经费应为" in wrong.text
    assert "覆盖层级应为" in wrong.text
    assert "原则上不得新建业务专网" in person.post("/networks", NETWORK | {"built_on": ""}, status=422).text
    page = person.post("/networks", NETWORK)
    action = next(f["action"] for f in page.all("form") if f.get("action", "").endswith("/step"))
    bare = person.post(action, plan(scope="") | {"dates.connect.due_on": ""}, status=422)
    assert bare.text.count("不能为空") + bare.text.count("必填") + bare.text.count("请填写") >= 2
    assert "待联通" in person.post(action, plan()).text
    return action.removesuffix("/step")


@pytest.fixture
def segment(console: Console, delivered: UUID) -> Iterator[str]:
    """The number of the department's segment while it is on a router and was seen there."""
    sql = "SELECT id, number, prefix FROM broker.resource WHERE request_id = :r AND kind = 'segment'"
    row = console.world.rows(sql, r=delivered)[0]
    with console.world.app.works.begin() as work:
        work.session.add(
            SegmentAttachment(
                id=new_id(), resource_id=row.id, unit="jyt", vrf="shared", router="dc", vni=9_000,
                encapsulation="vxlan", addressing="slaac",
                prefix=str(row.prefix), attached_at=work.now, verified_at=work.now,
            )
        )  # fmt: skip
    yield row.number
    with console.world.app.works.begin() as work:
        service.withdrawn(work, [row.id])


def fall_behind(console: Console, network_id: UUID) -> None:
    """The next step's day passes, its owner is told, then finance."""
    with console.world.app.works.begin() as work:
        given = select(NetworkDate).filter_by(network_id=network_id, position=2)
        old = work.session.scalars(given.order_by(NetworkDate.version.desc())).first()
        assert old is not None
        work.session.add(
            NetworkDate(
                network_id=network_id, position=2, version=old.version + 1, due_on=date.today() - timedelta(days=9),  # noqa: DTZ011
                owner_id=old.owner_id, reason="测试", set_at=work.now,
            )
        )  # fmt: skip
    for days in (0, 5):
        with console.world.app.works.begin() as work:
            stops.come(replace(work, now=work.now + timedelta(days=days)), report_workdays=0)


def test_a_network_that_stays_behind_is_red_for_its_unit_and_on_finances_pages(console: Console, network: str) -> None:
    """Art. 10: the list, the network's page, the page of stopped funds and the budgets say so; a new day lifts it."""
    fall_behind(console, UUID(network.rsplit("/", 1)[1]))
    assert "经费停拨" in console.person("apply.jyt").get("/networks?late=true").text
    finance = console.person("finance")
    for url in ("/funds-stops", "/budgets", "/networks", network):
        page = finance.get(url)
        assert "教育考试专网" in page.text, url
        assert blemishes(page) == [], url
    assert "第十条" in finance.get("/budgets").text
    console.person("apply.jyt").get("/funds-stops", status=403)
    bureau = console.person("approve.1")
    page = bureau.get(network)
    assert tokens_missing(page) == []
    given = {"what": "date", "step": "connect", "due_on": str(datetime.now(UTC).date() + timedelta(days=40))}
    assert "理由" in bureau.post(f"{network}/decision", given, status=422).text
    assert "运营商割接推迟" in bureau.post(f"{network}/decision", given | {"reason": "运营商割接推迟"}).text
    assert "教育考试专网" not in finance.get("/funds-stops").text


def test_the_line_of_time_holds_every_mark_and_shows_lateness(console: Console, network: str) -> None:
    """Nothing lies outside the picture, whatever the days; what was done late or is late has a red end."""
    with console.world.acting("audit") as work:
        found = views.one(work, network.rsplit("/", 1)[1])
    today = datetime.now(UTC).date()
    for moved in (0, 400, 4000):
        picture = draw(found, today + timedelta(days=moved))
        places = [x for lane in picture.lanes for x in (lane.begin, lane.end, lane.due, lane.done) if x is not None]
        assert all(LEFT <= x <= WIDTH - RIGHT for x in [*places, picture.today])
        assert all(lane.begin <= lane.end for lane in picture.lanes)
    late = found.model_copy(update={"late": True})
    kinds = [(lane.kind, lane.over is not None) for lane in draw(late, today + timedelta(days=400)).lanes]
    assert kinds == [("done", False), ("next", True), ("later", False), ("later", False)]


@pytest.mark.browser
def test_a_network_is_taken_to_its_end_in_a_browser(
    console: Console, network: str, segment: str, open_window: object, screenshots: Any
) -> None:
    """Connected by a real segment, linked to the map; migrated; shut down by two people; on a phone as well."""
    opener: Any = open_window
    page = opener("apply.jyt", DESK).go("/networks")
    page.screenshot(path=screenshots / "networks.png", full_page=True)
    fall_behind(console, UUID(network.rsplit("/", 1)[1]))
    finance = opener("finance", DESK).go("/funds-stops")
    expect(finance.get_by_role("link", name="教育考试专网")).to_be_visible()
    finance.screenshot(path=screenshots / "funds-stops.png", full_page=True)
    finance.goto(f"{console.server.url}/budgets")
    finance.screenshot(path=screenshots / "funds-stops-budgets.png", full_page=True)
    page.get_by_role("link", name="教育考试专网").click()
    page.get_by_label("依据").fill("联通测试报告")
    page.get_by_label("网段编号").fill(segment)
    page.screenshot(path=screenshots / "network-step.png", full_page=True)
    page.get_by_role("button", name="报告联通").click()
    expect(page.get_by_text("联通正在核验")).to_be_visible()
    assert Wire().carry(console.world.app.works, "extranet.leak") == 1
    page.reload()
    expect(page.get_by_text("网段在其他网络区可达")).to_be_visible()
    page.get_by_label("依据").fill("联通测试报告")
    page.get_by_label("网段编号").fill(segment)
    page.screenshot(path=screenshots / "network-probed.png", full_page=True)
    page.get_by_role("button", name="报告联通").click()
    expect(page.get_by_text("联通正在核验")).to_be_visible()
    page.screenshot(path=screenshots / "network-probing.png", full_page=True)
    assert Wire().carry(console.world.app.works) == 1
    page.reload()
    expect(page.get_by_text("核验通过")).to_be_visible()
    assert page.get_by_role("link", name="分布图：dc").get_attribute("href") == f"/extranet?router=dc#{segment}"
    page.get_by_label("依据").fill("迁移验收")
    page.get_by_role("button", name="报告迁移完成").click()
    page.get_by_label("处置方式").select_option("merged")
    page.get_by_label("依据").fill("专线退订单")
    page.get_by_role("button", name="报请撤并改").click()
    expect(page.get_by_text("撤并改待确认")).to_be_visible()
    bureau = opener("approve.2", DESK).go(network)
    bureau.get_by_label("意见").fill("现场核查属实")
    bureau.get_by_role("button", name="确认撤并改").click()
    expect(bureau.get_by_text("韦海燕 报请，甘雨桐 确认")).to_be_visible()
    bureau.screenshot(path=screenshots / "network.png", full_page=True)
    bureau.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    bureau.screenshot(path=screenshots / "network-phone.png")
    assert bureau.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
