"""A small client of the HTTP API: one person's or program's way to one broker.

Called by: the verbs of the command line, ``guiyun demo``. Must not: know a verb, print, or hold a rule.

Every POST carries an Idempotency-Key of its own, so that it can be sent again when the connection is lost: the broker
acts once, and the second try gets the first answer.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from api.cli.refusal import Mistake, Refusal

BASE = "/api/v1"
TIMEOUT = httpx.Timeout(30, connect=5)
STREAM_TIMEOUT = httpx.Timeout(45, connect=5)
"""The server sends a comment every 15 seconds: three of them missing means that the connection is dead."""
DOWNLOAD_TIMEOUT = httpx.Timeout(900, connect=5)
"""A long statement is made whole before its first byte is sent: about three thousand lines a second as Excel."""
PAUSES_S = (0.2, 0.5, 1.0, 2.0)
"""Before each new try after a lost connection or a busy broker."""
PAGE = 100


class Unreachable(Refusal):
    """Nobody answers there."""

    def __init__(self, url: str) -> None:
        super().__init__("server.unreachable", f"无法连接 {url}。请确认桂云已启动（make run），或用 --url 指明地址。")


class Api:
    """One broker as one account sees it. Without a token or a sign-in only what is public answers."""

    def __init__(self, url: str, *, token: str = "") -> None:
        self.url = url.rstrip("/")
        # No proxy from the environment: the broker is here or in the same network.
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT, trust_env=False)
        self._signed_in = False
        if token:
            self._http.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the session, if one was opened, and the connections."""
        if self._signed_in:
            self._signed_in = False
            with contextlib.suppress(httpx.TransportError):  # then it runs out by itself
                self._http.delete(f"{BASE}/sessions")
        self._http.close()

    def sign_in(self, login: str, password: str) -> None:
        """Open a session of this person's. Raises Refusal ``sign_in.refused``, ``sign_in.too_many``."""
        answer = self.post("/sessions", {"login": login, "password": password})
        self._http.headers["X-CSRF-Token"] = answer["csrf_token"]
        self._signed_in = True

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path below ``/api/v1``. Raises Refusal."""
        return self._call("GET", path, query=query)

    def download(self, path: str, target: Path, **query: Any) -> None:
        """Save the file at a path below ``/api/v1``; an older one of that name stays until the new one is whole.

        Raises Refusal.
        """
        given = {name: value for name, value in query.items() if value not in (None, "")}
        with self._http.stream("GET", BASE + path, params=given, timeout=DOWNLOAD_TIMEOUT) as answer:
            if not answer.is_success:
                answer.read()
                raise refusal_of(answer)
            part = target.with_name(f".{target.name}.part")
            with part.open("wb") as file:
                for piece in answer.iter_bytes():
                    file.write(piece)
        part.replace(target)

    def post(
        self, path: str, body: Any = None, *, query: Mapping[str, Any] | None = None, version: int | None = None
    ) -> Any:
        """Do something, once, however often the connection is lost meanwhile. Raises Refusal.

        ``version``: of what was seen, where somebody else may have changed it.
        """
        headers = {"Idempotency-Key": uuid4().hex}
        seen = {} if version is None else {"If-Match": f'"{version}"'}
        return self._call("POST", path, body=body, query=query, headers=headers | seen)

    def upload(self, path: str, file: Path) -> Any:
        """Send a file. Raises Refusal ``file.unreadable`` for one that cannot be read."""
        try:
            content = file.read_bytes()
        except OSError as error:
            raise Refusal("file.unreadable", f"无法读取文件 {file}：{error.strerror}。") from error
        return self._call("POST", path, files={"file": (file.name, content)}, headers={"Idempotency-Key": uuid4().hex})

    def put(self, path: str, body: Any, *, version: int, query: Mapping[str, Any] | None = None) -> Any:
        """Replace something whose ``version`` was seen. Raises Refusal, also ``version.stale``."""
        return self._call("PUT", path, body=body, query=query, headers={"If-Match": f'"{version}"'})

    def delete(self, path: str) -> None:
        self._call("DELETE", path)

    def every(self, path: str, *, most: int, **query: Any) -> list[Any]:
        """Up to ``most`` entries of a list, over as many pages as it takes."""
        found: list[Any] = []
        page = self.get(path, limit=min(most, PAGE), **query)
        while True:
            found += page["data"]
            if len(found) >= most or page["next"] is None:
                return found[:most]
            page = self._call("GET", page["next"].removeprefix(BASE))

    def request(self, name: str) -> dict[str, Any]:
        """A request by its number (``GX-2026-000123``) or id. Raises Refusal ``request.not_found``."""
        wanted = name.strip().upper()
        if wanted.startswith("GX-"):
            heads = self.get("/requests", q=wanted, limit=PAGE)["data"]
            name = next((head["id"] for head in heads if head["number"] == wanted), "")
        if not name or not set(name.lower()) <= set("0123456789abcdef-"):
            raise Refusal("request.not_found", f"没有申请“{name or wanted}”，或者您无权查看；编号形如 GX-2026-000123。")
        found: dict[str, Any] = self.get(f"/requests/{quote(name)}")
        return found

    def follow(self, request_id: str) -> Iterator[tuple[str, Any]]:
        """Live progress: ``("state", ...)`` first and after each lost connection, then ``("change", ...)``.

        While nothing happens ``("", None)`` comes now and then, so that who waits can look at a clock.

        Comes again by itself as long as the broker is away for less than half a minute; then raises Unreachable.
        """
        missed = 0
        while True:
            try:
                for event in self._events(f"{BASE}/requests/{request_id}/events"):
                    missed = 0
                    yield event
            except httpx.TransportError:
                missed += 1
                if missed > 2 * len(PAUSES_S):
                    raise Unreachable(self.url) from None
                time.sleep(PAUSES_S[min(missed, len(PAUSES_S)) - 1] * 2)

    def progress(self, request_id: str) -> dict[str, Any]:
        """Where a request's items, deliveries and steps are now. Raises Refusal."""
        for pause in (*PAUSES_S, None):
            stream = self._events(f"{BASE}/requests/{request_id}/events")
            try:
                for name, data in stream:
                    if name == "state":
                        return dict(data)
            except httpx.TransportError:
                if pause is None:
                    break
                time.sleep(pause)
            finally:
                stream.close()
        raise Unreachable(self.url)

    def _events(self, path: str) -> Generator[tuple[str, Any]]:
        with self._http.stream("GET", path, timeout=STREAM_TIMEOUT) as answer:
            if not answer.is_success:
                answer.read()
                raise refusal_of(answer)
            name = ""
            for line in answer.iter_lines():
                word, _, value = line.partition(": ")
                if word == "event":
                    name = value
                elif word == "data":
                    yield name, json.loads(value)
                elif line.startswith(":"):
                    yield "", None

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> Any:
        given = {name: value for name, value in (query or {}).items() if value not in (None, "", [])}
        # No `params` at all when there are none: httpx would drop a query that the path has.
        more: dict[str, Any] = {"params": given} if given else {}
        if body is not None:
            more["json"] = body
        if files is not None:
            more["files"] = files
        answer = self._patiently(method, BASE + path, headers=dict(headers or {}), **more)
        if not answer.is_success:
            raise refusal_of(answer)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise _foreign(answer) from None

    def _patiently(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send it; again after a lost connection, or when the broker says that it is busy."""
        for pause in (*PAUSES_S, None):
            try:
                answer = self._http.request(method, path, **more)
            except httpx.TransportError:
                if pause is None:
                    raise Unreachable(self.url) from None
            else:
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or pause is None:
                    return answer
            time.sleep(pause)
        raise AssertionError("unreachable")


def refusal_of(answer: httpx.Response) -> Refusal:
    """What a problem+json answer says."""
    try:
        body = answer.json()
        mistakes = [Mistake(e["code"], e["field"], e["message"], e["article"]) for e in body["errors"]]
        return Refusal(body["code"], body["detail"], mistakes, body)
    except (ValueError, KeyError, TypeError):
        return _foreign(answer)


def _foreign(answer: httpx.Response) -> Refusal:
    return Refusal("server.foreign", f"{answer.url} 的回答不是桂云的（HTTP {answer.status_code}），请检查地址。")
