"""Workflows that were on their way when a new version comes must go on: recorded histories are replayed.

To record them anew, after a change that is meant to break with the old ones (none of which is on its way anywhere)::

    rm tests/workflows/histories/*.json
    GUIYUN_RECORD_HISTORIES=1 .venv/bin/python -m pytest tests/workflows/test_replay.py

A change that has to live with what is on its way gets ``workflow.patched`` and a further recording beside the old ones.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from broker.delivery.service import Action
from broker.reclamation import cases
from broker.reclamation.values import Cause
from broker.workflows import steps
from broker.workflows.calls import in_database
from broker.workflows.fulfil import Fulfil
from broker.workflows.orders import Order
from broker.workflows.reclaim import Resume, Suspend, TakeBack
from broker.workflows.release import GiveBack
from broker.workflows.steps import Steps
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import reclaim, road, routers
from tests.stories.conftest import Databases
from tests.stories.world import World, make_world
from tests.workflows.engine import carry, leaping
from tests.workflows.test_patience import broken

HISTORIES = Path(__file__).with_name("histories")
RECORD = "GUIYUN_RECORD_HISTORIES"


@pytest.fixture
def world(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # A busy machine must not turn a look in place into a step that beats: the histories would differ.
    monkeypatch.setattr(steps, "IN_PLACE_S", 60.0)
    with databases() as (region, simulated):
        made = make_world(region, simulated, tmp_path)
        yield made
        made.app.close()


def busy_once(world: World, verb: str) -> None:
    """The cloud cannot take the first order: the look in place is over, and the step goes on as one that beats.

    A fault and not a slow cloud, whose time would run against the machine's.
    """
    faults.inject(world.clouds_url, Fault("jyt", verb, Kind.SERVER, Mode.HTTP_5XX))


def refused(world: World, **changes: Any) -> Any:
    request_id = road.up_to_order(world, **changes)
    backup = world.scalar("SELECT id FROM broker.resource WHERE request_id = :r AND name = 'backup'", r=request_id)
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.VOLUME, Mode.REFUSE, object_id=backup))
    return request_id


def given_up(world: World) -> None:
    request_id = refused(world)
    road.walk(world)
    road.decide_all(world, request_id, Action.GIVE_UP)


def released(world: World) -> None:
    request_id = road.up_to_order(world)
    road.walk(world)
    world.clock.forward(hours=1)
    road.release(world, request_id)


def released_at_the_second_try(world: World) -> None:
    released(world)
    busy_once(world, "delete")


def release_refused(world: World) -> None:
    released(world)
    faults.inject(world.clouds_url, Fault("jyt", "delete", Kind.SERVER, Mode.REFUSE))


def delivered_at_the_second_try(world: World) -> None:
    road.up_to_order(world)
    busy_once(world, "create")


def routed(world: World) -> None:
    """A segment comes onto its router, and is looked at from the zones."""
    routers.furnished(world)
    routers.ordered(world, [routers.SEGMENT])


def expired(world: World) -> None:
    road.up_to_order(world)
    world.clock.forward(days=road.HOLD_DAYS)


@dataclass(frozen=True)
class Road:
    """How a world is brought to where the road begins, and which adapter's bug it meets."""

    begin: Callable[[World], Any]
    bug: tuple[str, Kind] | None = None


ROADS = {
    "fulfil-at-once": Road(road.up_to_order),
    "fulfil-second-try": Road(delivered_at_the_second_try),
    "fulfil-routed": Road(routed),
    "fulfil-needs-operator": Road(refused),
    "fulfil-in-part": Road(lambda world: refused(world, allow_partial=True)),
    "fulfil-undo": Road(given_up),
    "fulfil-expired": Road(expired),
    "fulfil-broken-step": Road(road.up_to_order, ("create", Kind.SERVER)),
    "fulfil-broken-undo": Road(given_up, ("delete", Kind.SERVER)),
    "release-at-once": Road(released),
    "release-second-try": Road(released_at_the_second_try),
    "release-needs-operator": Road(release_refused),
    "release-broken-step": Road(released, ("delete", Kind.VOLUME)),
}


ALL = (Fulfil, GiveBack, Suspend, Resume, TakeBack)


def replay(history: WorkflowHistory, *workflows: type) -> None:
    replayer = Replayer(workflows=workflows or ALL, workflow_runner=UnsandboxedWorkflowRunner())
    asyncio.run(replayer.replay_workflow(history))


def recorded(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(name, (HISTORIES / f"{name}.json").read_text(encoding="utf-8"))


def scrubbed(recorded: Any) -> Any:
    """Without the paths and names of the machine that recorded it."""
    if isinstance(recorded, list):
        return [scrubbed(each) for each in recorded]
    if isinstance(recorded, dict):
        return {name: scrubbed(value) for name, value in recorded.items() if name not in {"stackTrace", "identity"}}
    return recorded


def steps_of(history: WorkflowHistory) -> list[str]:
    """The steps as they were called, those in place in brackets."""
    called = []
    for event in history.events:
        if event.HasField("marker_recorded_event_attributes"):
            data = event.marker_recorded_event_attributes.details["data"].payloads[0].data
            called.append(f"({json.loads(data)['activity_type']})")
        elif event.HasField("activity_task_scheduled_event_attributes"):
            called.append(event.activity_task_scheduled_event_attributes.activity_type.name)
    return called


@pytest.mark.parametrize("name", ROADS)
def test_what_is_walked_today_replays(name: str, world: World) -> None:
    """Each typical road, walked now and replayed: workflows hold nothing but order, so nothing differs."""
    ROADS[name].begin(world)
    bug = ROADS[name].bug

    async def walk() -> list[WorkflowHistory]:
        async with leaping() as client:
            return await carry(client, world, **(broken(world, *bug) if bug else {}))

    [history] = asyncio.run(walk())
    compare(name, history)


def compare(name: str, history: WorkflowHistory) -> None:
    """It replays, and walks the recorded steps."""
    replay(history)
    if os.environ.get(RECORD):
        kept = json.dumps(scrubbed(json.loads(history.to_json())), indent=1, ensure_ascii=False)
        (HISTORIES / f"{name}.json").write_text(kept + "\n", encoding="utf-8")
    # The engine itself does not mind steps in place that change places.
    assert steps_of(history) == steps_of(recorded(name))


CASE_ACTS = ("case-take-back", "case-suspend", "case-broken-resume", "case-resume")


def test_the_acts_of_a_case_replay(world: World) -> None:
    """One is taken back; another, for which there is room then, is suspended, and resumed after a bug was mended."""
    _, released_id, _ = reclaim.proposed(world)
    world.ask_health()
    _, case_id, _ = reclaim.noticed(world, cause=Cause.PERSON)
    found: list[WorkflowHistory] = []

    async def walk() -> None:
        async with leaping() as client:
            reclaim.confirm(world, released_id)
            found.extend(await carry(client, world))
            reclaim.pass_the_window(world, case_id)
            found.extend(await carry(client, world))
            with world.acting("approve.jyt") as work:
                cases.resume(work, case_id, reason="业务恢复")
            found.extend(await carry(client, world, **broken(world, "delete", Kind.SNAPSHOT)))
            stuck = reclaim.case(world, case_id)
            assert (stuck.trouble_step, stuck.trouble) == ("drop_snapshots", "step_failed")
            with world.acting("deliver.jyt") as work:
                cases.retry(work, case_id)
            found.extend(await carry(client, world))

    asyncio.run(walk())
    assert (reclaim.state(world, case_id), reclaim.state(world, released_id)) == ("dropped", "released")
    for name, history in zip(CASE_ACTS, found, strict=True):
        compare(name, history)


@pytest.mark.parametrize("name", [*ROADS, *CASE_ACTS])
def test_what_was_recorded_replays(name: str) -> None:
    """What an earlier version had on its way goes on in this one."""
    replay(recorded(name))


def test_recordings_hold_neither_secrets_nor_names() -> None:
    """The engine keeps history for a year: ids and codes only."""
    for file in HISTORIES.glob("*.json"):
        text_of_it = file.read_text(encoding="utf-8")
        for telling in ("PRIVATE KEY", "ssh-ed25519", "韦海燕", "0771", "postgresql", "password"):
            assert telling not in text_of_it, file.name


@workflow.defn(name="Fulfil")
class Slower:
    """A careless change: a pause where none was recorded."""

    @workflow.run
    async def run(self, order: Order) -> str:
        plan = await in_database(Steps.pin_hold, order)
        await workflow.sleep(1)
        return plan.ended


def test_a_careless_change_is_noticed() -> None:
    """The replay can fail."""
    with pytest.raises(NondeterminismError):
        replay(recorded("fulfil-at-once"), Slower)
