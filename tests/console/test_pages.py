"""Every page renders for everybody it is for, keeps to the strict policy, and leads nowhere that does not answer."""

from __future__ import annotations

from uuid import UUID

import httpx
import pytest

from broker.reclamation import unpublished
from broker.region import calendars
from tests.console.people import HTML, Console, Page

LOGINS = [
    "apply.jyt",
    "lead.jyt",
    "approve.jyt",
    "approve.2",
    "assess.jyt",
    "deliver.jyt",
    "finance",
    "audit",
    "cloud.operator",
    "chief.jyt",
    "admin",
    "apply.chongzuo",
]
NOT_FOLLOWED = (
    "reclaim-report.csv",
    "/systems/export/",
    "/systems/template/",
    "/networks/export/",
    "/networks/template/",
    "/attachments/",
    "/file/",
    "/usage/records/file",
    "/usage/items/file",
    "/usage/terms/file",
)
"""Files, not pages; they have tests of their own."""
MANY = ("/quota?", "/ipv6?")
"""Pages of which there are hundreds, one for each unit or block: a few of them stand for all."""
A_FEW = 6


def blemishes(page: Page) -> list[str]:
    """What a strict policy or a screen reader would stumble over."""
    found = [f"inline {text[:40]!r}" for text in page.scripts]
    for tag, attrs in page.elements:
        found += [f"<{tag} {name}>" for name in attrs if name == "style" or name.startswith(("on", "hx-on"))]
        if tag in {"script", "img"} and attrs.get("src", "/").startswith(("http", "//")):
            found.append(f"external {attrs['src']}")
        if tag == "form" and attrs.get("action", "/").startswith("http"):
            found.append(f"external {attrs['action']}")
    ids = page.ids
    found += [f"twice #{i}" for i in set(ids) if ids.count(i) > 1]
    found += [f"label for #{a['for']}" for a in page.all("label") if "for" in a and a["for"] not in ids]
    found += ["a select without options"] if "<select" in page.text and "<option" not in page.text else []
    return found


def tokens_missing(page: Page) -> list[str]:
    """Forms that change something and carry no CSRF token."""
    missing, form = [], ""
    for tag, attrs in page.elements:
        if tag == "form":
            if form:
                missing.append(form)
            form = attrs.get("action", "?") if attrs.get("method", "get") == "post" else ""
        elif tag == "input" and attrs.get("name") == "csrf_token" and attrs.get("value"):
            form = ""
    return [*missing, form] if form else missing


@pytest.mark.parametrize("login", LOGINS)
def test_every_link_of_every_page_answers_and_every_page_is_clean(
    console: Console, delivered: UUID, login: str
) -> None:
    """From the first page on, whatever a person can click answers 200 and keeps to the policy."""
    browser = console.person(login)
    waiting, seen = ["/", "/region", "/notices"], set[str]()
    while waiting:
        url = waiting.pop().split("#")[0]
        if not url or url in seen or any(part in url for part in NOT_FOLLOWED):
            continue
        if any(url.startswith(kind) and sum(u.startswith(kind) for u in seen) >= A_FEW for kind in MANY):
            continue
        seen.add(url)
        page = browser.get(url)
        assert blemishes(page) == [], url
        assert tokens_missing(page) == [], url
        waiting += page.links
    assert len(seen) >= 3


@pytest.mark.parametrize(
    ("login", "url"),
    [
        ("apply.jyt", "/audit"),
        ("finance", "/requests"),
        ("approve.jyt", "/requests/new"),
        ("audit", "/requests/new"),
        ("cloud.operator", "/statements"),
    ],
)
def test_a_page_that_is_not_for_a_role_says_so_in_the_same_layout(console: Console, login: str, url: str) -> None:
    """403 as a page with the sentence, the name of who is signed in, and the request id."""
    page = console.person(login).get(url, status=403)
    assert "您的角色不能进行此项操作。" in page.text
    assert "请求编号" in page.text
    assert "退出" in page.text


def test_a_request_of_another_unit_is_as_unknown_as_one_that_never_was(console: Console, delivered: UUID) -> None:
    """A unit's people see their unit's tree and nothing else."""
    stranger = console.person("apply.chongzuo")
    assert "没有这份申请" in stranger.get(f"/requests/{delivered}", status=404).text
    assert "没有这份申请" in stranger.get("/requests/00000000-0000-7000-8000-000000000000", status=404).text
    assert "没有这个地址" in stranger.get("/nowhere", status=404).text


def test_without_a_session_a_page_asks_to_sign_in_and_leads_back(console: Console) -> None:
    """401 with the form; afterwards the browser goes where it wanted to."""
    visitor = console.server.visitor()
    answer = visitor.get("/systems", headers=HTML)
    assert answer.status_code == 401
    page = Page(answer.text, 401)
    assert page.value("back") == "/systems"
    fields = {"login": "audit", "password": "guiyun-demo-2026", "back": page.value("back")}
    signed_in = visitor.post("/sign-in", data=fields, headers=HTML)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/systems")
    assert "HttpOnly" in signed_in.headers["set-cookie"]
    assert "SameSite=lax" in signed_in.headers["set-cookie"]


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:1"])
def test_signing_in_never_leads_to_another_site(console: Console, back: str) -> None:
    """The address to go back to is a path of our own."""
    fields = {"login": "audit", "password": "guiyun-demo-2026", "back": back}
    assert console.server.visitor().post("/sign-in", data=fields).headers["location"] == "/"


def test_a_wrong_password_is_told_on_the_form(console: Console) -> None:
    """401, the login kept, the password not, and not said which of them was wrong."""
    fields = {"login": "finance", "password": "wrong", "back": "/"}
    answer = console.server.visitor().post("/sign-in", data=fields, headers=HTML)
    page = Page(answer.text, answer.status_code)
    assert page.status == 401
    assert "用户名或密码不正确。" in page.text
    assert page.value("login") == "finance"
    assert "wrong" not in page.text


def test_demonstration_accounts_are_listed_only_in_a_demonstration_home(console: Console) -> None:
    """The list needs the mark that ``guiyun up`` leaves where it loads the demonstration region."""
    url = "/sign-in"
    assert "演示账号" in console.server.visitor().get(url).text
    mark = console.server.app.state.settings.home / "demonstration"
    mark.unlink()
    try:
        assert "演示账号" not in console.server.visitor().get(url).text
    finally:
        mark.touch()


def test_signing_out_ends_the_session(console: Console) -> None:
    """The cookie is worth nothing afterwards."""
    client = console.server.visitor()
    client.post("/sign-in", data={"login": "approve.1", "password": "guiyun-demo-2026", "back": "/"})
    kept = httpx.Cookies(client.cookies)
    token = Page(client.get("/notices", headers=HTML).text, 200).value("csrf_token")
    assert client.post("/sign-out", data={"csrf_token": token}).status_code == 303
    again = console.server.visitor()
    again.cookies.update(kept)
    assert again.get("/notices", headers=HTML).status_code == 401


def test_a_form_without_the_token_changes_nothing(console: Console, submitted: UUID) -> None:
    """403 as a page; the request stays where it is."""
    browser = console.person("apply.jyt")
    answer = browser.client.post(f"/requests/{submitted}/withdraw", data={"reason": "x"})
    assert answer.status_code == 403
    assert "防跨站令牌" in answer.text
    assert console.world.request(submitted).state == "submitted"


def test_programs_still_get_problems_as_json(console: Console) -> None:
    """Only who asks for a page gets one."""
    assert console.server.visitor().get("/nowhere").json()["code"] == "http.not_found"
    answer = console.server.visitor().get("/api/v1/requests", headers=HTML)
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_an_image_is_shown_by_its_name(console: Console, delivered: UUID) -> None:
    """In a request's items, placement, resources and handover nobody reads the code that the form sends."""
    page = console.person("apply.jyt").get(f"/requests/{delivered}")
    assert page.text.count("openEuler 22.03 LTS (x86-64)") >= 4
    assert "openeuler-22.03-x86_64" not in page.text.replace("有镜像“openeuler-22.03-x86_64”", "")


@pytest.mark.parametrize(("login", "most"), [("apply.jyt", 6), ("audit", 6)])
def test_a_list_takes_a_handful_of_statements_however_long_it_is(
    console: Console, delivered: UUID, statements: list[str], login: str, most: int
) -> None:
    """Who, the rows, the viewer's name and unread notices: no statement a row."""
    browser = console.person(login)
    statements.clear()
    browser.get("/requests")
    assert len(statements) <= most, statements


def test_a_long_list_is_read_page_by_page(console: Console) -> None:
    """Every request once, whatever the page's length."""
    browser = console.person("audit")
    numbers: list[str] = []
    url: str | None = "/audit?limit=5"
    for _ in range(3):
        page = browser.get(url or "")
        numbers.append(page.text)
        url = next((link for link in page.links if "after=" in link), None)
        if url is None:
            break
    assert len(set(numbers)) == len(numbers)


def test_the_first_page_says_which_year_s_days_off_are_missing(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For those who have desks: the year with how many deadlines, and that workers do not agree; for others nothing."""
    operator = console.person("deliver.jyt")
    assert "工作日历" not in operator.get("/").text
    monkeypatch.setattr(unpublished, "waiting", lambda *_: {2030: 3})
    monkeypatch.setattr(calendars, "disputed", lambda *_: True)
    page = operator.get("/").text
    assert "2030 年的放假安排尚未公布" in page
    assert "3 个期限" in page
    assert "几个进程（后台或者网页服务）使用的放假安排不同" in page
    assert "工作日历" not in console.person("apply.jyt").get("/").text
