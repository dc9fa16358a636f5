"""A worker process: carries out the machine steps of every sub-cloud, and runs dispatch.

Called by: ``guiyun work``. Must not: hold a rule. More workers on more machines is all it takes to grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

import psycopg
import structlog
from prometheus_client import start_http_server
from sqlalchemy import make_url
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from broker import bootstrap
from broker.bootstrap import App
from broker.catalog import repository as catalog
from broker.dedicated import probing
from broker.notify.sender import Sender, Words
from broker.notify.settings import channels
from broker.settings import Settings
from broker.telemetry import METRICS
from broker.workflows.case_steps import CaseSteps
from broker.workflows.dispatch import Dispatch
from broker.workflows.drift import DriftCheck
from broker.workflows.fulfil import Fulfil
from broker.workflows.health import HealthCheck
from broker.workflows.measure import Collect, Detect
from broker.workflows.measure_steps import MeasureSteps
from broker.workflows.measured import Measured
from broker.workflows.orders import MEASURING, ROUTERS, queue_of
from broker.workflows.reclaim import Resume, Suspend, TakeBack
from broker.workflows.release import GiveBack
from broker.workflows.steps import Steps

log = structlog.get_logger(__name__)

STEPS_PER_CLOUD = 8
AT_ROUTERS = 64
"""As many as one run carries: they wait for it together, and a run costs what it costs."""
MEASURES_AT_ONCE = 2
HEALTH_EVERY_S = 60.0
COMPARE_EVERY_S = 3600.0
CLOUDS_EVERY_S = 5.0
"""A sub-cloud that is loaded while we work is served after this at the latest."""
LOOK_EVERY_S = 1.0
SEND_EVERY_S = 5.0
PROBE_EVERY_S = 5.0
GATHER_S = 0.03
"""Nudges that come together make one look."""


@dataclass(frozen=True, slots=True)
class Dials:
    """How patient a worker is; tests that kill it set them short. Seconds."""

    heartbeat_s: float = 10.0
    sticky_s: float = 5.0


def main(settings: Settings, dials: Dials = Dials(), words: Words | None = None) -> None:
    """Run until SIGTERM or SIGINT. ``words``: the sentences of notices; without them none is sent."""
    app = bootstrap.build(settings, application_name="guiyun-worker")
    show_metrics(settings)
    try:
        asyncio.run(_run(app, dials, words))
    finally:
        app.close()


def show_metrics(settings: Settings) -> None:
    """Show this process's metrics where the settings say; a port that is taken is told, and work goes on without."""
    if settings.worker_metrics_port is None:
        return
    where = {"host": settings.worker_metrics_host, "port": settings.worker_metrics_port}
    try:
        start_http_server(settings.worker_metrics_port, settings.worker_metrics_host, METRICS.registry)
    except OSError as error:
        log.warning("no metrics", **where, reason=str(error))
    else:
        log.info("metrics", **where)


async def _run(app: App, dials: Dials, words: Words | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await connect(app.settings)
    async with contextlib.AsyncExitStack() as stack:
        floor = Floor(app, client, dials, stack)
        await floor.look()
        log.info("worker ready", pid=os.getpid(), sub_clouds=len(floor.served))
        await _serve(floor, stop, words)
    log.info("worker stopped")


@dataclass(slots=True)
class Floor:
    """The workers of this process, one for each sub-cloud in service, also for one that is loaded while it runs."""

    app: App
    client: Client
    dials: Dials
    stack: contextlib.AsyncExitStack
    served: set[str] = field(default_factory=set)
    _looked_at: float = -CLOUDS_EVERY_S

    async def look(self) -> bool:
        """Now and then: serve the sub-clouds that have appeared. Says whether there were any.

        To be awaited by the process's main task only: a worker that breaks cancels the task that started it.
        """
        if monotonic() - self._looked_at < CLOUDS_EVERY_S:
            return False
        self._looked_at = monotonic()
        appeared = [code for code in await asyncio.to_thread(self._in_service) if code not in self.served]
        if appeared:
            steps = Steps(self.app.tools())
            if not self.served:
                await self.stack.enter_async_context(
                    measuring_worker(self.client, MeasureSteps(steps.tools), self.dials)
                )
                await self.stack.enter_async_context(routers_worker(self.client, steps))
            for code in appeared:
                await self.stack.enter_async_context(worker_for(self.client, code, steps, self.dials))
                self.served.add(code)
        return bool(appeared)

    def _in_service(self) -> list[str]:
        with self.app.sessions() as session:
            return [cloud.code for cloud in catalog.in_service(session)]


def worker_for(client: Client, code: str, steps: Steps, dials: Dials) -> Worker:
    """The worker of one sub-cloud's queue, with threads of its own: a dead cloud blocks no one else's.

    It knows the steps on routers as well: a version before this one ordered them here.
    """
    return Worker(
        client,
        task_queue=queue_of(code),
        workflows=[Fulfil, GiveBack, Suspend, Resume, TakeBack],
        activities=[*all_steps(steps), *all_steps(CaseSteps(steps.tools))],
        interceptors=[Measured()],
        activity_executor=ThreadPoolExecutor(STEPS_PER_CLOUD * 2, thread_name_prefix=f"cloud-{code}"),
        max_concurrent_activities=STEPS_PER_CLOUD,
        max_concurrent_local_activities=STEPS_PER_CLOUD,
        # Workflows hold order only; replaying recorded histories in CI catches what the sandbox would, and more.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_task_polls=2,
        max_concurrent_activity_task_polls=2,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=dials.sticky_s),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


def routers_worker(client: Client, steps: Steps) -> Worker:
    """The worker of the steps on routers, which wait together for the runs that they share."""
    return Worker(
        client,
        task_queue=ROUTERS,
        activities=[steps.route_segments, steps.verify_segments],
        interceptors=[Measured()],
        activity_executor=ThreadPoolExecutor(AT_ROUTERS, thread_name_prefix="routers"),
        max_concurrent_activities=AT_ROUTERS,
        max_concurrent_activity_task_polls=2,
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


def measuring_worker(client: Client, steps: MeasureSteps, dials: Dials) -> Worker:
    """The worker that reads and scans samples: few at once, for each may take much memory."""
    return Worker(
        client,
        task_queue=MEASURING,
        workflows=[Collect, Detect],
        activities=[steps.collect, steps.detect, steps.look_for_zombies],
        interceptors=[Measured()],
        activity_executor=ThreadPoolExecutor(MEASURES_AT_ONCE, thread_name_prefix="measuring"),
        max_concurrent_activities=MEASURES_AT_ONCE,
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_task_polls=2,
        max_concurrent_activity_task_polls=1,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=dials.sticky_s),
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


def all_steps(steps: Steps | CaseSteps) -> list[Callable[..., Any]]:
    """Every step as the engine registers it."""
    names = [name for name, member in vars(type(steps)).items() if hasattr(member, "__temporal_activity_definition")]
    return [getattr(steps, name) for name in names]


async def connect(settings: Settings) -> Client:
    """Wait for the engine: it may come up after us. Raises RPCError after a minute."""
    address = settings.temporal_address or "127.0.0.1:7233"
    for _ in range(120):
        try:
            return await Client.connect(address, namespace=settings.temporal_namespace)
        except (RPCError, RuntimeError) as error:
            failure = error
            await asyncio.sleep(0.5)
    raise failure


async def _serve(floor: Floor, stop: asyncio.Event, words: Words | None) -> None:
    """Dispatch on every nudge and at least every second; ask the clouds now and then, and a new one at once."""
    app = floor.app
    dispatch = Dispatch(app, floor.client, floor.dials.heartbeat_s)
    nudged = asyncio.Event()
    listener = asyncio.create_task(_listen(app.settings, nudged))
    health, slow = ThreadPoolExecutor(8, thread_name_prefix="health"), ThreadPoolExecutor(2, thread_name_prefix="drift")
    with health, slow:
        ask_all = HealthCheck(app, health).ask_all
        checker = asyncio.create_task(_every(HEALTH_EVERY_S, ask_all))
        compare = DriftCheck(app, slow).compare_all
        comparer = asyncio.create_task(_every(COMPARE_EVERY_S, compare, first_s=COMPARE_EVERY_S))
        mailer = asyncio.create_task(_send_notices(app, words))
        prober = asyncio.create_task(_every(PROBE_EVERY_S, partial(probing.carry, app.networks, app.works)))
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            try:
                if await floor.look():
                    log.info("sub-clouds appeared", sub_clouds=len(floor.served))
                    await asyncio.to_thread(ask_all)
                await dispatch.round()
            except Exception:
                log.exception("dispatch failed; it looks again")
            waiting = asyncio.create_task(nudged.wait())
            await asyncio.wait({waiting, stopping}, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            nudged.clear()
            await asyncio.sleep(GATHER_S)
        tasks = (listener, checker, comparer, mailer, prober, stopping)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pool in (health, slow):
            pool.shutdown(wait=False, cancel_futures=True)


async def _send_notices(app: App, words: Words | None) -> None:
    """Send what the outbox holds, for as long as the worker runs."""
    if words is not None:
        sender = Sender(app.works, channels(app.settings), words)
        await _every(SEND_EVERY_S, sender.round)


async def _every(seconds: float, look: Callable[[], object], *, first_s: float = 0) -> None:
    """Call ``look`` in a thread, at first after ``first_s``; one that fails is called again the next time."""
    await asyncio.sleep(first_s)
    while True:
        try:
            await asyncio.to_thread(look)
        except Exception:
            log.exception("failed; it looks again")
        await asyncio.sleep(seconds)


async def _listen(settings: Settings, nudged: asyncio.Event) -> None:
    """Turn the database's notices about queued rows into nudges. A lost connection is made anew."""
    assert settings.database_url is not None
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                url.render_as_string(hide_password=False), autocommit=True
            ) as connection:
                await connection.execute("LISTEN guiyun_work")
                async for _ in connection.notifies():
                    nudged.set()
        except psycopg.OperationalError:
            log.warning("listener lost its connection")
            await asyncio.sleep(1)
