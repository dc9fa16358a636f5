"""The applicant's form and the authorities' actions, as a browser without scripts sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from broker.approval import service as approval
from broker.approval.service import Decision
from broker.pricing.months import Month
from broker.request import service as requests
from tests.console.conftest import todays_form
from tests.console.people import Browser, Console, Page
from tests.stories import road


def flat(value: Any, path: str = "") -> dict[str, str]:
    """A form's JSON as the fields of an HTML form."""
    if isinstance(value, Mapping):
        out: dict[str, str] = {}
        for key, inner in value.items():
            out |= flat(inner, f"{path}.{key}" if path else str(key))
        return out
    if isinstance(value, list):
        out = {}
        for n, inner in enumerate(value):
            out |= flat(inner, f"{path}[{n}]")
        return out
    return {path: {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)}


def applicant(console: Console) -> Browser:
    return console.person("apply.jyt")


def requests_of_jyt(console: Console) -> int:
    return int(console.world.scalar("SELECT count(*) FROM broker.service_request"))


def test_adding_and_removing_items_keeps_what_was_typed(console: Console) -> None:
    """Also text that is not valid yet stays where it was."""
    fields = flat(todays_form(purpose="x")) | {"items[1].vcpu": "四", "action": "add:volume"}
    page = applicant(console).post("/requests/form", fields)
    assert page.value("items[1].vcpu") == "四"
    assert page.value("items[3].kind") == "volume"
    assert ">x</textarea>" in page.text
    fewer = applicant(console).post("/requests/form", flat(todays_form()) | {"action": "remove:0"})
    assert fewer.value("items[0].kind") == "server"
    assert fewer.value("items[0].name") == "web"
    disks = applicant(console).post("/requests/form", flat(todays_form()) | {"action": "add-disk:1"})
    assert disks.value("items[1].data_disks[1].size_gib") == "100"


def test_a_segments_services_are_one_field(console: Console) -> None:
    """With commas or spaces between them; what is not one, or opens a port twice, is said at the field."""
    services = {"items[0].services": "tcp/443，udp/53@3fff:122::/32"}
    page = applicant(console).post("/requests/form", flat(todays_form()) | services | {"action": "add:volume"})
    assert page.value("items[0].services") == "tcp/443 udp/53@3fff:122::/32"
    assert "可以提交" in applicant(console).post("/requests/check", flat(todays_form()) | services).text
    malformed = "tcp/0", "tcp/443@3fff::1/32", "tcp/443@3fff:0122::/32", "tcp/443@::ffff:0:0/96", "icmp/1"
    for wrong in (*malformed, "tcp/443 tcp/443@3fff:122::/32"):
        refused = applicant(console).post("/requests/check", flat(todays_form()) | {"items[0].services": wrong})
        assert "#f-items-0-services" in refused.links, wrong


def test_checks_show_every_problem_with_its_article_the_quote_and_what_is_left(console: Console) -> None:
    """All at once, each with a link to its field."""
    fields = flat(todays_form(classified=True, purpose="x", system="nobody")) | {"items[1].vcpu": "0"}
    page = applicant(console).post("/requests/check", fields)
    for sentence in ("涉密系统不得部署", "没有登记这个信息系统", "数值应在 1 至 256 之间", "第二条第（三）项"):
        assert sentence in page.text
    assert {"#f-classified", "#f-purpose", "#f-system", "#f-items-1-vcpu"} <= set(page.links)
    good = applicant(console).post("/requests/check", flat(todays_form()))
    assert "可以提交" in good.text
    assert "元/月" in good.text
    assert "单位配额" in good.text


def test_a_form_with_problems_is_not_submitted_and_its_summary_leads_to_the_fields(console: Console) -> None:
    """422, nothing written, every link of the summary points at a field of the page."""
    before = requests_of_jyt(console)
    fields = flat(todays_form(end_date="2020-01-01", funding_source="")) | {"action": "submit"}
    page = applicant(console).post("/requests", fields, status=422)
    assert "共有 2 处需要修改" in page.text
    targets = [link[1:] for link in page.links if link.startswith("#f-")]
    assert targets
    assert set(targets) <= set(page.ids)
    assert page.value("document_number") == todays_form()["document_number"]
    assert requests_of_jyt(console) == before


def test_a_draft_is_kept_with_its_contact_and_submitted_later(console: Console) -> None:
    """What was typed comes back, also what is not complete."""
    draft = todays_form()
    fields = flat(draft | {"funding_source": ""}) | {"action": "save"}
    page = applicant(console).post("/requests", fields)
    assert "草稿已保存" in page.text
    assert page.value("contact.name") == "韦海燕"
    ids = {"request_id": page.value("request_id"), "version": page.value("version")}
    done = applicant(console).post("/requests", flat(draft) | ids | {"action": "submit"})
    assert "申请已提交" in done.text
    assert "待审批" in done.text


def test_an_older_version_of_a_draft_does_not_overwrite_a_newer_one(console: Console) -> None:
    """412 with a clear sentence, what was typed kept, and the way to the current state."""
    fields = flat(todays_form()) | {"action": "save"}
    page = applicant(console).post("/requests", fields)
    ids = {"request_id": page.value("request_id"), "version": page.value("version")}
    applicant(console).post("/requests", fields | ids | {"purpose": "别人刚刚改过的用途"})
    mine = applicant(console).post("/requests", fields | ids | {"purpose": "我的用途说明"}, status=412)
    assert "内容已被他人更新" in mine.text
    assert "我的用途说明" in mine.text
    assert f"/requests/{ids['request_id']}" in mine.links
    stored = console.world.request(UUID(ids["request_id"]))
    assert stored.purpose == "别人刚刚改过的用途"


def decision_page(console: Console, request_id: UUID) -> Page:
    return console.person("approve.jyt").get(f"/requests/{request_id}/decision")


def test_a_decision_page_shows_what_is_left_and_who_else_waits(console: Console, submitted: UUID) -> None:
    """Quota beside what is asked, and the other requests on the desk."""
    other = road.submit(console.world, **todays_form())
    page = decision_page(console, submitted)
    assert "批准后" in page.text
    assert console.world.request(other).number in page.text


def test_a_return_needs_a_reason_and_shows_it_to_the_applicant(console: Console, submitted: UUID) -> None:
    """Returned, corrected and submitted again as the second revision (Art. 17(1))."""
    approver, url = console.person("approve.jyt"), f"/requests/{submitted}/decision"
    fields = {"revision_id": decision_page(console, submitted).value("revision_id"), "decision": "return"}
    assert "请填写理由" in approver.post(url, fields, status=422).text
    approver.post(url, fields | {"reason": "请补充并发量测算"})
    edit = applicant(console).get(f"/requests/{submitted}/edit")
    assert "请补充并发量测算" in edit.text
    ids = {"request_id": str(submitted), "version": edit.value("version"), "action": "submit"}
    again = applicant(console).post("/requests", flat(todays_form(purpose="已补充并发量测算")) | ids)
    assert "第 2 版" in again.text
    assert "历次提交" in again.text


def test_a_decision_on_an_older_revision_is_refused_and_the_current_one_shown(
    console: Console, submitted: UUID
) -> None:
    """409 with the sentence and the state as it is."""
    old = decision_page(console, submitted).value("revision_id")
    road_decide(console, submitted, Decision.RETURN)
    with console.world.acting("apply.jyt") as work:
        requests.submit(work, todays_form(purpose="补正后的用途"), request_id=submitted)
    fields = {"revision_id": old, "decision": "approve"}
    page = console.person("approve.jyt").post(f"/requests/{submitted}/decision", fields, status=409)
    assert "申请内容已有新的版本" in page.text
    assert "补正后的用途" in page.text
    assert console.world.request(submitted).state == "submitted"


def road_decide(console: Console, request_id: UUID, decision: Decision) -> None:
    with console.world.acting("approve.jyt") as work:
        revision = console.world.request(request_id).revision_id
        assert revision is not None
        approval.decide(work, request_id, decision, revision_id=revision, reason="请补正")


def test_an_action_that_came_too_late_shows_the_request_as_it_is(console: Console, submitted: UUID) -> None:
    """Withdrawn twice: the second time 409 and the current state."""
    version = str(console.world.request(submitted).version)
    fields = {"version": version, "reason": ""}
    applicant(console).post(f"/requests/{submitted}/withdraw", fields)
    page = applicant(console).post(f"/requests/{submitted}/withdraw", fields, status=412)
    assert "内容已被他人更新" in page.text
    assert "已撤回" in page.text


def test_buttons_are_only_those_the_actor_may_use_now(console: Console, submitted: UUID) -> None:
    """The approver may decide, the applicant withdraw; nobody may deliver yet; audit looks only."""
    url = f"/requests/{submitted}"
    assert f"{url}/decision" in console.person("approve.jyt").get(url).links
    own = applicant(console).get(url)
    assert f"{url}/decision" not in own.links
    assert f"{url}/withdraw" in own.text
    assert "可办理事项" not in console.person("audit").get(url).text
    road.approve(console.world, submitted)
    assert f"{url}/assessment" in console.person("assess.jyt").get(url).links
    assert "下达交付" not in console.person("approve.jyt").get(url).text


def test_the_assessor_tries_changes_on_and_confirms_what_was_shown(console: Console, submitted: UUID) -> None:
    """Sizes and cost change on trial without being written; the confirmed placement says that they were changed."""
    road.approve(console.world, submitted)
    assessor, url = console.person("assess.jyt"), f"/requests/{submitted}/assessment"
    page = assessor.get(url)
    assert "自定规则" in page.text
    fields = {"revision_id": page.value("revision_id"), "size.1.vcpu": "8"}
    trial = assessor.post(f"{url}/trial", fields)
    assert "申请 4" in trial.text
    assert console.world.request(submitted).state == "approved"
    refused = assessor.post(f"{url}/trial", fields | {"size.1.vcpu": "0"})
    assert "不能调整为这一规格" in refused.text
    done = assessor.post(url, fields | {"action": "confirm"})
    assert "评估人调整" in done.text
    assert "待交付" in done.text


def test_the_key_is_shown_once_to_the_applicant(console: Console) -> None:
    """Once, without being kept by the browser; the second time there is no button and no key."""
    request_id = road.up_to_order(console.world, **todays_form())
    road.walk(console.world)
    page = applicant(console).get(f"/requests/{request_id}")
    action = next(a["action"] for a in page.all("form") if a.get("action", "").endswith("/secret"))
    assert "OPENSSH PRIVATE KEY" in applicant(console).post(action).text
    assert "登录密钥只显示一次" in applicant(console).post(action, status=409).text
    assert action not in applicant(console).get(f"/requests/{request_id}").text


def test_a_release_is_asked_for_confirmed_and_carried_out(console: Console) -> None:
    """Art. 14: the unit asks with a reason, the delivering authority confirms, the resources go."""
    request_id = road.up_to_order(console.world, **todays_form())
    road.walk(console.world)
    url = f"/requests/{request_id}"
    assert "请填写理由" in applicant(console).post(f"{url}/release", {"reason": " "}, status=422).text
    applicant(console).post(f"{url}/release", {"reason": "系统已下线"})
    operator = console.person("deliver.jyt")
    action = next(a["action"] for a in operator.get(url).all("form") if a.get("action", "").startswith("/releases/"))
    operator.post(action, {"request_id": str(request_id)})
    road.walk(console.world)
    assert "已回收" in applicant(console).get(url).text


def test_an_attachment_is_uploaded_listed_and_read_again(console: Console) -> None:
    """A letter in PDF; what is no accepted document is refused with its sentence."""
    browser = applicant(console)
    data = {"unit": "jyt", "document_number": "桂教函〔2026〕12号"}
    headers = {"X-CSRF-Token": browser.token}
    files = {"file": ("公文.pdf", b"%PDF-1.7\nletter", "application/pdf")}
    answer = browser.client.post("/requests/attachments", data=data, files=files, headers=headers)
    assert answer.status_code == 200, answer.text
    page = Page(answer.text, 200)
    assert "公文.pdf" in page.text
    assert browser.client.get(page.links[0]).content == b"%PDF-1.7\nletter"
    files = {"file": ("run.exe", b"MZ", "application/octet-stream")}
    refused = browser.client.post("/requests/attachments", data=data, files=files, headers=headers)
    assert "附件只接受以下格式" in refused.text


def test_a_system_is_registered_and_found_in_the_register(console: Console) -> None:
    """Art. 26; all that is missing is told at once."""
    browser = applicant(console)
    page = browser.post("/systems", {"unit": "jyt", "name": "学位管理系统"}, status=422)
    assert page.text.count("此项必填") >= 5
    fields = {
        "unit": "jyt",
        "code": "jyt-xwgl",
        "name": "学位管理系统",
        "mlps_level": "2",
        "function": "学位授予信息管理",
        "scope_of_use": "全区高校",
        "frequency_of_use": "每日",
        "approving_department": "自治区发展改革委",
        "approved_on": "2018-05-06",
        "funding_source": "自治区本级财政",
    }
    assert "学位管理系统" in browser.post("/systems", fields).text


def test_finance_draws_a_month_and_reads_its_lines(console: Console, delivered: UUID) -> None:
    """Lines with rule and price version; a month that has not begun is refused."""
    finance = console.person("finance")
    assert "尚未开始" in finance.post("/statements", {"month": "2999-01"}, status=409).text
    month = Month.of(console.world.clock.now)
    page = finance.post("/statements", {"month": str(month)})
    statement = finance.get(next(link for link in page.links if link.startswith("/statements/")))
    assert "demo-2025" in statement.text
    assert "付费规则" in statement.text


def test_notices_count_and_are_marked_read(console: Console, submitted: UUID) -> None:
    """The number in the header goes when they are read."""
    approver = console.person("approve.jyt")
    assert 'class="count"' in approver.get("/notices").text
    assert 'class="count"' not in approver.post("/notices/read").text
