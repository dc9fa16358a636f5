"""Kill -9 of the engine's server, of server and worker, the loss of the engine's file: the rows bring it all back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.embedded.temporal import EmbeddedTemporal
from tests.stories import road, slate
from tests.workflows.conftest import Workshops
from tests.workflows.harness import Workshop, prepare, register

BUILD_MS = 2500


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTemporal]:
    """A server that this module may kill."""
    with EmbeddedTemporal(tmp_path_factory.mktemp("engine")) as server:
        yield server


@pytest.fixture
def workshop(workshops: Workshops, engine: EmbeddedTemporal) -> Iterator[Workshop]:
    """A world whose servers take a while to build, so that there is a middle to be killed in."""
    made = workshops(engine=engine)
    made.slow_cloud("jyt", BUILD_MS)
    made.start_workers()
    yield made
    made.stop_workers()


def kill_server(workshop: Workshop) -> None:
    os.kill(workshop.temporal.pid, signal.SIGKILL)
    workshop.temporal.stop()


def server_only(workshop: Workshop) -> None:
    """The worker lives on and finds the server again."""
    kill_server(workshop)
    workshop.temporal.start()


def server_and_worker(workshop: Workshop) -> None:
    """As when the whole machine loses its power."""
    workshop.kill_workers()
    kill_server(workshop)
    workshop.temporal.start()
    workshop.start_workers()


def file_and_all(workshop: Workshop) -> None:
    """The engine has forgotten everything, its namespace too."""
    workshop.kill_workers()
    kill_server(workshop)
    for file in Path(workshop.temporal._folder).glob("temporal.db*"):
        file.unlink()
    workshop.temporal.start()
    asyncio.run(register(workshop.temporal, workshop.namespace))
    workshop.start_workers()


def building(workshop: Workshop) -> Callable[[], bool]:
    """The cloud is building servers, and no row says that they are there."""
    return lambda: bool(
        workshop.world.rows("SELECT FROM broker.delivery_step WHERE name = 'create_servers' AND state = 'running'")
    )


@pytest.mark.parametrize("lose", [server_only, server_and_worker, file_and_all], ids=lambda f: f.__name__)
def test_what_the_engine_loses_in_the_middle_is_delivered_once(
    lose: Callable[[Workshop], None], workshop: Workshop
) -> None:
    """PostgreSQL is the truth; the engine remembers only how far a road was walked, and may forget it."""
    world = workshop.world
    begun, waiting = prepare(workshop), prepare(workshop)
    road.order(world, begun)
    workshop.until(building(workshop))
    lose(workshop)
    road.order(world, waiting)
    workshop.settle([begun, waiting])
    for request_id in (begun, waiting):
        assert world.request(request_id).state == "delivered"
        assert world.scalar("SELECT count(*) FROM broker.handover WHERE request_id = :r", r=request_id) == 1
    slate.check(world)
    road.release(world, begun)
    workshop.until(lambda: world.request(begun).state == "released")
    workshop.stop_workers()
    slate.check(world)
