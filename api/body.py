"""Reads a request's body once, within limits, and refuses JSON that would be ambiguous or could not be stored.

Called by: the application, as ASGI middleware below ``api.middleware``. Must not: know any route or schema. What passes
here is well-formed UTF-8 without duplicate keys, without numbers JSON does not know, and not nested without end.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn
from urllib.parse import unquote_plus

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from broker.errors import BrokerError, TooLarge

MAX_DEPTH = 20
IN_A_THREAD_ABOVE = 64 * 1024
"""Reading a larger JSON takes long enough to hold up other requests, so a thread does it."""

_JSON_TYPES = ("application/json", "application/problem+json", "application/merge-patch+json")
_UNSTORABLE = "\x00"


def strict_json(raw: bytes) -> Any:
    """Parse JSON. Raises BrokerError: json.encoding, json.broken, json.duplicate_key, json.too_deep, json.text."""
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise BrokerError("json.encoding", at=error.start) from error
    except json.JSONDecodeError as error:
        raise BrokerError("json.broken", line=error.lineno, column=error.colno) from error
    except RecursionError as error:
        raise BrokerError("json.too_deep", most=MAX_DEPTH) from error
    except ValueError as error:  # an integer of thousands of digits
        raise BrokerError("json.number") from error
    _inspect(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BrokerError("json.duplicate_key", field=_printable(key[:60]), key=_printable(key[:60]))
            seen.add(key)
    return out


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _no_constant(_name: str) -> NoReturn:
    raise BrokerError("json.number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BrokerError("json.number")
    return value


def _inspect(value: Any) -> None:
    """Depth and characters, without recursion: 2 MB of brackets must not exhaust the stack."""
    pending = [(value, 1)]
    while pending:
        current, depth = pending.pop()
        if isinstance(current, str):
            _text(current)
        elif isinstance(current, dict | list):
            if depth > MAX_DEPTH:
                raise BrokerError("json.too_deep", most=MAX_DEPTH)
            if isinstance(current, dict):
                for key in current:
                    _text(key)
                current = list(current.values())
            pending.extend((inner, depth + 1) for inner in current)


def _text(text: str) -> None:
    """PostgreSQL stores neither NUL nor half a surrogate pair."""
    if _UNSTORABLE in text or not _encodable(text):
        raise BrokerError("json.text")


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class BodyGuard:
    """Reads bodies within ``limit`` bytes (``upload_limit`` for multipart on paths that end in ``upload_suffixes``)."""

    def __init__(self, app: ASGIApp, *, limit: int, upload_limit: int, upload_suffixes: tuple[str, ...]) -> None:
        self.app = app
        self.limit = limit
        self.upload_limit = upload_limit
        self.upload_suffixes = upload_suffixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            _check_url(scope)
            body = await self._read(scope, headers, receive)
            if body is None:
                return
            await self._check(headers, body)
        except BrokerError as error:
            await errors.of_broker(scope, error)(scope, receive, send)
            return
        scope.setdefault("state", {})["body"] = body
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body; ``None`` when the client has gone. Raises TooLarge ``body.too_large``."""
        multipart = headers.get("content-type", "").lower().startswith("multipart/form-data")
        upload = multipart and scope["path"].endswith(self.upload_suffixes)
        limit = self.upload_limit if upload else self.limit
        if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > limit:
            raise TooLarge("body.too_large", most_mib=limit >> 20)
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise TooLarge("body.too_large", most_mib=limit >> 20)
            if not message.get("more_body"):
                return b"".join(chunks)

    async def _check(self, headers: Headers, body: bytes) -> None:
        media_type = headers.get("content-type", "").split(";")[0].strip().lower()
        if body and media_type == "application/x-www-form-urlencoded":
            if not _plain(unquote_plus(body.decode("latin-1"))):
                raise BrokerError("json.text")
        elif body and (media_type in _JSON_TYPES or media_type.endswith("+json")):
            if len(body) > IN_A_THREAD_ABOVE:
                await anyio.to_thread.run_sync(strict_json, body)
            else:
                strict_json(body)


def _check_url(scope: Scope) -> None:
    if not _plain(scope["path"]) or not _plain(unquote_plus(scope["query_string"].decode("latin-1"))):
        raise BrokerError("url.text")


def _plain(text: str) -> bool:
    return _UNSTORABLE not in text and _encodable(text)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand the body on once more, then whatever the client sends next (that it has gone, for a stream)."""
    done = False

    async def again() -> Message:
        nonlocal done
        if done:
            return await receive()
        done = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
