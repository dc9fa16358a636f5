"""No more than a share of a unit's or a cloud's resources is suspended at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from broker.lifecycle import CASE_HOLDS, CaseState
from broker.reclamation import cases
from broker.reclamation.values import Cause
from tests.stories import reclaim, road, slate
from tests.stories.conftest import Databases
from tests.stories.world import World, make_world


def test_no_more_than_a_share_at_once(databases: Databases, tmp_path: Path) -> None:
    """Twenty servers found at once: the first case may go, the second waits for room, also when both come together."""
    with databases() as (region, simulated):
        world = make_world(region, simulated, tmp_path, reclaim_unit_percent=10, reclaim_cloud_percent=10)
        request_id = reclaim.delivered(world)  # two servers, two disks, a segment: a tenth of them is none
        made = [reclaim.open_case(world, s.id, cause=Cause.PERSON) for s in reclaim.servers(world, request_id)]
        reclaim.days_come(world)
        reclaim.pass_the_window(world, made[0])
        jobs = road.case_jobs(world)
        assert len(jobs) == 2
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda row: road.suspend(world, row.job), jobs))
        states = sorted(reclaim.state(world, c) for c in made)
        assert states == ["noticed", "suspended"]
        waiting = next(c for c in made if reclaim.state(world, c) == "noticed")
        going = next(c for c in made if c != waiting)
        assert reclaim.case(world, waiting).waits_for == "share_unit"
        with world.acting("approve.jyt") as work:
            cases.resume(work, going, reason="先恢复这一台")
        road.walk(world)
        world.clock.forward(hours=2)
        reclaim.days_come(world)
        road.walk(world)
        assert reclaim.state(world, waiting) == "suspended"
        slate.check(world)
        the_database_counts(world)
        world.app.close()


def the_database_counts(world: World) -> None:
    """Two processes admit a case each at once, without asking anybody: one is refused when the other has ended."""
    request_id = reclaim.delivered(world)
    made = [reclaim.open_case(world, s.id, cause=Cause.PERSON) for s in reclaim.servers(world, request_id)]
    admit = text(
        "UPDATE broker.reclaim_case SET state = 'suspending', admitted_at = :now, share_unit_percent = 10,"
        " share_cloud_percent = 10 WHERE id = :c"
    )
    bare = text("UPDATE broker.reclaim_case SET state = 'suspending' WHERE id = :c")
    with pytest.raises(IntegrityError, match="without a share"), world.app.sessions.begin() as session:
        session.execute(bare, {"c": made[0]})
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.reclaim_case SET state = 'dropped' WHERE NOT id = ANY(:m)"), {"m": made})

    def second() -> None:
        with pytest.raises(IntegrityError, match="share of the unit is full"), world.app.sessions.begin() as other:
            other.execute(admit, {"c": made[1], "now": world.clock()})

    with ThreadPoolExecutor(1) as pool:
        with world.app.sessions.begin() as first:
            first.execute(admit, {"c": made[0], "now": world.clock()})
            waiting = pool.submit(second)
            waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            while not first.scalar(waits):
                assert not waiting.done()
        waiting.result()


def test_the_database_knows_which_states_hold(reclaiming: World) -> None:
    """Its list is the lifecycle's."""
    for state in CaseState:
        assert reclaiming.scalar("SELECT broker.case_holds(:s)", s=state.value) is (state in CASE_HOLDS)
