"""The console and the people who use it, for the tests of this folder; reading its pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from broker.region.loader import DEMONSTRATION_PASSWORD
from tests.api.server import Server
from tests.stories.world import World

HTML = {"Accept": "text/html"}


@dataclass
class Page(HTMLParser):
    """A page's elements: what tests ask of it."""

    text: str
    status: int
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    _inside: str = ""

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"} and data.strip():
            self.scripts.append(data)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        self._inside = ""

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.elements if "id" in attrs]

    @property
    def links(self) -> list[str]:
        return [attrs["href"] for attrs in self.all("a") if "href" in attrs]

    def value(self, name: str) -> str:
        """The value of a field."""
        return next(attrs.get("value", "") for attrs in self.all("input") if attrs.get("name") == name)


@dataclass
class Console:
    """The running console, and the world behind it in which other people act."""

    server: Server
    world: World
    _signed_in: dict[str, Browser] = field(default_factory=dict)

    def person(self, login: str) -> Browser:
        """A browser in which somebody has signed in through the page, once for all tests."""
        if login not in self._signed_in:
            self._signed_in[login] = Browser(self.server.visitor(), login)
        return self._signed_in[login]


class Browser:
    """Somebody's browser without scripts."""

    def __init__(self, client: httpx.Client, login: str) -> None:
        self.client = client
        client.headers.update(HTML)
        answer = client.post("/sign-in", data={"login": login, "password": DEMONSTRATION_PASSWORD, "back": "/"})
        assert answer.status_code == 303, answer.text
        self.token = self.get("/notices").value("csrf_token")

    def get(self, url: str, *, status: int = 200) -> Page:
        answer = self.client.get(url, follow_redirects=True)
        assert answer.status_code == status, (url, answer.status_code, answer.text[:2000])
        assert answer.headers["content-type"].startswith("text/html"), url
        return Page(answer.text, answer.status_code)

    def post(self, url: str, fields: dict[str, str] | None = None, *, status: int = 200) -> Page:
        """Send a form with the session's token and follow where it leads."""
        data = {"csrf_token": self.token, **(fields or {})}
        answer = self.client.post(url, data=data, follow_redirects=True)
        assert answer.status_code == status, (url, answer.status_code, answer.text[:2000])
        return Page(answer.text, answer.status_code)
