"""Every error as problem+json (RFC 9457) with a stable code and a Chinese sentence.

Called by: the application (exception handlers), the middleware, the unit of work. Must not: show an internal detail;
what is unexpected is logged with the request id and answered with that id only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from psycopg import errors as pg
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import Scope

from api import texts
from broker.errors import BrokerError, Invalid, Problem, TooMany
from broker.telemetry import METRICS

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 200
"""Nobody reads more of them, and an answer must not be larger than what caused it."""

_log = structlog.get_logger("api")

_VALIDATION_CODES = {
    "missing": "field.missing",
    "extra_forbidden": "field.unknown",
    "enum": "field.choice",
    "literal_error": "field.choice",
    "too_long": "field.count",
    "too_short": "field.count",
    "string_too_long": "field.length",
    "string_too_short": "field.length",
    "greater_than": "field.range",
    "greater_than_equal": "field.range",
    "less_than": "field.range",
    "less_than_equal": "field.range",
    "string_pattern_mismatch": "field.format",
    "uuid_parsing": "field.format",
}
"""Pydantic's error types in our vocabulary; any other ``..._type`` or ``..._parsing`` is ``field.type``."""

_JSON_NAMES = {
    "string": "json.text",
    "int": "json.whole",
    "bool": "json.boolean",
    "dict": "json.object",
    "model": "json.object",
    "list": "json.list",
    "date": "json.date",
    "datetime": "json.instant",
    "decimal": "json.number",
    "float": "json.number",
}
"""The first word of a Pydantic type error: the key of what was expected, in ``texts.names.JSON_TYPES``."""


def problem(
    scope: Scope,
    status: int,
    code: str,
    problems: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
    *,
    total: int | None = None,
) -> Response:
    """An answer in problem+json. Without ``problems`` there is one, with ``code``. ``total``: of a list cut before."""
    listed = list(problems) or [Problem(code)]
    METRICS.errors.labels(code).inc()
    body: dict[str, Any] = {
        "type": f"urn:guiyun:problem:{code}",
        "title": texts.status_title(status),
        "status": status,
        "code": code,
        "detail": _detail(code, listed, total),
        "instance": scope["path"],
        "request_id": scope.get("state", {}).get("request_id", ""),
        "errors": [
            {
                "code": p.code,
                "field": p.field,
                "message": texts.sentence(p.code, p.params),
                "article": p.article,
            }
            for p in listed[:MOST_ERRORS]
        ],
        "total": total or len(listed),
    }
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _detail(code: str, problems: Sequence[Problem], total: int | None) -> str:
    if len(problems) == 1:
        return texts.sentence(problems[0].code, problems[0].params)
    return texts.sentence(code, {"count": total or len(problems)})


def of_broker(scope: Scope, error: BrokerError) -> Response:
    """The answer to a refusal of ours."""
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, TooMany) else {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="guiyun"'
    total = error.total if isinstance(error, Invalid) else None
    return problem(scope, error.status, error.code, error.problems, headers, total=total)


def _field(location: Sequence[str | int]) -> str:
    """``("body", "items", 2, "vcpu")`` -> ``items[2].vcpu``."""
    out = ""
    for part in location[1:]:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def _of_validation(error: Mapping[str, Any]) -> Problem:
    kind = str(error["type"])
    code = _VALIDATION_CODES.get(kind)
    if code is None:
        code = "field.type" if kind.endswith(("_type", "_parsing", "_from_float")) else "field.invalid"
    context = error.get("ctx") or {}
    params: dict[str, object] = {
        "least": context.get("ge", context.get("gt", context.get("min_length", "-"))),
        "most": context.get("le", context.get("lt", context.get("max_length", "-"))),
        "choices": context.get("expected", ""),
        "expected": _JSON_NAMES.get(kind.partition("_")[0], "json.other"),
    }
    return Problem(code, _field(error["loc"])[:200], params=params)


def of_database(scope: Scope, error: DBAPIError) -> Response:
    """What the database refused: impossible data is the caller's, a lost race is a conflict, the rest is ours."""
    if isinstance(error, DataError):
        _log.warning("database.data_refused", error=type(error.orig).__name__)
        return problem(scope, 422, "value.unstorable")
    if isinstance(error, IntegrityError):
        _log.warning("database.constraint", error=type(error.orig).__name__, constraint=_constraint(error))
        return problem(scope, 409, "row.conflict")
    if isinstance(error.orig, (pg.QueryCanceled, pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure)):
        _log.warning("database.busy", error=type(error.orig).__name__)
        return problem(scope, 503, "database.busy", headers={"Retry-After": "1"})
    if isinstance(error, OperationalError):
        _log.error("database.unavailable", error=type(error.orig).__name__)
        return problem(scope, 503, "database.unavailable", headers={"Retry-After": "5"})
    return unexpected(scope, error)


def _constraint(error: IntegrityError) -> str:
    return (error.orig.diag.constraint_name or "") if isinstance(error.orig, pg.IntegrityError) else ""


def unexpected(scope: Scope, error: BaseException) -> Response:
    """500: the log has the whole story, the caller the request id to ask with."""
    _log.error("http.unexpected", path=scope["path"], exc_info=error)
    return problem(scope, 500, "internal.error")


_HTTP_CODES = {
    400: "http.bad_request",
    404: "http.not_found",
    405: "http.method_not_allowed",
    413: "body.too_large",
    415: "http.media_type",
}


def install(app: FastAPI) -> None:
    """Put the handlers in place."""

    @app.exception_handler(BrokerError)
    async def broker_error(request: Request, error: BrokerError) -> Response:
        return of_broker(request.scope, error)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        return problem(request.scope, 422, "form.invalid", [_of_validation(e) for e in error.errors()])

    @app.exception_handler(DBAPIError)
    async def database_error(request: Request, error: DBAPIError) -> Response:
        return of_database(request.scope, error)

    @app.exception_handler(PoolTimeout)
    async def pool_exhausted(request: Request, _error: PoolTimeout) -> Response:
        _log.error("database.pool_exhausted")
        return problem(request.scope, 503, "database.busy", headers={"Retry-After": "1"})

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        code = _HTTP_CODES.get(error.status_code, "http.bad_request" if error.status_code < 500 else "internal.error")
        return problem(request.scope, error.status_code, code, headers=error.headers)
