"""How long a step is tried, on a server that skips the waiting; and what becomes of a step that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import WorkflowHistory

from broker.delivery.service import Action
from broker.workflows import steps
from broker.workflows.orders import ATTEMPTS, pause_s
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import road, slate
from tests.stories.conftest import Databases
from tests.stories.world import World, make_world
from tests.workflows.engine import carry, leaping

IN_PLACE = 1
"""The look in place comes before the attempts."""


@pytest.fixture
def world(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # On a busy machine a look in place would be over before it has met its fault, and an attempt more would meet it.
    monkeypatch.setattr(steps, "IN_PLACE_S", 60.0)
    with databases() as (region, simulated):
        made = make_world(region, simulated, tmp_path)
        yield made
        made.app.close()


def walk(world: World, **changes: Any) -> list[WorkflowHistory]:
    async def leap() -> list[WorkflowHistory]:
        async with leaping() as client:
            return await carry(client, world, **changes)

    return asyncio.run(leap())


def took(history: WorkflowHistory) -> timedelta:
    """From the first event to the last, by the server's leaping clock."""
    first, last = history.events[0].event_time, history.events[-1].event_time
    return last.ToDatetime() - first.ToDatetime()


def attempts(world: World, step: str) -> int:
    return int(world.scalar("SELECT attempts FROM broker.delivery_step WHERE name = :s", s=step))


def desk(world: World, request_id: UUID) -> list[tuple[str, str]]:
    rows = world.rows("SELECT step, code FROM broker.desk_case WHERE request_id = :r AND closed_at IS NULL ORDER BY id",
                      r=request_id)  # fmt: skip
    return [(row.step, row.code) for row in rows]


def test_an_outage_of_minutes_passes_unnoticed(world: World) -> None:
    """A cloud that is down for all attempts but the last gets the request delivered, without an operator."""
    request_id = road.up_to_order(world)
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.NETWORK, Mode.HTTP_5XX, times=IN_PLACE + ATTEMPTS - 1))
    [history] = walk(world)
    assert world.request(request_id).state == "delivered"
    waited = sum(max(1.0, pause_s(n)) for n in range(1, ATTEMPTS))
    assert took(history).total_seconds() >= waited > 180
    world.clock.forward(hours=1)
    slate.check(world)


def test_an_outage_that_lasts_comes_to_the_desk_and_retry_delivers(world: World) -> None:
    """After the last attempt an operator reads step and code; when the cloud is back, one word delivers."""
    request_id = road.up_to_order(world)
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.SERVER, Mode.HTTP_5XX, times=1000))
    walk(world)
    assert world.request(request_id).state == "needs_operator"
    assert desk(world, request_id) == [("create_servers", "unavailable")] * 2
    assert attempts(world, "create_servers") in {ATTEMPTS, ATTEMPTS + IN_PLACE}
    faults.clear(world.clouds_url)
    road.decide_all(world, request_id, Action.RETRY)
    walk(world)
    assert world.request(request_id).state == "delivered"
    world.clock.forward(hours=1)
    slate.check(world)


def test_a_cloud_that_asks_for_more_time_gets_it(world: World) -> None:
    """A rate limit names its own pause, which is longer than ours."""
    road.up_to_order(world)
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.VOLUME, Mode.RATE_LIMIT, times=4, delay_s=100.0))
    [history] = walk(world)
    assert timedelta(seconds=100) <= took(history) < timedelta(seconds=500)


class Broken:
    """An adapter of somebody else's with a bug: one verb of one kind raises what no adapter may raise."""

    def __init__(self, provider: Any, verb: str, kind: Kind) -> None:
        self._provider, self._verb, self._kind = provider, verb, kind

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._provider, name)
        if name != self._verb:
            return attribute

        def call(what: Any) -> Any:
            if what.kind is self._kind:
                raise ZeroDivisionError
            return attribute(what)

        return call


def broken(world: World, verb: str, kind: Kind) -> dict[str, Any]:
    return {"providers": lambda code: Broken(world.app.providers(code), verb, kind)}


@pytest.mark.parametrize(
    ("kind", "step", "cases"),
    [
        (Kind.PROJECT, "create_project", 1),
        (Kind.NETWORK, "create_segments", 1),
        (Kind.VOLUME, "create_volumes", 3),
        (Kind.SERVER, "create_servers", 2),
        (Kind.ATTACHMENT, "attach_volumes", 2),
    ],
)
def test_a_step_that_breaks_ends_on_the_desk(kind: Kind, step: str, cases: int, world: World) -> None:
    """A bug hands nothing over that was not finished, and nobody tries for ever; a mended adapter delivers."""
    request_id = road.up_to_order(world)
    walk(world, **broken(world, "create", kind))
    assert world.request(request_id).state == "needs_operator"
    assert desk(world, request_id) == [(step, "step_failed")] * cases
    slate.check(world, waiting=True)
    road.decide_all(world, request_id, Action.RETRY)
    walk(world)
    assert world.request(request_id).state == "delivered"
    world.clock.forward(hours=1)
    slate.check(world)


def test_a_release_that_breaks_ends_on_the_desk(world: World) -> None:
    """And so does an undo: what cannot be removed is never begun again and again behind everybody's back."""
    request_id, other = road.up_to_order(world), road.up_to_order(world)
    backup = world.scalar("SELECT id FROM broker.resource WHERE request_id = :r AND name = 'backup'", r=other)
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.VOLUME, Mode.REFUSE, object_id=backup))
    road.walk(world)
    world.clock.forward(hours=1)
    road.release(world, request_id)
    road.decide_all(world, other, Action.GIVE_UP)
    walk(world, **broken(world, "delete", Kind.SERVER))
    assert desk(world, request_id) == [("delete", "step_failed")]
    assert desk(world, other) == [("undo", "step_failed")]
    assert (world.request(request_id).state, world.request(other).state) == ("releasing", "needs_operator")
    for stuck in (request_id, other):
        road.decide_all(world, stuck, Action.RETRY)
    walk(world)
    assert (world.request(request_id).state, world.request(other).state) == ("released", "undelivered")
    assert slate.in_the_clouds(world) == {}
    slate.check(world)
