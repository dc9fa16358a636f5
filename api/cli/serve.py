"""``guiyun serve``: the HTTP API and the console in one process.

Called by: the command line and ``guiyun up``. Must not: start or migrate anything.
"""

from __future__ import annotations

import typer

from api.app import create_app
from api.server import Server
from broker.settings import Settings
from broker.telemetry import configure_logging

app = typer.Typer()


@app.command("serve")
def serve() -> None:
    """启动网页控制台与接口服务（地址取自 GUIYUN_HOST、GUIYUN_PORT）。"""
    settings = Settings()
    configure_logging(settings)
    Server(create_app(settings), host=settings.host, port=settings.port).run()
