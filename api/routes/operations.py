"""For those who run the broker: health, readiness, metrics. Public: they say nothing about units or people.

Called by: supervisors, Prometheus. Must not: hold rules, or take long.
"""

from __future__ import annotations

import socket
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from api.permissions import Permission, needs
from broker.audit.seal import unsealed
from broker.bootstrap import App
from broker.db import migrate
from broker.telemetry import METRICS

ENGINE_TIMEOUT_S = 1.0

router = APIRouter(tags=["运行"])


@router.get("/healthz", summary="进程存活", openapi_extra=needs(Permission.PUBLIC))
async def healthz() -> dict[str, str]:
    """只说明进程在运行。"""
    return {"status": "ok"}


@router.get("/readyz", summary="能否提供服务", openapi_extra=needs(Permission.PUBLIC))
def readyz(request: Request) -> Response:
    """数据库可用、结构为最新、流程引擎可达时为 200，否则 503 并逐项说明。"""
    core: App = request.app.state.core
    checks = {**_database(core), "engine": _engine(core.settings.temporal_address)}
    ready = all(value in {"ok", "not configured"} for value in checks.values())
    return JSONResponse({"status": "ready" if ready else "not ready", **checks}, 200 if ready else 503)


def _database(core: App) -> dict[str, str]:
    try:
        has, newest = migrate.current(core.engine.url.render_as_string(hide_password=False))
    except SQLAlchemyError:
        return {"database": "unavailable", "migrations": "unknown"}
    return {"database": "ok", "migrations": "ok" if has == newest else f"at {has}, code has {newest}"}


def _engine(address: str | None) -> str:
    if address is None:
        return "not configured"
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ENGINE_TIMEOUT_S):
            return "ok"
    except (OSError, ValueError):
        return "unavailable"


@router.get("/metrics", summary="监控指标", openapi_extra=needs(Permission.PUBLIC), response_class=Response)
def metrics(request: Request) -> Response:
    """Prometheus 文本格式。"""
    core: App = request.app.state.core
    with core.sessions() as session:
        METRICS.audit_unsealed.set(unsealed(session))
    return Response(generate_latest(METRICS.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/v1", summary="接口入口", openapi_extra=needs(Permission.PUBLIC))
async def entry() -> dict[str, Any]:
    """接口说明（OpenAPI 3.1）的位置。"""
    return {"title": "桂云", "openapi": "/api/v1/openapi.json"}
