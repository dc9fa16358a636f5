"""Machine steps carried out beside a program, by a worker in a thread of its own, until the program is done.

Called by: the demonstration's past, whose clock is not the wall's. Must not: be used where a worker runs already.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator

from broker.bootstrap import App
from broker.workflows.dispatch import Dispatch, cases_wanting, wanting
from broker.workflows.steps import Steps
from broker.workflows.worker import Dials, connect, routers_worker, worker_for

_ROUND_S = 0.1
_DIALS = Dials()


class NotCarriedError(Exception):
    """The steps did not come to their end in time, or the worker broke."""


@contextlib.contextmanager
def carrying(app: App, clouds: Collection[str]) -> Iterator[Callable[[float], None]]:
    """A worker for each of these sub-clouds, and one for routers.

    Yields a wait of at most so many seconds until no row wants acting on; it raises NotCarriedError.
    """
    stop = threading.Event()
    broke: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(_carry(app, clouds, stop))
        except BaseException as error:  # noqa: BLE001 - told to who waits
            broke.append(error)

    thread = threading.Thread(target=run, name="carrying", daemon=True)
    thread.start()

    def settle(patience_s: float) -> None:
        until = time.monotonic() + patience_s
        while _waiting(app):
            if broke:
                raise NotCarriedError("worker broke") from broke[0]
            if time.monotonic() > until:
                raise NotCarriedError("not in time")
            time.sleep(_ROUND_S)

    try:
        yield settle
    finally:
        stop.set()
        thread.join()


def _waiting(app: App) -> bool:
    with app.sessions() as session:
        return bool(wanting(session) or cases_wanting(session))


async def _carry(app: App, clouds: Collection[str], stop: threading.Event) -> None:
    client = await connect(app.settings)
    async with contextlib.AsyncExitStack() as stack:
        steps = Steps(app.tools())
        await stack.enter_async_context(routers_worker(client, steps))
        for code in clouds:
            await stack.enter_async_context(worker_for(client, code, steps, _DIALS))
        dispatch = Dispatch(app, client, _DIALS.heartbeat_s)
        while not stop.is_set():
            await dispatch.round()
            await asyncio.sleep(_ROUND_S)
