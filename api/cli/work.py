"""``guiyun work``: one worker that carries out the machine steps.

Called by: the command line and ``guiyun up``. Must not: know the steps.
"""

from __future__ import annotations

import typer

from api.console import show
from broker.settings import Settings
from broker.telemetry import configure_logging
from broker.workflows.worker import main

app = typer.Typer()


@app.command("work")
def work() -> None:
    """启动一个工作进程，执行交付、回收等步骤；可在多台机器上启动多个。"""
    settings = Settings()
    configure_logging(settings)
    main(settings, words=show.notice)
