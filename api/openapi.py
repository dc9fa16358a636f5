"""The interface's description (OpenAPI 3.1): what FastAPI derives, with what it cannot know.

Called by: ``api.app``. Must not: describe anything that a route does not do. Adds the problem that every operation may
answer with, how one signs in, and the headers that every write may carry.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.errors import MEDIA_TYPE
from api.permissions import KEY, Permission
from api.schemas.base import ProblemDetails

_REFERENCE = "#/components/schemas/{model}"

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 200},
    "description": "同一键的重复提交只执行一次，并返回首次的结果（响应头 Idempotent-Replay: true）。",
}
WRITES_NOTHING = {
    "parameters": [{**_IDEMPOTENCY_KEY, "description": "可携带，不起作用：此操作不写入任何内容，可任意重复。"}]
}
"""For a POST that only reads: a route adds it to its ``openapi_extra``."""
NEVER_REPLAYED = {
    "parameters": [
        {
            **_IDEMPOTENCY_KEY,
            "description": "可携带，不起作用：登录结果含会话凭据，不予保存，也不重放；每次登录各建一个会话。",
        }
    ]
}
"""For signing in: a session must not lie in the database for whoever sends the key again."""

_CSRF = {
    "name": "X-CSRF-Token",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "以 Cookie 登录时必须携带，取自登录结果或 /api/v1/me。",
}
_SECURITY = {
    "session": {"type": "apiKey", "in": "cookie", "name": "guiyun_session"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The description, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _complete(
            get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        )
    return app.openapi_schema


def _complete(description: dict[str, Any]) -> dict[str, Any]:
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _, definitions = models_json_schema([(ProblemDetails, "serialization")], ref_template=_REFERENCE)
    schemas.update(definitions["$defs"])
    components["securitySchemes"] = _SECURITY
    for path in description["paths"].values():
        for method, operation in path.items():
            _operation(method, operation)
    return description


def _operation(method: str, operation: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)
    reference = {"$ref": _REFERENCE.format(model="ProblemDetails")}
    operation["responses"]["default"] = {"description": "未能完成", "content": {MEDIA_TYPE: {"schema": reference}}}
    if operation[KEY] == Permission.PUBLIC:
        return
    operation["security"] = [{"session": []}, {"bearer": []}]
    if method != "get":
        operation.setdefault("parameters", []).append(_CSRF)
    if method == "post":
        parameters = operation["parameters"]
        if all(p["name"] != _IDEMPOTENCY_KEY["name"] for p in parameters):
            parameters.append(_IDEMPOTENCY_KEY)
