"""A server on loopback that speaks just enough keystone for a client to sign in, and answers the rest as a test says.

Called by: the tests beside it. Must not: imitate what OpenStack decides; the tests on the real one are for that.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER, PASSWORD = "broker", "do-not-tell-9f2c"
TOKEN = "token-do-not-tell-77aa"


@dataclass(slots=True)
class Answer:
    """What the cloud answers. ``drop``: cuts the connection instead. ``hang``: waits for that first, then cuts."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    hang: threading.Event | None = None
    drop: bool = False


class SmallCloud:
    """Answers by (method, path); what it was asked is in ``asked``, what it was sent in ``sent``."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.answers: dict[tuple[str, str], Answer | Callable[[str], Answer]] = {}
        self.asked: list[tuple[str, str]] = []
        self.sent: list[tuple[str, Any]] = []

    @property
    def options(self) -> dict[str, str]:
        return {
            "auth_url": f"{self.url}/v3",
            "username": USER,
            "password": PASSWORD,
            "project_name": "admin",
            "region": "RegionOne",
        }

    def answer(self, method: str, path: str, query: str) -> Answer:
        self.asked.append((method, path))
        known = self.answers.get((method, path)) or self._usual(method, path)
        return known(query) if callable(known) else known

    def _usual(self, method: str, path: str) -> Answer:
        if (method, path) == ("POST", "/v3/auth/tokens"):
            return Answer(201, {"token": self._token()}, {"X-Subject-Token": TOKEN})
        version = {
            "/v3": ("v3.14", None, "/v3/"),
            "/compute": ("v2.1", "2.96", "/compute/"),
            "/volume": ("v3.0", "3.70", "/volume/"),
            "/network": ("v2.0", None, "/network/"),
            "/image": ("v2.16", None, "/image/"),
        }.get(path.rstrip("/"))
        if method == "GET" and version:
            name, newest, where = version
            entry: dict[str, Any] = {
                "id": name,
                "status": "CURRENT",
                "links": [{"rel": "self", "href": self.url + where}],
            }
            if newest:
                entry |= {"version": newest, "min_version": newest.split(".")[0] + ".0"}
            return Answer(200, {"version": entry})
        return Answer(404, {"error": {"message": f"nothing at {path}"}})

    def _token(self) -> dict[str, Any]:
        services = {
            "identity": "/v3",
            "compute": "/compute",
            "volumev3": "/volume",
            "network": "/network",
            "image": "/image",
        }
        return {
            "methods": ["password"],
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "issued_at": "2020-01-01T00:00:00.000000Z",
            "user": {"id": "u1", "name": USER, "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p1", "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r1", "name": "admin"}],
            "catalog": [
                {
                    "type": kind,
                    "name": kind,
                    "id": kind,
                    "endpoints": [{"id": kind, "interface": "public", "region_id": "RegionOne", "region": "RegionOne",
                                   "url": self.url + path}],
                }
                for kind, path in services.items()
            ],
        }  # fmt: skip


@contextmanager
def small_cloud() -> Iterator[SmallCloud]:
    """A cloud on a port of its own until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            given = self.rfile.read(length)
            path, _, query = self.path.partition("?")
            if given:
                cloud.sent.append((path, json.loads(given)))
            answer = cloud.answer(self.command, path, query)
            if answer.hang is not None:
                answer.hang.wait(10)
            if answer.drop or answer.hang is not None:  # by now the client is gone
                self.close_connection = True
                return
            body = b"" if answer.body is None else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **answer.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  # the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cloud = SmallCloud(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
