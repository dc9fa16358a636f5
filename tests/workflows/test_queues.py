"""Who waits in which queue: a router that keeps a delivery waiting takes nothing from its cloud, and the reverse."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.workflows import worker
from broker.workflows.orders import ROUTERS, queue_of
from broker.workflows.steps import Steps
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import road, routers
from tests.stories.conftest import Databases
from tests.stories.world import World, make_world
from tests.workflows.engine import leaping, start

PATIENCE_S = 120.0
VOLUME = {"kind": "volume", "name": "backup", "size_gib": 10, "block_class": "hdd"}


class Kept:
    """A call that comes in and is not answered before somebody says so."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.answer = answer
        self.came, self.let_go = threading.Event(), threading.Event()

    def __call__(self, *given: Any) -> Any:
        self.came.set()
        assert self.let_go.wait(PATIENCE_S)
        return self.answer(*given)


def test_a_router_that_keeps_a_delivery_waiting_takes_no_place_of_its_cloud(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cloud has one place for steps that wait: another delivery, which needs it, comes through meanwhile."""
    monkeypatch.setattr(worker, "STEPS_PER_CLOUD", 1)
    with databases() as (region, simulated):
        world = make_world(region, simulated, tmp_path)
        there = routers.furnished(world)
        kept = Kept(there.create)
        monkeypatch.setattr(routers.Routers, "create", lambda _, specs: kept(specs))
        try:
            asyncio.run(_both(world, kept))
        finally:
            kept.let_go.set()
            world.app.close()


async def _both(world: World, kept: Kept) -> None:
    routed = routers.ordered(world, [routers.SEGMENT])
    [order] = road.jobs(world)
    faults.inject(world.clouds_url, Fault("main", "create", Kind.VOLUME, Mode.HTTP_5XX))  # so that a step has to beat
    stored = routers.ordered(world, [VOLUME])
    [other] = [job for job in road.jobs(world) if job.workflow_id != order.workflow_id]
    steps = Steps(world.app.tools())
    async with (
        leaping() as client,
        worker.worker_for(client, "main", steps, worker.Dials()),
        worker.routers_worker(client, steps),
    ):
        waiting = await start(client, order)
        assert await asyncio.to_thread(kept.came.wait, PATIENCE_S)
        passing = await start(client, other)
        await asyncio.wait_for(passing.result(), PATIENCE_S)
        assert (world.request(routed).state, world.request(stored).state) == ("delivering", "delivered")
        kept.let_go.set()
        await waiting.result()
        queues = {
            name: {
                event.activity_task_scheduled_event_attributes.task_queue.name
                for event in (await handle.fetch_history()).events
                if event.HasField("activity_task_scheduled_event_attributes")
            }
            for name, handle in (("routed", waiting), ("stored", passing))
        }
    assert queues == {"routed": {ROUTERS}, "stored": {queue_of("main")}}
    assert world.request(routed).state == "delivered"
