"""The pages of signing in and out.

Called by: browsers. Must not: know how a password is checked.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from api import texts
from api.cli.home import DEMONSTRATION_MARK
from api.console.page import Form, console_router, go, render, text_of
from api.permissions import Permission, needs
from api.routes.sessions import open_session, set_cookie
from api.texts import console as words
from api.uow import COOKIE, Uow
from broker.bootstrap import App
from broker.errors import BrokerError
from broker.region.loader import DEMONSTRATION_PASSWORD
from broker.tenancy import people, service

router = console_router("登录")

_ROLE_ORDER = (
    "applicant",
    "unit_leader",
    "approver",
    "assessor",
    "operator",
    "finance",
    "audit",
    "cloud_chief",
    "cloud_operator",
    "administrator",
)


@router.get("/sign-in", openapi_extra=needs(Permission.PUBLIC))
def sign_in_page(request: Request, back: str = "/") -> Response:
    """登录页。"""
    return _page(request, back=back, flash=words.DONE.get(request.query_params.get("done", ""), ""))


@router.post("/sign-in", openapi_extra=needs(Permission.PUBLIC))
def sign_in(request: Request, form: Form) -> Response:
    """登录，回到原来要去的页面。"""
    back, login = _own_address(text_of(form, "back")), text_of(form, "login")
    password = str(form.get("password", ""))
    try:
        new = open_session(request, login[:100], password[:200])
    except BrokerError as error:
        problem = error.problems[0]
        sentence = texts.sentence(problem.code, problem.params)
        return _page(request, back=back, login=login, message=sentence, status=error.status)
    response = go(back)
    set_cookie(request, response, new)
    return response


@router.post("/sign-out", openapi_extra=needs(Permission.SELF))
def sign_out(request: Request, uow: Uow) -> Response:
    """退出登录。"""
    uow.do(lambda work: service.sign_out(work.session, request.cookies.get(COOKIE, "")))
    response = go("/sign-in", done="signed_out")
    response.delete_cookie(COOKIE, path="/")
    return response


def sign_in_context(request: Request, *, back: str, login: str = "", message: str = "") -> dict[str, Any]:
    """What the sign-in page shows; in a demonstration home also its accounts."""
    core: App = request.app.state.core
    groups: dict[str, list[Any]] = {}
    if core.settings.demonstration and (core.settings.home / DEMONSTRATION_MARK).exists():
        with core.sessions() as session:
            for row in people.accounts(session, core.clock()):
                for role in sorted(row.roles or (), key=_ROLE_ORDER.index)[:1]:
                    groups.setdefault(role, []).append(row)
    ordered = [(role, groups[role]) for role in _ROLE_ORDER if role in groups]
    password = DEMONSTRATION_PASSWORD if ordered else ""
    return {"back": back, "login": login, "message": message, "accounts": ordered, "password": password}


def _page(
    request: Request, *, back: str, login: str = "", message: str = "", flash: str = "", status: int = 200
) -> Response:
    context = sign_in_context(request, back=_own_address(back), login=login, message=message)
    around: dict[str, Any] = {
        "viewer": None,
        "section": "",
        "here": "/sign-in",
        "flash": flash,
        "problems": [],
        "csrf_token": "",
    }
    return HTMLResponse(render("session/sign_in.html", around | context), status)


def _own_address(url: str) -> str:
    """A path of our own, never another site's."""
    return url if url.startswith("/") and not url.startswith(("//", "/\\")) else "/"
