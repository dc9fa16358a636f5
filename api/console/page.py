"""Renders pages: the templates, who is looking, redirects after an action, fragments for HTMX.

Called by: every route of the console. Must not: hold a rule; what a page shows comes from services.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.datastructures import FormData

from api import texts
from api.console import show
from api.permissions import Permission, allowed
from api.texts import console as words
from api.uow import UnitOfWork
from broker.errors import BrokerError
from broker.lifecycle import Role
from broker.notify import service as notify
from broker.tenancy import people
from broker.tenancy.values import Actor
from broker.tenancy.work import Work

HERE = Path(__file__).parent
Context = dict[str, Any]
Collect = Callable[[Work], Context]

_MENU = (
    ("home", "/", Permission.SELF, "layout-dashboard"),
    ("requests", "/requests", Permission.REQUEST_READ, "file-text"),
    ("quota", "/quota", Permission.QUOTA_READ, "scale"),
    ("ipv6", "/ipv6", Permission.PREFIX_READ, "network"),
    ("region", "/region", Permission.CATALOG_READ, "cloud"),
    ("idle", "/idle", Permission.RESOURCE_READ, "hourglass"),
    ("systems", "/systems", Permission.SYSTEM_READ, "database"),
    ("reclaim", "/reclaim", Permission.RECLAIM_READ, "recycle"),
    ("statements", "/statements", Permission.STATEMENT_READ, "file-invoice"),
    ("usage", "/usage", Permission.USAGE_WRITE, "upload"),
    ("settlements", "/settlements", Permission.SETTLEMENT_READ, "file-invoice"),
    ("audit", "/audit", Permission.AUDIT_READ, "shield-check"),
)

_SEE_STATEMENTS = frozenset({Role.FINANCE, Role.AUDIT, Role.ADMINISTRATOR})
"""For everybody else the list is empty (the service says so): no use in showing the way to it.

Among the pages about statements these also find the settlements; an operator's people have an entry of their own.
"""

_SECTIONS = (
    {url.strip("/"): name for name, url, _, _ in _MENU}
    | dict.fromkeys(
        ("payers", "industry-clouds", "budgets", "settlements", "disputes", "adjustments", "months"), "statements"
    )
    | dict.fromkeys(("zombies", "networks", "funds-stops"), "systems")
    | {"resources": "idle"}
    | {"extranet": "ipv6"}
)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page."""

    actor: Actor
    name: str
    title: str
    unit_name: str
    unread: int
    csrf_token: str

    def may(self, permission: str) -> bool:
        """Whether a role of the viewer's opens an endpoint; duties and states are the services'."""
        return allowed(self.actor, Permission(permission))

    @property
    def menu(self) -> list[tuple[str, str, str, str]]:
        """The entries of the main menu: name, address, title, icon."""
        money = bool(self.actor.roles & _SEE_STATEMENTS)
        shown = {"statements": money, "settlements": not money}
        return [
            (name, url, words.MENU[name], icon)
            for name, url, need, icon in _MENU
            if allowed(self.actor, need) and shown.get(name, True)
        ]


def console_router(tag: str) -> APIRouter:
    """A router whose pages stay out of the interface's description."""
    return APIRouter(tags=[tag], include_in_schema=False, default_response_class=HTMLResponse)


def viewer(work: Work, csrf_token: str) -> Viewer:
    """Two statements: the name, the unread notices."""
    account_id = work.actor.account_id
    assert account_id is not None
    who = people.named(work.session, [account_id])[account_id]
    return Viewer(work.actor, who.name, who.title, who.unit_name, notify.unread(work), csrf_token)


@cache
def version_of(path: str) -> str:
    """Changes with the file, so that browsers may keep it."""
    return f"{(HERE / 'static' / path).stat().st_mtime_ns:x}"[-8:]


def static(path: str) -> str:
    return f"/static/{path}?v={version_of(path)}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(show.FILTERS)
    environment.globals.update(static=static, words=words, done=words.DONE, names=texts.names)
    return environment


def render(template: str, context: Mapping[str, Any]) -> str:
    """A template's text."""
    return _templates().get_template(template).render(context)


def is_fragment(request: Request) -> bool:
    """Whether HTMX asks, and not the address bar."""
    return request.headers.get("hx-request") == "true"


def page(
    uow: UnitOfWork, template: str, collect: Collect, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """A whole page: what ``collect`` reads and who is looking, in one read-only transaction."""

    def gather(work: Work) -> Context:
        return collect(work) | {"viewer": viewer(work, uow.csrf_token), "now": work.now}

    context = uow.look(gather) | {"csrf_token": uow.csrf_token}
    return HTMLResponse(render(template, _around(uow.request, context)), status, dict(headers or {}))


def fragment(uow: UnitOfWork, template: str, collect: Collect, *, status: int = 200) -> HTMLResponse:
    """A part of a page, without the layout."""
    context = uow.look(lambda work: collect(work) | {"now": work.now}) | {"csrf_token": uow.csrf_token}
    return HTMLResponse(render(template, _around(uow.request, context)), status)


def _around(request: Request, context: Context) -> Context:
    return {
        "here": request.url.path,
        "section": _SECTIONS.get(request.url.path.split("/")[1], ""),
        "flash": words.DONE.get(request.query_params.get("done", ""), ""),
        "problems": [],
    } | context


def go(url: str, *, done: str = "") -> Response:
    """Redirect after an action, so that a reload does not repeat it."""
    separator = "&" if "?" in url else "?"
    return RedirectResponse(f"{url}{separator}done={quote(done)}" if done else url, status_code=303)


def act(
    uow: UnitOfWork,
    use_case: Callable[[Work], Any],
    *,
    then: Callable[[Any], Response],
    instead: Callable[[BrokerError], Response],
    reads: bool = False,
) -> Response:
    """Run an action. Refused, the page it came from is shown as it is now, with the reasons (409, 412, 422, 403).

    ``reads``: it only looks, and the database refuses any write.
    """
    try:
        result = (uow.look if reads else uow.do)(use_case)
    except BrokerError as error:
        if error.status in {401, 404}:
            raise
        return instead(error)
    return then(result)


async def form_of(request: Request) -> AsyncIterator[FormData]:
    """The fields of an HTML form; files are closed when the answer is made."""
    async with request.form(max_fields=4000) as form:
        yield form


Form = Annotated[FormData, Depends(form_of)]


def text_of(form: FormData, name: str) -> str:
    """A text field, trimmed."""
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def id_of(form: FormData, name: str) -> UUID | None:
    """A hidden id; None when it is missing or broken."""
    try:
        return UUID(text_of(form, name))
    except ValueError:
        return None
