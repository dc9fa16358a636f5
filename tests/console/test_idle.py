"""The pages of what is idle: findings with their reasons and money, a resource with its days, units on clouds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock, patch
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser
from sqlalchemy import text

from broker.errors import Invalid, Problem
from broker.reclamation import policies as policies_of_reclaiming
from broker.utilisation import detection, pictures, service
from broker.utilisation.bucket import StoreDown
from broker.utilisation.collectors import Bench
from tests.broker.utilisation.files import hours, row, write_csv
from tests.console.people import Console
from tests.console.test_browser import PATIENCE_MS
from tests.stories import road

ZONE = ZoneInfo("Asia/Shanghai")


@pytest.fixture(scope="module")
def idle(console: Console, delivered: UUID, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Two servers delivered long ago: one busy for a month and then idle for forty days, one far too large.

    By name: resource ids.
    """
    world = console.world
    now = datetime.now(UTC)
    with world.app.sessions.begin() as session:
        past = text(
            "UPDATE broker.resource_period p SET during = tstzrange(:past, upper(during)) FROM broker.resource r"
            " WHERE r.id = p.resource_id AND r.request_id = :r"
        )
        session.execute(past, {"past": now - timedelta(days=100), "r": delivered})
    servers = world.rows(
        "SELECT id, number FROM broker.resource WHERE request_id = :r AND kind = 'server' ORDER BY id", r=delivered
    )
    first, second = servers[0], servers[1]
    midnight = now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    size = {"vcpu": "4", "mem_gib": "8"}
    worked, lately = hours(midnight - timedelta(days=75), 24 * 35), hours(midnight - timedelta(days=40), 24 * 40)
    busy = {"mem_used_gib": "3", "net_kbps": "300", **size}
    rows = []
    for at in worked:  # a working week's rhythm
        load = (8 if at.astimezone(ZONE).weekday() > 4 else 25) + at.hour + at.day * 7 % 12
        rows.append(row(first.number, at, cpu_avg_pct=f"{load}", cpu_max_pct=f"{load + 20 + at.day * 5 % 9}", **busy))
    for at in lately:
        still = f"{1 + at.day % 5 / 5 + at.hour / 50:.2f}"
        rows.append(row(first.number, at, cpu_avg_pct=still, mem_used_gib=f"{1.1 + at.day % 3 / 20}", **size))
    little = {"cpu_avg_pct": "18", "cpu_max_pct": "22", "net_kbps": "90", "mem_used_gib": "1.5", **size}
    rows += [row(second.number, at, **little) for at in lately]
    folder = tmp_path_factory.mktemp("samples")
    service.import_file(world.app.settings, write_csv(folder / "m.csv", rows), now)
    world.clock.now = now
    with world.app.works.begin() as work:
        errand = detection.today(work)
    assert detection.detect(Bench(world.app.works, world.app.settings, world.app.providers), errand)
    yield {"idle": str(first.id), "large": str(second.id), "number": first.number}
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.idle_finding SET cleared_at = now(), cleared_because = 'gone'"))


def test_findings_are_listed_with_reason_days_and_money(console: Console, idle: dict[str, str]) -> None:
    """For the operator: what, whose, since when, by which rule, and what it costs; the filter keeps what it says."""
    operator = console.person("deliver.jyt")
    page = operator.get("/idle")
    assert idle["number"] in page.text
    assert "CPU 平均利用率日均低于 5%" in page.text
    assert "长期闲置的云服务器" in page.text
    assert "自定规则" in page.text
    assert "云硬盘未挂载" in page.text
    assert f"/resources/{idle['idle']}" in page.links
    assert idle["number"] not in operator.get("/idle?kind=unattached_volume").text
    assert "没有闲置的资源" in operator.get("/idle?cloud=gat").text
    assert page.scripts == []


def test_who_may_not_see_a_resource_does_not_see_its_findings(console: Console, idle: dict[str, str]) -> None:
    """Another unit's people get an empty list and no page; the menu does not offer what is not theirs."""
    stranger = console.person("apply.gat") if _known(console, "apply.gat") else console.person("deliver.rst")
    assert idle["number"] not in stranger.get("/idle").text
    stranger.get(f"/resources/{idle['idle']}", status=404)
    assert idle["number"] in console.person("apply.jyt").get("/idle").text
    console.person("apply.jyt").get("/idle/heat", status=403)
    for reader in ("apply.jyt", "cloud.operator", "deliver.jyt"):
        assert "/idle" in console.person(reader).get("/").links, "who may read the page finds the way to it"


def _known(console: Console, login: str) -> bool:
    return bool(console.world.scalar("SELECT count(*) FROM broker.account WHERE login = :l", l=login))


def test_a_resource_shows_its_days_with_the_run_marked(console: Console, idle: dict[str, str]) -> None:
    """The picture is drawn on the server; its numbers stand in a table as well."""
    page = console.person("deliver.jyt").get(f"/resources/{idle['idle']}")
    assert [attrs["class"] for attrs in page.all("rect")].count("run") == 1
    assert len(page.all("path")) == 3
    assert any("闲置" in attrs.get("class", "") or "run" in attrs.get("class", "") for attrs in page.all("rect"))
    assert "40 天" in page.text
    assert "没有更小的规格" not in console.person("deliver.jyt").get(f"/resources/{idle['large']}").text
    assert page.scripts == []


def test_a_resource_is_shown_when_its_samples_cannot_be_read(
    console: Console, idle: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket does not answer: everything else of the page stands, and it says why the picture does not."""
    down = StoreDown("store.unreachable")
    monkeypatch.setattr(pictures, "days", Mock(side_effect=down))
    page = console.person("deliver.jyt").get(f"/resources/{idle['idle']}")
    assert "无法连接存放监测数据的对象存储" in page.text
    assert idle["number"] in page.text


def test_a_server_that_is_too_large_gets_a_smaller_size_proposed(console: Console, idle: dict[str, str]) -> None:
    """From what to what, what it saves, what may go wrong, and by which figures."""
    page = console.person("deliver.jyt").get(f"/resources/{idle['large']}")
    assert "4 核 8 GiB → 2 核 2 GiB" in page.text
    answer = console.person("deliver.jyt").client.get(f"/api/v1/resources/{idle['large']}/sizing").json()
    assert (answer["to_vcpu"], answer["risks"]) == (2, ["low"])
    assert "每月节省" in page.text
    assert "低：测得的最高负荷在新规格下也够用" in page.text


def test_an_assessment_of_the_same_system_shows_what_is_too_large(
    console: Console, idle: dict[str, str], submitted: UUID
) -> None:
    """Before more is given, what there is and hardly used is in view."""
    road.approve(console.world, submitted)
    page = console.person("assess.jyt").get(f"/requests/{submitted}/assessment")
    assert "同一信息系统在用的主机" in page.text
    assert "4 核 8 GiB → 2 核 2 GiB" in page.text
    answer = console.person("assess.jyt").client.get(f"/api/v1/requests/{submitted}/sizing").json()
    assert idle["large"] in {each["resource_id"] for each in answer}


def test_the_heat_map_shows_units_on_clouds(console: Console, idle: dict[str, str]) -> None:
    """A cell for the education department's cloud, with its number, its words and a table."""
    page = console.person("deliver.jyt").get("/idle/heat")
    assert any("自治区教育厅" in attrs.get("aria-label", "") for attrs in page.all("g"))
    assert "没有监测" not in page.text
    assert "内存利用率" in console.person("audit").get("/idle/heat?of=memory").text


def test_a_policy_is_tried_before_it_is_switched_on(console: Console, idle: dict[str, str]) -> None:
    """What it asks, a dry run in a table and a picture of the shares, then on by name and hour, and off at once."""
    center, other = console.person("deliver.1"), console.person("deliver.jyt")
    url = "/reclaim/policies/idle-server"
    listed = center.get("/reclaim/policies")
    assert url in listed.links
    assert "CPU 平均利用率日均低于 5%，且 CPU 峰值利用率日 95 分位低于 20%，且 网络流量日均低于 10" in listed.text
    assert "现有内容还没有试运行" in center.get(url).text
    assert "请重新试运行后再启用" in center.post(f"{url}/on", {}, status=409).text
    tried = center.post(f"{url}/dry-run", {})
    assert idle["number"] in tried.text
    assert any("至多同时停用" in attrs.get("aria-label", "") for attrs in tried.all("g"))
    run_id = tried.value("dry_run")
    assert "已看过试运行" not in other.get(url).text, "who delivers for another cloud only looks"
    other.post(f"{url}/on", {"dry_run": run_id}, status=403)
    console.person("apply.jyt").get("/reclaim/policies", status=403)
    on = center.post(f"{url}/on", {"dry_run": run_id})
    assert 'class="badge bg-green-lt">启用' in on.text
    versions = center.client.get("/api/v1/reclaim-policies/idle-server/versions").json()
    assert [(v["dry_runs"], v["dry_run_id"], v["switched_off_by"]) for v in versions] == [(1, run_id, None)]
    with patch.object(policies_of_reclaiming, "standings", side_effect=Invalid([Problem("policy.shape", "policies")])):
        broken = center.get("/reclaim/policies")
    assert "规则文件不能读取" in broken.text
    assert "长期闲置的云服务器" in broken.text, "what is on can be switched off all the same"
    center.post(f"{url}/off", {})
    assert "立即停用" not in center.get(url).text
    [version] = center.client.get("/api/v1/reclaim-policies/idle-server/versions").json()
    assert version["switched_off_by"] == version["switched_on_by"]


@pytest.mark.browser
def test_the_pages_stand_in_a_browser(
    console: Console, idle: dict[str, str], chromium: Browser, screenshots: Path
) -> None:
    """Nothing is refused by the content policy; nothing is wider than the screen."""
    policies = {"policies": "/reclaim/policies", "policy": "/reclaim/policies/idle-server"}
    own = {"idle": "/idle", "resource": f"/resources/{idle['idle']}", "heat": "/idle/heat"}
    pages = (("deliver.jyt", own | {"sizing": f"/resources/{idle['large']}", "reclaim": "/reclaim"}),
             ("deliver.1", policies))  # fmt: skip
    complaints: list[str] = []
    for login, urls in pages:
        cookies = console.person(login).client.cookies
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="zh-CN")
        context.add_cookies([{"name": c.name, "value": c.value or "", "url": console.server.url} for c in cookies.jar])
        seen = context.new_page()
        seen.set_default_timeout(PATIENCE_MS)
        seen.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        for name, url in urls.items():
            seen.goto(console.server.url + url)
            for width, suffix in ((1280, ""), (390, "-narrow")):
                seen.set_viewport_size({"width": width, "height": 900})
                seen.screenshot(path=screenshots / f"{name}{suffix}.png", full_page=True)
                assert seen.evaluate("document.documentElement.scrollWidth") <= width, url
            seen.set_viewport_size({"width": 1280, "height": 900})
        context.close()
    assert complaints == []
