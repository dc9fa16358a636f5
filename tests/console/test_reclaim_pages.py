"""Pages of reclaiming: the owner objects, the authority answers, the operator sees the board."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from broker.reclamation import cases
from broker.utilisation import findings, looking, policy_words
from broker.utilisation.findings import Day, Evidence, FindingKind, Seen
from broker.utilisation.service import policies_of
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.console.conftest import todays_form
from tests.console.people import Console, Page
from tests.stories import reclaim, road


@pytest.fixture(scope="module")
def servers(console: Console) -> list[UUID]:
    """Two servers of the education department."""
    request_id = road.up_to_order(console.world, **todays_form(items=reclaim.ITEMS))
    road.walk(console.world)
    return [server.id for server in reclaim.servers(console.world, request_id)]


@pytest.fixture(scope="module")
def case_id(console: Console, servers: list[UUID]) -> UUID:
    """A case over the first of them that its owner has been told of."""
    made = reclaim.open_case(console.world, servers[0])
    reclaim.days_come(console.world)
    return made


@pytest.fixture
def finding(console: Console, servers: list[UUID]) -> Iterator[UUID]:
    """Detection has found the second off for forty days."""
    with console.world.app.works.begin() as work:
        day = work.now.astimezone(looking.ZONE).date()
        first, why = day - timedelta(days=39), (Evidence("seen.stopped", {}),)
        seen = Seen(servers[1], FindingKind.OFF, "off-server", "", first, day, 40, why, 12300, ripe=True)
        policies = policies_of(console.world.app.settings)
        findings.record(work, Day(day, policies.version, policy_words.digests(policies)), [seen], {}, {})
        (made,) = findings.current(work.session, resources=[servers[1]])
    yield made.id
    with console.world.app.sessions.begin() as session:
        over = "UPDATE broker.idle_finding SET cleared_at = now(), cleared_because = 'gone' WHERE id = :id"
        session.execute(text(over), {"id": made.id})


def actions(page: Page) -> set[str]:
    """Where the forms of a case's page lead."""
    return {f["action"].rsplit("/", 1)[1] for f in page.all("form") if "/reclaim/" in f.get("action", "")}


def test_a_case_is_heard_on_its_pages(console: Console, case_id: UUID) -> None:
    """From the notice to the withdrawal; what a person may not do is not offered, and refused with a sentence."""
    unit, bureau, operator = (console.person(who) for who in ("apply.jyt", "approve.jyt", "deliver.jyt"))
    url = f"/reclaim/{case_id}"
    assert url in unit.get("/notices").links
    assert url in unit.get("/reclaim").links
    assert actions(unit.get(url)) == {"objection"}
    assert "请填写理由" in unit.post(f"{url}/objection", {"reason": ""}, status=422).text
    assert "异议待答复" in unit.post(f"{url}/objection", {"reason": "月底集中使用"}).text
    assert actions(bureau.get(url)) == {"answer", "end"}
    fields = {"decision": "accept", "reason": "好"}
    assert "接受异议应写明至哪一天" in bureau.post(f"{url}/answer", fields, status=422).text
    answered = bureau.post(f"{url}/answer", {"decision": "extend", "workdays": "5", "reason": "再核实"})
    assert "异议期内" in answered.text
    assert actions(operator.get(url)) == {"end"}
    assert "已撤销" in operator.post(f"{url}/end", {"what": "withdraw", "reason": "重新评估"}).text
    assert url not in operator.get("/reclaim").links
    assert url in operator.get("/reclaim?closed=true").links
    console.person("apply.wjw").get(url, status=404)


def test_a_case_says_why_on_its_page(console: Console, servers: list[UUID]) -> None:
    """What was measured, by which policy, since when, and the picture: for whom it is to answer."""
    why = {"first_day": "2026-01-01", "last_day": "2026-02-09", "days": 40, "kind": "off", "monthly_fen": 12300}
    why |= {"evidence": [{"code": "seen.stopped", "params": {}}]}
    rule = {"name": "off-server", "title": "已关机仍计费", "days": 15, "basis": "ours"}
    made = reclaim.open_case(console.world, servers[0], evidence=why, policy_content=rule)
    page = console.person("apply.jyt").get(f"/reclaim/{made}")
    for words in (
        "自 2026-01-01 起连续 40 天",
        "主机已关机，仍在计费",
        "“已关机仍计费”：连续 15 天",
        "123.00 元",
        "自定规则",
    ):
        assert words in page.text
    assert f"/resources/{servers[0]}" in page.links
    with console.world.acting("deliver.jyt") as work:
        cases.withdraw(work, made, reason="看过")


def test_a_finding_becomes_a_case_and_both_pages_say_so(console: Console, servers: list[UUID], finding: UUID) -> None:
    """Opened from what was found, by whoever may; stalled, on the operator's first page; marked while it is stopped."""
    world, resource, new = console.world, f"/resources/{servers[1]}", f"/reclaim/new?finding={finding}"
    unit, operator = console.person("apply.jyt"), console.person("deliver.jyt")
    assert new in operator.get("/idle?kind=off").links
    assert new in operator.get(resource).links
    assert new not in unit.get("/idle?kind=off").links + unit.get(resource).links
    other = f"/reclaim/new?resource={servers[0]}"
    assert other in operator.get(f"/resources/{servers[0]}").links, "nothing was found: a person's own reason"
    assert operator.get(other).value("resource") == str(servers[0])
    unnamed = {"resource": str(servers[0]), "reason": ""}
    assert "请填写理由" in operator.post("/reclaim", unnamed, status=422).text
    operator.post("/reclaim", {"reason": "没有指明资源"}, status=404)
    unit.get(new, status=403)
    console.person("deliver.1").get(new, status=404)
    page = operator.get(new)
    assert page.value("finding") == str(finding)
    assert "关机仍计费：自" in page.text
    assert "云硬盘" in page.text, "the disk that comes along"
    fields = {"finding": str(finding), "reason": ""}
    assert "请填写理由" in operator.post("/reclaim", fields, status=422).text
    operator.post("/reclaim", fields | {"reason": "长期关机"})
    (case,) = world.rows("SELECT id, number, cause FROM broker.reclaim_case WHERE finding_id = :f", f=finding)
    url = f"/reclaim/{case.id}"
    assert (
        case.cause,
        [f["case_number"] for f in operator.client.get("/api/v1/findings?kind=off").json()["data"]],
    ) == ("idle", [case.number])
    assert case.number in operator.post("/reclaim", fields | {"reason": "再一次"}, status=409).text
    for page in (operator.get("/idle?kind=off"), operator.get(resource), unit.get(resource)):
        assert "已列入回收" in page.text
        assert url in page.links
        assert new not in page.links

    reclaim.days_come(world)
    with world.app.sessions.begin() as session:
        over = "UPDATE broker.reclaim_case SET noticed_at = :then, due_at = :then WHERE id = :id"
        session.execute(text(over), {"id": case.id, "then": world.clock.now - timedelta(minutes=1)})
    faults.inject(world.clouds_url, Fault("jyt", "power", Kind.SERVER, Mode.REFUSE))
    reclaim.days_come(world)
    road.walk(world)
    desk = f'<a class="num" href="{url}">{case.number}</a><span>资源回收，<b>停止云服务器</b>'
    assert desk in operator.get("/").text
    assert desk not in console.person("deliver.1").get("/").text
    operator.post(f"{url}/operate", {"what": "retry"})
    road.walk(world)
    assert reclaim.state(world, case.id) == "suspended"
    assert desk not in operator.get("/").text
    for page in (operator.get("/idle?kind=off"), operator.get(resource), unit.get(resource)):
        assert '<span class="badge bg-orange-lt">已停用</span>，见回收事项' in page.text

    operator.post(f"{url}/end", {"what": "resume", "reason": "业务恢复"})
    road.walk(world)
    assert reclaim.state(world, case.id) == "dropped"
    page = operator.get(resource)
    assert url in page.links, "a past case stays in sight"
    assert "见回收事项" not in page.text
    assert new in page.links


def test_a_case_links_to_what_its_reader_may_see(console: Console, case_id: UUID, servers: list[UUID]) -> None:
    """The unit's people come to the resource; whoever only answers for the cloud is not led to a page that is none."""
    page = f"/resources/{servers[0]}"
    assert page in console.person("apply.jyt").get(f"/reclaim/{case_id}").links
    answers = console.person("approve.jyt")
    answers.get(page, status=404)
    assert page not in answers.get(f"/reclaim/{case_id}").links


def test_the_board_shows_policies_to_the_offices_only(console: Console) -> None:
    """And everybody on the road sees what was taken back."""
    assert "检测规则" in console.person("deliver.1").get("/reclaim").text
    assert "检测规则" not in console.person("apply.jyt").get("/reclaim").text
    assert "收回情况" in console.person("chief.jyt").get("/reclaim/report").text
