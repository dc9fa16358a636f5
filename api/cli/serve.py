"""``guiyun serve``: the HTTP API and the console in one process.

Called by: the command line and ``guiyun up``. Must not: start or migrate anything.
"""

from __future__ import annotations

import typer
import uvicorn

from api.app import create_app
from broker.settings import Settings
from broker.telemetry import configure_logging

app = typer.Typer()

GRACE_S = 3
"""How long open event streams may keep a stop waiting."""


@app.command("serve")
def serve() -> None:
    """启动网页控制台与接口服务（地址取自 GUIYUN_HOST、GUIYUN_PORT）。"""
    settings = Settings()
    configure_logging(settings)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
