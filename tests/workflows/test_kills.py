"""Kill -9 of the worker at every step: the road goes on after it, nothing is lost and nothing is twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import pytest

from broker.delivery.service import Action
from broker.workflows.steps import Steps
from tests.stories import road, slate
from tests.workflows.conftest import Workshops
from tests.workflows.harness import Workshop, prepare
from tests.workflows.killable_worker import IN_DATABASE

IN_CLOUD_POINTS = ("before", "acted_once", "acted", "done")
"""Before the step; after the cloud's first act; after all its acts, before our rows say so; before the engine knows."""
DATABASE_POINTS = ("before", "uncommitted", "done")


def points(*steps: str) -> list[tuple[str, str]]:
    return [(step, point) for step in steps for point in (DATABASE_POINTS if step in IN_DATABASE else IN_CLOUD_POINTS)]


MAKING = points(
    "pin_hold",
    "create_project",
    "create_segments",
    "create_volumes",
    "create_servers",
    "attach_volumes",
    "configure_guests",
    "hand_over",
)
CLEANING = points("undo_failed")
UNDOING = points("undo")
RELEASING = points("last_reading", "delete", "give_back")
WAYS = ("in-place", pytest.param("beating", marks=pytest.mark.kills))
"""Steps that are through at their first look, and steps that are not: these with `make test-kills`, which CI runs."""


@dataclass
class Aftermath:
    """What became of the requests, each of which met a kill, or more than one."""

    workshop: Workshop
    made: dict[tuple[str, str], UUID]
    cleaned: dict[tuple[str, str], UUID]
    undone: dict[tuple[str, str], UUID]
    released: dict[tuple[str, str], UUID]


@pytest.fixture(scope="module", params=WAYS)
def aftermath(request: pytest.FixtureRequest, workshops: Workshops) -> Aftermath:
    """All kills of the table in one world, one after the other; the next request is ordered when one has met its kill.

    So a kill also meets what is on its way of the requests before, which the engine brings back at about that time.
    """
    workshop = workshops(way=request.param)
    workshop.only("jyt")
    workshop.start_workers()
    made = {case: prepare(workshop) for case in MAKING}
    cleaned = {case: prepare(workshop, without_backup=True) for case in CLEANING}
    for case, request_id in (made | cleaned).items():
        kill(workshop, request_id, case, partial(road.order, workshop.world, request_id))
    workshop.settle([*made.values(), *cleaned.values()])
    slate.check(workshop.world, waiting=True)

    undone = dict(zip(UNDOING, cleaned.values(), strict=True))
    released = dict(zip(RELEASING, made.values(), strict=False))
    for case, request_id in undone.items():
        kill(workshop, request_id, case, partial(road.decide_all, workshop.world, request_id, Action.GIVE_UP))
    for case, request_id in released.items():
        kill(workshop, request_id, case, partial(road.release, workshop.world, request_id))
    workshop.settle([*undone.values(), *released.values()])
    workshop.stop_workers()
    slate.check(workshop.world)
    return Aftermath(workshop, made, cleaned, undone, released)


def kill(workshop: Workshop, request_id: UUID, case: tuple[str, str], begin: Callable[[], object]) -> None:
    """Set it in motion, and wait until its worker has died of it."""
    workshop.plan_kill(request_id, *case)
    begin()
    workshop.until(lambda: workshop.met(request_id, *case))


@pytest.mark.parametrize("case", MAKING, ids="-".join)
def test_a_kill_while_making_ends_delivered_once(case: tuple[str, str], aftermath: Aftermath) -> None:
    """After the restart the request is delivered, in one handover, without an operator, its servers configured."""
    world, request_id = aftermath.workshop.world, aftermath.made[case]
    assert aftermath.workshop.met(request_id, *case)
    assert world.scalar("SELECT count(*) FROM broker.handover WHERE request_id = :r", r=request_id) == 1
    assert world.scalar("SELECT count(*) FROM broker.desk_case WHERE request_id = :r", r=request_id) == 0
    addresses = "SELECT host(unnest(addresses)) AS a FROM broker.resource WHERE request_id = :r AND kind = 'server'"
    servers = {row.a for row in world.rows(addresses, r=request_id)}
    assert servers
    assert servers <= aftermath.workshop.configured()
    released = request_id in aftermath.released.values()
    assert world.request(request_id).state == ("released" if released else "delivered")


@pytest.mark.parametrize("case", CLEANING, ids="-".join)
def test_a_kill_while_cleaning_up_leaves_one_case(case: tuple[str, str], aftermath: Aftermath) -> None:
    """What failed is removed, and lies on the desk once, with its step and code."""
    workshop, request_id = aftermath.workshop, aftermath.cleaned[case]
    assert workshop.met(request_id, *case)
    cases = workshop.world.rows("SELECT step, code FROM broker.desk_case WHERE request_id = :r", r=request_id)
    assert [tuple(row) for row in cases] == [("create_volumes", "refused")]


@pytest.mark.parametrize("case", UNDOING, ids="-".join)
def test_a_kill_while_undoing_ends_undone(case: tuple[str, str], aftermath: Aftermath) -> None:
    """Nothing of it is left anywhere."""
    assert aftermath.workshop.met(aftermath.undone[case], *case)
    assert aftermath.workshop.world.request(aftermath.undone[case]).state == "undelivered"


@pytest.mark.parametrize("case", RELEASING, ids="-".join)
def test_a_kill_while_releasing_ends_released(case: tuple[str, str], aftermath: Aftermath) -> None:
    """Deleted, given back and closed, once."""
    assert aftermath.workshop.met(aftermath.released[case], *case)
    assert aftermath.workshop.world.request(aftermath.released[case]).state == "released"


def test_the_table_holds_every_step() -> None:
    """No step of delivery or of release without its kills; those on routers meet theirs in tests/extranet."""
    steps = {step for step, _ in MAKING + CLEANING + UNDOING + RELEASING}
    all_steps = {name for name in vars(Steps) if hasattr(getattr(Steps, name), "__temporal_activity_definition")}
    tells_of_breakdowns, on_routers = "break_off", {"route_segments", "verify_segments"}
    assert steps == all_steps - {tells_of_breakdowns} - on_routers
