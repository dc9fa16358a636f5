"""The pages of what is scarce, as a browser without scripts sees them: quota, addresses, a cloud's totals."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from broker.inventory.repository import system_id_of
from broker.scarcity import by_hand, claims
from quotas import service as quotas
from quotas.values import Line, ResourceClass
from tests.console.people import Console


def test_an_operator_decides_about_a_total_that_differs(console: Console) -> None:
    """Seen on the region's page and the cloud's; without a reason refused on the page; accepted, it is gone."""
    world = console.world
    with world.app.works.begin() as work:
        rst = work.session.scalar(text("SELECT id FROM broker.sub_cloud WHERE code = 'rst'"))
        quotas.set_inventory(work.session, rst, ResourceClass.BLOCK_GIB_SSD, total=100_000, reserved=1000)
    operator = console.person("deliver.rst")
    assert "1 项与云平台报告不一致" in operator.get("/region").text
    page = operator.get("/region/rst/capacity")
    assert "总量不一致" in page.text
    fields = {"resource_class": "block_gib_ssd", "seen": page.value("seen"), "choice": "accept"}
    assert "请填写理由" in operator.post("/region/rst/capacity", fields, status=422).text
    assert "采用云平台的数值" not in console.person("audit").get("/region/rst/capacity").text
    assert "已采用云平台报告的总量" in operator.post("/region/rst/capacity", fields | {"reason": "已验收"}).text
    assert "不一致" not in operator.get("/region").text
    console.person("apply.jyt").get("/region/rst/capacity", status=403)


def test_an_applicant_sees_the_quota_of_the_unit_and_its_blocks(console: Console) -> None:
    """Before anything is asked for: limits and use by class, the units below, the unit's own addresses."""
    applicant = console.person("apply.jyt")
    page = applicant.get("/quota")
    assert "自治区教育厅" in page.text
    assert any("处理器" in attrs.get("aria-label", "") for attrs in page.all("svg"))
    assert "/quota?unit=jyt-zsksy" in page.links
    assert "没有这个单位" in applicant.get("/quota?unit=rst", status=404).text
    page = applicant.get("/ipv6")
    assert "3fff:122::/32" in page.text
    cells = [link for link in page.links if link.startswith("/ipv6?pool=")]
    assert cells
    assert applicant.get("/ipv6?pool=00000000-0000-7000-8000-000000000000", status=404)
    assert applicant.get("/ipv6?at=nowhere", status=422)


def test_a_form_that_does_not_fit_says_whose_limit_binds(console: Console) -> None:
    """As the numbers change: the class, the unit, the limit, what is used and what is missing."""
    applicant = console.person("apply.jyt")
    page = applicant.get("/requests/new")
    fields = {attrs["name"]: attrs.get("value", "") for attrs in page.all("input") if "name" in attrs}
    fields |= {"unit": "jyt", "items[1].kind": "server", "items[1].count": "200", "items[1].vcpu": "256"}
    fields |= {"items[1].cpu_arch": "x86_64", "items[1].memory_gib": "8", "items[1].zone": "shared"}
    text_ = applicant.post("/requests/check", fields).text
    assert "自治区教育厅的处理器（核）限额为 2,400" in text_
    assert "按当前数量无法预留" in text_


def test_a_system_with_a_node_of_its_own_is_shown_and_its_limit_decides(console: Console) -> None:
    """On the unit's quota page; and in a form for it: the system's name, and the limit that is in the way."""
    world, applicant = console.world, console.person("apply.jyt")
    assert "单设节点的信息系统" not in applicant.get("/quota?unit=jyt").text
    with world.app.works.begin() as work:
        system = system_id_of(work.session, "jyt-xjgl")
        by_hand.give_node(work, by_hand.Hand(), system)
        quotas.set_limit(work.session, system, ResourceClass.VCPU, None, 6)
    page = applicant.get("/quota?unit=jyt")
    assert "单设节点的信息系统" in page.text
    fields = {"unit": "jyt", "system": "jyt-xjgl", "items[1].kind": "server", "items[1].count": "2"}
    fields |= {
        "items[1].vcpu": "4",
        "items[1].cpu_arch": "x86_64",
        "items[1].memory_gib": "8",
        "items[1].zone": "shared",
    }
    form = applicant.get("/requests/new")
    given = {attrs["name"]: attrs.get("value", "") for attrs in form.all("input") if "name" in attrs}
    text_ = applicant.post("/requests/check", given | fields).text
    with world.app.works.begin() as work:
        quotas.set_limit(work.session, system, ResourceClass.VCPU, None, None)
    assert "信息系统配额" in text_
    assert "的处理器（核）限额为 6" in text_


def test_what_is_to_be_given_back_is_on_the_page_of_borrower_and_lender(console: Console) -> None:
    """Who, to whom, of what and how much; nobody else sees it."""
    world, kind = console.world, ResourceClass.GPU
    with world.app.works.begin() as work:
        unit = {row.code: row.id for row in work.session.execute(text("SELECT code, id FROM broker.unit"))}
        cloud = work.session.scalars(text("SELECT id FROM broker.sub_cloud WHERE code = 'main'")).one()
        quotas.alone(work.session)
        quotas.set_inventory(work.session, cloud, kind, total=100)
        for code, amount, borrowing in (("450000", 20, 0), ("jyt", 10, 0), ("rst", 10, None)):
            quotas.set_limit(work.session, unit[code], kind, None, amount, borrowing=borrowing)
        asked = {"owner": unit["rst"], "lines": [Line(kind, 20, cloud)], "expires_at": work.now + timedelta(days=1)}
        held = quotas.hold(work.session, node=unit["rst"], **asked)
        claims.for_refused(work, owner=unit["jyt"], node=unit["jyt"], lines=[Line(kind, 4, cloud)])
    for who in ("apply.jyt", "apply.rst"):
        assert "待归还的借用" in console.person(who).get("/quota").text
    assert "待归还的借用" not in console.person("apply.liuzhou").get("/quota").text
    with world.app.works.begin() as work:
        quotas.alone(work.session)
        quotas.void(work.session, held)
        for code in ("450000", "jyt", "rst"):
            quotas.set_limit(work.session, unit[code], kind, None, None)
        claims.look(work)
    assert "待归还的借用" not in console.person("apply.jyt").get("/quota").text


def test_the_bureau_looks_at_a_move_and_gives_a_system_a_node(console: Console) -> None:
    """From the limits page: what is missing is said, a move is looked at, refused, and a system gets its node."""
    bureau = console.person("approve.1")
    assert "/quota/nodes?node=jyt-zsksy" in bureau.get("/quota/limits?node=jyt-zsksy").links
    url = "/quota/nodes?node=jyt-zsksy"
    page = bureau.get(url)
    codes = [attrs["value"] for attrs in page.all("option")]
    assert codes
    looked = bureau.post(url, {"below": "rst", "action": "look"}).text
    assert ("尚未移动" in looked, "没有限额因此超过" in looked) == (True, True)
    assert "请填写理由" in bureau.post(url, {"below": "rst", "action": "move"}, status=422).text
    inside = {"below": "jyt-zsksy", "reason": "划转", "action": "move"}
    assert "不能移到自身" in bureau.post(url, inside, status=409).text
    given = {"system": codes[0], "give_reason": "核定", "action": "give"}
    assert "已单设节点" in bureau.post(url, given).text
    assert codes[0] not in [attrs["value"] for attrs in bureau.get(url).all("option")]


def test_the_bureau_previews_and_sets_a_limit(console: Console) -> None:
    """From the quota page: the rows as they are, what would happen, the reason that is missing, and it is done."""
    assert "设置限额" not in console.person("apply.jyt").get("/quota").text
    bureau = console.person("approve.1")
    assert "/quota/limits?node=jyt" in bureau.get("/quota?unit=jyt").links
    page = bureau.get("/quota/limits?node=jyt")
    fields = {attrs["name"]: attrs.get("value", "") for attrs in page.all("input") if "name" in attrs}
    rows = {int(name.removeprefix("limit.")) for name in fields if name.startswith("limit.")}
    blank = max(rows)
    fields |= {f"kind.{n}": "" for n in rows} | {f"cloud.{n}": "" for n in rows}
    fields |= {f"kind.{blank}": "gpu", f"limit.{blank}": "1,0000", f"borrowing.{blank}": "不限"}
    fields |= {f"lending.{blank}": "两块", "action": "look"}
    url = "/quota/limits?node=jyt"
    assert "第 1 行：数量应为" in bureau.post(url, fields, status=422).text
    fields |= {f"lending.{blank}": "不限"}
    assert "尚未设置" in bureau.post(url, fields).text
    fields |= {"action": "apply"}
    assert "请填写理由" in bureau.post(url, fields, status=422).text
    assert "限额已设置" in bureau.post(url, fields | {"reason": "统筹"}).text
    page = bureau.get(url)
    assert "10000" in {attrs.get("value", "") for attrs in page.all("input")}
    fields |= {f"limit.{blank}": "不限", f"borrowing.{blank}": "0", "reason": "恢复", "seen": page.value("seen")}
    assert "限额已设置" in bureau.post(url, fields).text
