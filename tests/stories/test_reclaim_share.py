"""No more than a share of a unit's or a cloud's resources is suspended at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from broker.lifecycle import CASE_HOLDS, CaseState
from broker.reclamation import cases, rules
from broker.reclamation.values import Cause, Room
from providers.contract import Status
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
        a_case_larger_than_the_share_goes_in_parts(world)
        the_database_counts(world)
        world.app.close()


def a_case_larger_than_the_share_goes_in_parts(world: World) -> None:
    """Two servers in one case: one goes with its disk, the other waits with the same notice behind it."""
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.reclaim_case SET state = 'dropped'"))
        session.execute(text("UPDATE broker.reclaim_case_resource SET closed_at = now()"))
    servers = reclaim.servers(world, reclaim.delivered(world))
    case_id = reclaim.open_case(world, *(s.id for s in servers), cause=Cause.PERSON)
    reclaim.days_come(world)
    reclaim.pass_the_window(world, case_id)
    together = text(
        "UPDATE broker.reclaim_case SET state = 'suspending', admitted_at = :now, share_unit_percent = 10,"
        " share_cloud_percent = 10 WHERE id = :c"
    )
    with pytest.raises(IntegrityError, match="share of the"), world.app.sessions.begin() as session:
        session.execute(together, {"now": world.clock(), "c": case_id})
    road.walk(world)
    road.walk(world)
    assert [reclaim.status(world, s) for s in servers] == [Status.STOPPED, Status.ACTIVE]
    [rest] = world.rows("SELECT * FROM broker.reclaim_case WHERE split_from = :c", c=case_id)
    first = reclaim.case(world, case_id)
    assert (first.state, rest.state, rest.waits_for) == ("suspended", "noticed", "share_unit")
    assert (rest.noticed_at, rest.due_at, rest.reason) == (first.noticed_at, first.due_at, first.reason)
    assert {"applicant", "operator"} <= reclaim.told(world, "reclaim.split")
    with world.acting("approve.jyt") as work:
        cases.resume(work, case_id, reason="先恢复这一台")
    road.walk(world)
    world.clock.forward(hours=2)
    reclaim.days_come(world)
    road.walk(world)
    assert [reclaim.status(world, s) for s in servers] == [Status.ACTIVE, Status.STOPPED]
    assert reclaim.state(world, rest.id) == "suspended"
    slate.check(world)


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


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=20),
    shares=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8), st.integers(1, 100)), min_size=1, max_size=4),
)
def test_a_case_goes_in_parts_that_fit(sizes: list[int], shares: list[tuple[int, int, int]]) -> None:
    """Never more than every share allows but for one thing alone, as many as fit, and where nothing is held one."""
    rooms = [Room("unit", UUID(int=n), *share) for n, share in enumerate(shares)]

    def fits(count: int) -> bool:
        alone = count == 1
        return all(r.held + sum(sizes[:count]) <= r.allowed or (alone and not r.held) for r in rooms)

    count, scope = rules.first_part(sizes, rooms)
    assert count == max(n for n in range(len(sizes) + 1) if n == 0 or fits(n))
    assert (scope == "") == (count == len(sizes))
    assert count or any(r.held for r in rooms)


def test_the_database_knows_which_states_hold(reclaiming: World) -> None:
    """Its list is the lifecycle's."""
    for state in CaseState:
        assert reclaiming.scalar("SELECT broker.case_holds(:s)", s=state.value) is (state in CASE_HOLDS)
