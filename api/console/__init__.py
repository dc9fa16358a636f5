"""The web console: server-rendered pages in Chinese, one file and one folder of templates a stage.

Called by: ``api.app`` (``install``, after its own middleware). Must not: hold a rule, or read the database itself.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from api.console import (
    adjustments,
    approval,
    assessment,
    audit,
    budgets,
    catalog,
    chargeback,
    dedicated,
    delivery,
    disputes,
    extranet,
    home,
    idle,
    inventory,
    ipv6,
    months,
    networks_import,
    notify,
    overviews,
    policies,
    quota,
    quota_limits,
    quota_nodes,
    reclaim,
    reclamation,
    register_import,
    request,
    request_form,
    sessions,
    usage,
    zombies,
)
from api.console.errors import ErrorPages

STATIC = Path(__file__).parent / "static"

ROUTERS = (
    sessions.router,
    home.router,
    request_form.router,
    request.router,
    approval.router,
    assessment.router,
    delivery.router,
    reclamation.router,
    policies.router,
    reclaim.router,
    quota.router,
    quota_limits.router,
    quota_nodes.router,
    ipv6.router,
    extranet.router,
    catalog.router,
    register_import.router,
    inventory.router,
    zombies.router,
    networks_import.router,
    dedicated.router,
    idle.router,
    chargeback.router,
    overviews.router,
    budgets.router,
    disputes.router,
    adjustments.router,
    months.router,
    usage.router,
    notify.router,
    audit.router,
)


def install(app: FastAPI) -> None:
    """Put pages, static files and error pages in place. The error pages' layer becomes the outermost."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(ErrorPages)
