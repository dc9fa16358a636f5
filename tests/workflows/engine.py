"""Workflows carried in the test's own process: on the real server, or on one whose clock leaps over every pause.

Called by: the tests of patience and of replay. Must not: replace a step or a workflow.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.testing import WorkflowEnvironment

from broker.delivery.tools import Tools
from broker.workflows.dispatch import WORKFLOWS, CaseWanting, Wanting
from broker.workflows.steps import Steps
from broker.workflows.worker import Dials, routers_worker, worker_for
from tests.stories import road
from tests.stories.world import World

TEST_SERVER = Path(sys.executable).with_name("temporal-test-server")


@asynccontextmanager
async def leaping() -> AsyncIterator[Client]:
    """A server that skips the time in which nothing happens."""
    environment = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(TEST_SERVER))
    async with environment:
        yield environment.client


async def start(client: Client, wanting: Wanting | CaseWanting) -> WorkflowHandle[Any, Any]:
    """What dispatch does for a row."""
    return await client.start_workflow(
        WORKFLOWS[wanting.kind],
        wanting.order(10.0),
        id=wanting.workflow_id,
        task_queue=wanting.queue,
    )


async def carry(client: Client, world: World, **changes: Any) -> list[WorkflowHistory]:
    """Carry every row that wants acting on to its end; the histories of what was walked, in order."""
    wanted: Sequence[Wanting | CaseWanting] = [*road.jobs(world), *road.case_jobs(world)]
    tools: Tools = replace(world.app.tools(), **changes)
    histories = []
    steps = Steps(tools)
    for wanting in wanted:
        async with worker_for(client, wanting.job.sub_cloud, steps, Dials()), routers_worker(client, steps):
            handle = await start(client, wanting)
            await handle.result()
            histories.append(await handle.fetch_history())
    return histories
