"""Says by which calendar this process counts, as the workers do: answers and submissions are given their days here.

Called by: the application, as long as it lives. Must not: keep a request waiting, or end because the database is away.
"""

from __future__ import annotations

import asyncio

import anyio.to_thread
import structlog

from broker.bootstrap import App
from broker.region import calendars

EVERY_S = 60.0

_log = structlog.get_logger("api.counting")


async def say_for_ever(core: App) -> None:
    """Once a minute; what fails is said the next time."""
    while True:
        try:
            await anyio.to_thread.run_sync(_say, core)
        except Exception as error:  # noqa: BLE001  # it must be said again in a minute, whatever it was
            _log.warning("calendar not noted", error=type(error).__name__)
        await asyncio.sleep(EVERY_S)


def _say(core: App) -> None:
    with core.works.begin() as work:
        calendars.note(work)
