"""What every request passes: an id, security headers, the log and the metrics, a rate limit, the same-origin check.

Called by: ``api.app``, as ASGI middleware. Must not: read a body (``api.body`` does) or sign anybody in (the unit of
work does, which also compares the CSRF token with the session's).
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from api import errors
from broker.db.base import new_id
from broker.errors import Forbidden, TooMany
from broker.telemetry import METRICS

REQUEST_ID = "x-request-id"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
STATIC = "/static/"
UNMATCHED = "(none)"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger("api.access")


class Surroundings:
    """The outermost layer: request id, headers, log line, metrics, and the answer to what nobody expected."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self.app = app
        self.headers = dict(SECURITY_HEADERS)
        if secure:
            self.headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SANE_ID.fullmatch(given) else new_id().hex
        scope.setdefault("state", {})["request_id"] = request_id
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        started, status = time.perf_counter(), 0

        async def outwards(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._dress(scope, message, request_id)
            await send(message)

        try:
            await self.app(scope, receive, outwards)
        except Exception as error:
            if status:  # half of the answer is out: all that is left is to cut the connection
                raise
            await errors.unexpected(scope, error)(scope, receive, outwards)
        finally:
            _account(scope, status, time.perf_counter() - started)

    def _dress(self, scope: Scope, message: Message, request_id: str) -> None:
        headers = MutableHeaders(scope=message)
        headers["X-Request-Id"] = request_id
        for name, value in self.headers.items():
            headers.setdefault(name, value)
        if not scope["path"].startswith(STATIC):
            headers.setdefault("Cache-Control", "no-store")


def _account(scope: Scope, status: int, seconds: float) -> None:
    """One line in the log, one count and one time in the metrics. Never the query: it may hold names."""
    route = getattr(scope.get("route"), "path", UNMATCHED)
    METRICS.http_requests.labels(scope["method"], route, str(status)).inc()
    if not scope.get("state", {}).get("stream"):
        METRICS.http_seconds.labels(scope["method"], route).observe(seconds)
    _log.info(
        "http.request",
        method=scope["method"],
        path=scope["path"],
        route=route,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        source=source(scope),
    )


def source(scope: Scope) -> str:
    """The client's address (behind a proxy: what uvicorn's ``forwarded-allow-ips`` makes of it)."""
    return scope["client"][0] if scope.get("client") else ""


class SameOrigin:
    """Refuses writes that a browser says come from another site, whoever is signed in there."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and _from_elsewhere(Headers(scope=scope)):
            await errors.of_broker(scope, Forbidden("csrf.cross_site"))(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _from_elsewhere(headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


class RateLimit:
    """A bucket of tokens for each address: ``burst`` at once, ``per_second`` in the long run. Kept in this process."""

    MOST_SOURCES = 10_000

    def __init__(
        self, app: ASGIApp, *, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.app = app
        self.per_second = per_second
        self.burst = burst
        self.clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._take(source(scope)):
            refusal = TooMany("rate.too_many", retry_after_s=1)
            await errors.of_broker(scope, refusal)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _take(self, key: str) -> bool:
        now = self.clock()
        level, since = self._buckets.pop(key, (float(self.burst), now))
        level = min(float(self.burst), level + (now - since) * self.per_second)
        allowed = level >= 1
        self._buckets[key] = (level - 1 if allowed else level, now)
        if len(self._buckets) > self.MOST_SOURCES:
            self._buckets.popitem(last=False)
        return allowed
