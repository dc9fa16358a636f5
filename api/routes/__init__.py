"""HTTP routes, one file a stage. Thin: they read the request, call one service, and render."""

from __future__ import annotations

from api.routes import operations, sessions

ROUTERS = (operations.router, sessions.router)
"""All of them, in the order in which the interface's description shows them."""
