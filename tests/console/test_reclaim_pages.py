"""Pages of reclaiming: the owner objects, the authority answers, the operator sees the board."""

from __future__ import annotations

from uuid import UUID

import pytest

from broker.reclamation import dates
from tests.console.conftest import todays_form
from tests.console.people import Console, Page
from tests.stories import reclaim, road


@pytest.fixture(scope="module")
def case_id(console: Console) -> UUID:
    """A case over a server of the education department that its owner has been told of."""
    world = console.world
    request_id = road.up_to_order(world, **todays_form(items=reclaim.ITEMS))
    road.walk(world)
    made = reclaim.open_case(world, reclaim.servers(world, request_id)[0].id)
    with world.app.works.begin() as work:
        dates.come(work)
    return made


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


def test_the_board_shows_policies_to_the_offices_only(console: Console) -> None:
    """And everybody on the road sees what was taken back."""
    assert "检测规则" in console.person("deliver.1").get("/reclaim").text
    assert "检测规则" not in console.person("apply.jyt").get("/reclaim").text
    assert "收回情况" in console.person("chief.jyt").get("/reclaim/report").text
