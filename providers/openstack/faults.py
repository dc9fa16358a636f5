"""What a cloud's refusal or silence means: one of the four errors of ``providers.errors``.

Called by: ``client``. Must not: call a cloud, or let a secret into an error (an answer is quoted, a request never).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import requests
import urllib3.exceptions

from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome

_DETAIL_LENGTH = 300
_MAX_RETRY_AFTER_S = 300.0
_CODES = {404: "not_found", 409: "conflict", 413: "too_large"}
# What nova (409) and cinder (400) say of an object that is in the middle of something else.
_BUSY = {
    409: ("while it is in task_state", "while it is in vm_state", "is locked", "in use by another"),
    400: ("status must be available", "status must be in-use", "status must be '"),
}
# Proof that a request never left: the connection was not made.
_UNSENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.ProxyError,
    requests.exceptions.ConnectTimeout,
    requests.exceptions.SSLError,
    ConnectionRefusedError,
)


def refused(status: int, body: str, headers: Mapping[str, str], *, mutating: bool) -> ProviderError:
    """The error for an answer with status 400 or more."""
    detail = f"{status}: {message(body)}"
    unclear: type[Temporary | UnknownOutcome] = UnknownOutcome if mutating else Temporary
    match status:
        case 429 | 503:
            return Temporary("busy", detail, retry_after_s=_retry_after_s(headers))
        case 408:
            return unclear("timeout", detail)
        case _ if status >= 500:
            return unclear("server_error", detail)
        case _ if _is_busy(status, detail):
            return Temporary("object_busy", detail, retry_after_s=2.0)
        case 401 | 403 if not _is_quota(status, detail):
            return ActionRequired("credentials_refused" if status == 401 else "forbidden", detail)
        case _:
            code = "quota_exceeded" if _is_quota(status, detail) else _CODES.get(status, "refused")
            return Permanent(code, detail)


def unanswered(error: BaseException, *, mutating: bool) -> ProviderError:
    """The error for a request that got no answer: refused connection, time-out, broken connection."""
    detail = f"{type(error).__name__} at {_origin(error)}"
    if not mutating or any(isinstance(cause, _UNSENT) for cause in _chain(error)):
        return Temporary("unreachable", detail, retry_after_s=5.0)
    return UnknownOutcome("no_answer", detail)


def message(body: str) -> str:
    """What the cloud says in its error, in one line; the services word it in four different ways."""
    try:
        content = json.loads(body)
    except ValueError:
        return _line(body)
    found = next(_messages(content), "")
    return _line(found or body)


def _messages(content: object) -> Iterator[str]:
    if isinstance(content, dict):
        for key in ("message", "detail"):
            if isinstance(content.get(key), str):
                yield content[key]
        for value in content.values():
            yield from _messages(value)
    elif isinstance(content, list):
        for value in content:
            yield from _messages(value)


def _line(text: str) -> str:
    return " ".join(text.split())[:_DETAIL_LENGTH]


def _is_busy(status: int, detail: str) -> bool:
    return any(words in detail for words in _BUSY.get(status, ()))


def _is_quota(status: int, detail: str) -> bool:
    """Nova answers 403, cinder 413, neutron 409, keystone and glance 403 or 413."""
    said = detail.lower()
    return status in {403, 409, 413} and ("quota" in said or "overlimit" in said or "maximum number" in said)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return 5.0
    return min(max(seconds, 0.1), _MAX_RETRY_AFTER_S)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it; keystoneauth wraps requests, which wraps urllib3, which wraps the socket's."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        this = waiting.pop()
        if not isinstance(this, BaseException) or id(this) in seen:
            continue
        seen.add(id(this))
        yield this
        waiting += [this.__cause__, this.__context__, getattr(this, "reason", None), *this.args]


def _origin(error: BaseException) -> str:
    """The host that did not answer."""
    for cause in _chain(error):
        request = getattr(cause, "request", None)
        if request is not None and getattr(request, "url", None):
            return str(request.url).split("?")[0]
    return "the cloud"
