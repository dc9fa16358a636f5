"""uvicorn, told to end the open event streams when it is asked to stop: it would wait for them otherwise.

Called by: ``guiyun serve``, tests. Must not: configure the application.
"""

from __future__ import annotations

import asyncio
import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

GRACE_S = 3
"""How long other answers that are on their way may take once a stop was asked for."""


class Server(uvicorn.Server):
    """A server for one application, that stops at once."""

    def __init__(self, app: FastAPI, **options: Any) -> None:
        defaults = {
            "log_config": None,
            "access_log": False,
            "server_header": False,
            "timeout_graceful_shutdown": GRACE_S,
        }
        super().__init__(uvicorn.Config(app, **{**defaults, **options}))
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until asked to stop."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop."""
        self.end_streams()
        super().handle_exit(sig, frame)

    def end_streams(self) -> None:
        """End the event streams, from whatever thread or signal handler."""
        hub = getattr(self._app.state, "hub", None)
        if hub is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(hub.close_streams)
