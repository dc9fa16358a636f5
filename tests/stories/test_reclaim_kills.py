"""A worker that dies at every point of every act of a case: what it had committed is enough to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from broker.delivery.tools import Tools
from broker.reclamation import cases
from broker.reclamation.values import Cause
from broker.tenancy.work import Work
from broker.workflows.case_steps import CaseSteps
from broker.workflows.worker import all_steps
from tests.stories import reclaim, road, slate
from tests.stories.world import World


class KilledError(BaseException):
    """What kill -9 leaves of a call: nothing is caught, the open transaction is rolled back."""


@dataclass
class Fuse:
    """Dies at the n-th point that it passes."""

    left: int

    def at_a_point(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KilledError


class DyingProvider:
    """A provider whose caller may die before and right after each call."""

    def __init__(self, provider: Any, fuse: Fuse) -> None:
        self._provider, self._fuse = provider, fuse
        self.capabilities = provider.capabilities

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self._fuse.at_a_point()
            answer = getattr(self._provider, name)(*arguments, **named)
            self._fuse.at_a_point()
            return answer

        return call


class DyingWorks:
    """Transactions whose process may die before them, just before the commit and just after it."""

    def __init__(self, works: Any, fuse: Fuse) -> None:
        self._works, self._fuse = works, fuse

    @contextmanager
    def begin(self, *arguments: Any, **named: Any) -> Iterator[Work]:
        self._fuse.at_a_point()
        with self._works.begin(*arguments, **named) as work:
            yield work
            work.session.flush()
            self._fuse.at_a_point()
        self._fuse.at_a_point()


def dying(world: World, fuse: Fuse) -> Tools:
    tools = world.app.tools()
    works: Any = DyingWorks(tools.works, fuse)
    return replace(tools, works=works, providers=lambda code: DyingProvider(tools.providers(code), fuse))


def resume(world: World) -> Any:
    _, case_id, _ = reclaim.suspended(world)
    with world.acting("approve.jyt") as work:
        cases.resume(work, case_id, reason="业务恢复")
    return case_id


def suspend(world: World) -> Any:
    _, case_id, _ = reclaim.noticed(world, cause=Cause.PERSON)
    reclaim.pass_the_window(world, case_id)
    return case_id


def take_back(world: World) -> Any:
    _, case_id, _ = reclaim.proposed(world)
    reclaim.confirm(world, case_id)
    return case_id


@pytest.mark.parametrize(
    ("begin", "end", "least"), [(suspend, "suspended", 20), (resume, "dropped", 15), (take_back, "released", 25)]
)
def test_a_worker_that_dies_at_every_point(begin: Callable[[World], Any], end: str, least: int, world: World) -> None:
    """Each worker gets one point further than the last before it dies; the case comes to its end, nothing twice."""
    case_id = begin(world)
    deaths = 0
    while cases_left := road.case_jobs(world):
        tools = dying(world, Fuse(deaths + 1))
        try:
            road.CASE_ACTS[cases_left[0].kind](world, cases_left[0].job, tools)
        except KilledError:
            deaths += 1
    assert reclaim.state(world, case_id) == end
    assert deaths >= least
    assert reclaim.case(world, case_id).trouble is None
    slate.check(world)


def test_every_step_is_walked() -> None:
    """The acts of the stories call the very steps that the workflows do, none left out."""
    steps = {step.__name__ for step in all_steps(CaseSteps(None))}  # type: ignore[arg-type]
    assert steps == {
        "measure_again", "stop_servers", "keep_snapshots", "suspended", "start_servers", "drop_snapshots", "resumed",
        "look_before_deleting", "case_last_reading", "case_delete", "case_give_back", "break_case_off",
    }  # fmt: skip
