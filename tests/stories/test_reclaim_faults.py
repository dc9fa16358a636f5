"""Clouds that refuse, fail or answer late at each step of a case: no case is stuck, nothing is done twice."""

from __future__ import annotations

import pytest

from broker.reclamation import cases
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import reclaim, road, slate
from tests.stories.world import World


@pytest.fixture
def world(reclaiming: World) -> World:
    return reclaiming


STEPS = [
    ("stop_servers", "power", Kind.SERVER, "suspending"),
    ("keep_snapshots", "create", Kind.SNAPSHOT, "suspending"),
    ("start_servers", "power", Kind.SERVER, "resuming"),
    ("drop_snapshots", "delete", Kind.SNAPSHOT, "resuming"),
    ("delete", "delete", Kind.SERVER, "releasing"),
    ("drop_snapshots", "delete", Kind.SNAPSHOT, "releasing"),
]


@pytest.mark.parametrize(("step", "verb", "kind", "stage"), STEPS)
def test_what_a_cloud_refuses_is_on_the_desk_and_goes_on_when_retried(
    step: str, verb: str, kind: Kind, stage: str, world: World
) -> None:
    """No case stuck: the operator reads step and code, and one word carries it to its end."""
    case_id = reclaim.up_to(world, stage)
    faults.inject(world.clouds_url, Fault("jyt", verb, kind, Mode.REFUSE))
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble_step, row.trouble) == (stage, step, "refused")
    assert road.case_jobs(world) == [], "not begun again behind everybody's back"
    with world.acting("deliver.jyt") as work:
        cases.retry(work, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == reclaim.ENDS[stage]
    slate.check(world)


@pytest.mark.parametrize(("step", "verb", "kind", "stage"), STEPS)
def test_faults_that_pass_are_not_noticed(step: str, verb: str, kind: Kind, stage: str, world: World) -> None:
    """Unavailable, too many calls, an answer lost, one after the other: no operator is needed, nothing is twice."""
    case_id = reclaim.up_to(world, stage)
    for after, mode in enumerate((Mode.HTTP_5XX, Mode.RATE_LIMIT, Mode.TIMEOUT_AFTER_DONE)):
        faults.inject(world.clouds_url, Fault("jyt", verb, kind, mode, after=after))
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble) == (reclaim.ENDS[stage], None), step
    slate.check(world)


@pytest.mark.parametrize(("verb", "kind"), [("power", Kind.SERVER), ("create", Kind.SNAPSHOT)])
def test_what_is_done_late_is_done_once(verb: str, kind: Kind, world: World) -> None:
    """An order that was answered by silence and acts later leaves one stopped server and one snapshot."""
    case_id = reclaim.up_to(world, "suspending")
    faults.inject(world.clouds_url, Fault("jyt", verb, kind, Mode.LATE))
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    slate.check(world)


def test_what_could_not_be_stopped_is_started_again(world: World) -> None:
    """A suspension that got stuck half-way can be undone as well."""
    case_id = reclaim.up_to(world, "suspending")
    assert reclaim.refusal(world, "deliver.jyt", cases.resume, case_id, reason="撤销") == "reclaim.state"
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.SNAPSHOT, Mode.REFUSE))
    road.walk(world)
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="撤销")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    slate.check(world)
