"""No more than a share of a unit's or a cloud's resources is suspended at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from broker.reclamation import cases
from broker.reclamation.values import Cause
from tests.stories import reclaim, road, slate
from tests.stories.conftest import Databases
from tests.stories.world import make_world


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
        world.app.close()
