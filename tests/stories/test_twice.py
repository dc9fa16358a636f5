"""Every step runs twice, and every undo, at its time and after all is done: nothing changes the second time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from broker.delivery import begin, handover, provision
from broker.delivery.provision import TryAgainError
from broker.delivery.service import Action
from broker.delivery.tools import Pace, Tools
from broker.delivery.values import Job
from broker.reclamation import steps as release_steps
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import road, slate
from tests.stories.world import World

Step = Callable[[Tools, Job], Any]


def on_cloud(step: Any, *more: Any) -> Step:
    """A step on a cloud, tried until it is through."""
    return lambda tools, job: road.patiently(lambda pace: step(tools, job, *more, pace))


MAKING: dict[str, Step] = {
    "pin_hold": begin.pin_hold,
    "create_project": on_cloud(provision.create_project),
    "create_segments": on_cloud(provision.create, "segment"),
    "create_volumes": on_cloud(provision.create, "volume"),
    "create_servers": on_cloud(provision.create, "server"),
    "attach_volumes": on_cloud(provision.attach_volumes),
    "undo_failed": on_cloud(handover.undo_failed),
    "hand_over": handover.hand_over,
}
UNDOING: dict[str, Step] = {"undo": on_cloud(handover.undo)}
RELEASING: dict[str, Step] = {
    "last_reading": release_steps.last_reading,
    "delete": on_cloud(release_steps.delete),
    "give_back": release_steps.give_back,
}


def memory(world: World) -> list[Any]:
    """All that a second run must not change; a step's attempts and marks of time may."""
    return [
        world.rows("SELECT id, state, ref, addresses, error_code FROM broker.resource ORDER BY id"),
        world.rows("SELECT id, state, mode, run FROM broker.delivery ORDER BY id"),
        world.rows("SELECT id, state, run FROM broker.release ORDER BY id"),
        world.rows("SELECT id, state, version, due_at, closed_at FROM broker.service_request ORDER BY id"),
        world.rows("SELECT id, state FROM broker.request_item ORDER BY id"),
        world.rows("SELECT * FROM broker.resource_period ORDER BY id"),
        world.rows("SELECT id, step, code, detail, closed_at FROM broker.desk_case ORDER BY id"),
        world.rows("SELECT id FROM broker.handover ORDER BY id"),
        world.rows("SELECT id, code FROM broker.notice ORDER BY id"),
        world.rows("SELECT id, action FROM broker.audit_event ORDER BY id"),
        world.rows("SELECT * FROM quotas.hold_line ORDER BY hold_id, resource_class, pool_id"),
        world.rows("SELECT owner, state, until FROM quotas.prefix_allocation ORDER BY id"),
        sorted(slate.in_the_clouds(world).items()),
    ]


def job_of(world: World, kind: str) -> Job:
    [wanting] = [w for w in road.jobs(world) if w.kind == kind]
    return wanting.job


def run(world: World, job: Job, steps: dict[str, Step], twice: str) -> list[Any]:
    """The steps in order, one of them twice; what it said both times."""
    said: list[Any] = []
    for name, step in steps.items():
        if name == twice:
            said.append(step(world.app.tools(), job))
            before = memory(world)
            said.append(step(world.app.tools(), job))
            assert memory(world) == before
        else:
            step(world.app.tools(), job)
    return said


def ordered(world: World, **changes: Any) -> tuple[UUID, Job]:
    request_id = road.up_to_order(world, **changes)
    return request_id, job_of(world, "fulfil")


@pytest.mark.parametrize("twice", MAKING)
def test_a_step_of_making_runs_twice(twice: str, town: World) -> None:
    """The second run says what the first one said, and changes nothing."""
    request_id, job = ordered(town)
    first, second = run(town, job, MAKING, twice)
    assert first == second
    assert town.request(request_id).state == "delivered"
    finish(town, request_id)


@pytest.mark.parametrize("twice", MAKING)
def test_a_step_of_making_runs_twice_when_something_fails(twice: str, town: World) -> None:
    """A refused disk is refused once: the second run knows it from the rows, and removes nothing that is good."""
    request_id, job = ordered(town, allow_partial=True)
    backup = town.scalar("SELECT id FROM broker.resource WHERE request_id = :r AND name = 'backup'", r=request_id)
    faults.inject(town.clouds_url, Fault("jyt", "create", Kind.VOLUME, Mode.REFUSE, object_id=backup))
    first, second = run(town, job, MAKING, twice)
    assert first == second
    assert town.request(request_id).state == "partly_delivered"
    road.decide_all(town, request_id, Action.GIVE_UP)
    road.walk(town)
    finish(town, request_id)


@pytest.mark.parametrize("late", MAKING)
def test_a_step_that_comes_after_everything_finds_nothing_to_do(late: str, town: World) -> None:
    """A worker that was thought dead wakes up when all is handed over: its step harms nothing."""
    request_id, job = ordered(town)
    run(town, job, MAKING, "")
    before = memory(town)
    MAKING[late](town.app.tools(), job)
    assert memory(town) == before
    finish(town, request_id)


@pytest.mark.parametrize("late", [*MAKING, "undo"])
def test_an_undo_runs_twice_and_nothing_comes_back_after_it(late: str, town: World) -> None:
    """After the undo neither an undo nor a late step makes anything again."""
    request_id, job = ordered(town)
    backup = town.scalar("SELECT id FROM broker.resource WHERE request_id = :r AND name = 'backup'", r=request_id)
    faults.inject(town.clouds_url, Fault("jyt", "create", Kind.VOLUME, Mode.REFUSE, object_id=backup))
    run(town, job, MAKING, "")
    road.decide_all(town, request_id, Action.GIVE_UP)
    again = job_of(town, "fulfil")
    assert begin.pin_hold(town.app.tools(), again).undo
    first, second = run(town, again, UNDOING, "undo")
    assert first == second == "undone"
    before = memory(town)
    for step_job in (job, again):
        (MAKING | UNDOING)[late](town.app.tools(), step_job)
    assert memory(town) == before
    assert slate.in_the_clouds(town) == {}
    slate.check(town)


@pytest.mark.parametrize("twice", RELEASING)
def test_a_step_of_releasing_runs_twice(twice: str, town: World) -> None:
    """Read once, deleted once, given back once; and once more when all is over."""
    request_id, job = ordered(town)
    run(town, job, MAKING, "")
    town.clock.forward(hours=1)
    road.release(town, request_id)
    release_job = job_of(town, "release")
    first, second = run(town, release_job, RELEASING, twice)
    assert first == second
    assert town.request(request_id).state == "released"
    before = memory(town)
    RELEASING[twice](town.app.tools(), release_job)
    assert memory(town) == before
    slate.check(town)


def test_a_look_in_place_that_has_taken_its_time_calls_no_cloud_any_more(town: World) -> None:
    """It asks for the attempt that beats, which makes everything; the same when something is taken back."""
    request_id, job = ordered(town)
    tools, over = town.app.tools(), Pace(beat=lambda: None, in_place=True, deadline_s=-1)
    begin.pin_hold(tools, job)
    MAKING["create_project"](tools, job)
    with pytest.raises(TryAgainError, match=r"provider\.slow"):
        provision.create(tools, job, "segment", over)
    assert slate.in_the_clouds(town) == {}
    run(town, job, MAKING, "")
    town.clock.forward(hours=1)
    road.release(town, request_id)
    release_job = job_of(town, "release")
    release_steps.last_reading(tools, release_job)
    there = slate.in_the_clouds(town)
    with pytest.raises(TryAgainError, match=r"provider\.slow"):
        release_steps.delete(tools, release_job, over)
    assert slate.in_the_clouds(town) == there
    run(town, release_job, RELEASING, "")
    slate.check(town)


def finish(world: World, request_id: UUID) -> None:
    """Everything is in its place, and is taken back for the next test."""
    world.clock.forward(hours=1)
    slate.check(world)
    road.release(world, request_id)
    road.walk(world)
    assert world.request(request_id).state == "released"
    slate.check(world)
