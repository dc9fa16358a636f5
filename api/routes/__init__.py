"""HTTP routes, one file a stage. Thin: they read the request, call one service, and render."""

from __future__ import annotations

from api.routes import (
    accounts,
    approvals,
    assessments,
    budgets,
    chargeback,
    dedicated,
    dedicated_files,
    deliveries,
    idle,
    operations,
    people,
    reclaim,
    registers,
    requests,
    scarcity,
    sendings,
    sessions,
    systems,
    usage,
    zombies,
)

ROUTERS = (
    sessions.router,
    requests.router,
    approvals.router,
    assessments.router,
    deliveries.router,
    idle.router,
    reclaim.router,
    reclaim.policies_router,
    reclaim.report_router,
    registers.router,
    systems.router,
    zombies.router,
    dedicated_files.router,
    dedicated.router,
    dedicated.stops_router,
    scarcity.router,
    usage.router,
    accounts.router,
    chargeback.router,
    budgets.router,
    people.router,
    sendings.router,
    operations.router,
)
"""All of them, in the order in which the interface's description shows them."""
