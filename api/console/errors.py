"""Shows a problem as a page when a browser asked for a page: the same status, sentence and request id.

Called by: the console's ``install``, as the outermost ASGI middleware. Must not: change an answer of the interface for
programs, or fail itself: without a database the page is shown without a name.
"""

from __future__ import annotations

import json
from typing import Any

import anyio.to_thread
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import texts
from api.console.page import Viewer, render, viewer
from api.console.sessions import sign_in_context
from api.errors import MEDIA_TYPE
from api.uow import COOKIE
from broker.bootstrap import App
from broker.errors import BrokerError
from broker.tenancy import service as tenancy
from broker.tenancy.work import Work

_log = structlog.get_logger("api.console")


class ErrorPages:
    """Holds back an answer in problem+json and sends it as a page (or, for HTMX, as a message on the page)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _wants_page(scope):
            await self.app(scope, receive, send)
            return
        held: Message | None = None
        chunks: list[bytes] = []

        async def outwards(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_problem(message):
                held = message
            elif held is None:
                await send(message)
            else:
                chunks.append(message.get("body", b""))
                if not message.get("more_body"):
                    await _send_page(scope, held, b"".join(chunks), send)

        await self.app(scope, receive, outwards)


def _wants_page(scope: Scope) -> bool:
    accepts = Headers(scope=scope).get("accept", "")
    return not scope["path"].startswith("/api/") and (
        "text/html" in accepts or Headers(scope=scope).get("hx-request") == "true"
    )


def _is_problem(message: Message) -> bool:
    return MutableHeaders(raw=list(message["headers"])).get("content-type", "").startswith(MEDIA_TYPE)


async def _send_page(scope: Scope, start: Message, body: bytes, send: Send) -> None:
    problem = json.loads(body)
    text = await anyio.to_thread.run_sync(_page, scope, problem)
    content = text.encode()
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["content-type"] = "text/html; charset=utf-8"
    headers["content-length"] = str(len(content))
    await send({"type": "http.response.start", "status": start["status"], "headers": headers.raw})
    await send({"type": "http.response.body", "body": content})


def _page(scope: Scope, problem: dict[str, Any]) -> str:
    request = Request(scope)
    context: dict[str, Any] = {
        "problem": problem,
        "title": texts.status_title(problem["status"]),
        "here": request.url.path,
        "section": "",
        "flash": "",
        "problems": [],
        "viewer": None,
        "csrf_token": "",
    }
    if request.headers.get("hx-request") == "true":
        return render("problem.html", context)
    if problem["status"] == 401:
        back = request.url.path if request.method == "GET" else "/"
        message = "" if problem["code"] == "session.missing" else problem["detail"]
        return render("session/sign_in.html", context | sign_in_context(request, back=back, message=message))
    context["viewer"] = _viewer(request)
    return render("error.html", context)


def _viewer(request: Request) -> Viewer | None:
    core: App | None = getattr(request.app.state, "core", None)
    cookie = request.cookies.get(COOKIE)
    if core is None or not cookie:
        return None
    try:
        with core.sessions() as session:
            actor, csrf_token = tenancy.actor_of_session(session, cookie, core.clock())
            return viewer(Work(session, actor, core.clock(), core.calendar), csrf_token)
    except (BrokerError, SQLAlchemyError) as error:
        _log.info("console.nobody", error=type(error).__name__)
        return None
