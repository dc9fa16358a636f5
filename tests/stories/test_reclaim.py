"""Reclaiming, step by step: a hearing in working days, then measured again, nothing deleted in use."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from broker.delivery.reconcile import reconcile
from broker.errors import Conflict, Forbidden, Invalid, NotFound
from broker.reclamation import cases, report
from broker.reclamation.values import Cause
from providers.contract import Status
from tests.stories import reclaim, road, slate
from tests.stories.world import World


@pytest.fixture
def world(reclaiming: World) -> World:
    return reclaiming


def test_the_whole_road(world: World, tmp_path: Path) -> None:
    """Found, told, idle all the while, stopped, kept, proposed, confirmed by a second person, gone: nothing left."""
    request_id, case_id, (idle, busy) = reclaim.noticed(world)
    assert reclaim.state(world, case_id) == "noticed"
    assert reclaim.told(world, "reclaim.noticed_idle") == {"applicant", "cloud_chief"}
    row = reclaim.case(world, case_id)
    assert row.due_at == world.app.calendar.deadline(row.noticed_at, row.grace_workdays).at
    reclaim.measure(world, idle, reclaim.days_from(row.noticed_at, row.due_at, 1.0), tmp_path)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    assert reclaim.status(world, idle) is Status.STOPPED
    assert reclaim.status(world, busy) is Status.ACTIVE
    assert reclaim.spans(world, idle.id) == [("memory_gib", "active", False), ("memory_gib", "stopped", True)]
    assert reconcile(world.app.tools(), "jyt") == []
    slate.check(world)

    assert reclaim.refusal(world, "deliver.jyt", cases.propose, case_id, reason="期满") == "reclaim.kept"
    world.clock.now = reclaim.case(world, case_id).keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    assert reclaim.refusal(world, "deliver.jyt", cases.confirm, case_id) == "duty.separated"
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "released"
    assert reclaim.status(world, idle) is None
    assert reclaim.spans(world, idle.id)[-1] == ("memory_gib", "stopped", False)
    disks = world.rows("SELECT state FROM broker.resource WHERE server_id = :s", s=idle.id)
    assert [d.state for d in disks] == ["released"]
    assert world.request(request_id).state == "delivered", "the other server is still the unit's"
    slate.check(world)

    with world.acting("chief.jyt") as work:
        [line] = [r for r in report.taken_back(work) if r.month == f"{world.clock():%Y-%m}"]
    sizes = (line.sub_cloud, line.cases, line.resources, line.vcpu, line.memory_gib, line.segments)
    assert sizes == ("jyt", 1, 2, 2, 4, 0)
    assert line.monthly_fen > 0
    assert line.block_gib > 10, "the system disk and the data disk"
    dearer_from(world, world.clock() + timedelta(days=40))
    world.clock.forward(days=60)
    with world.acting("chief.jyt") as work:
        assert [r for r in report.taken_back(work) if r.month == line.month] == [line], "as dear as it was then"

    acts = [
        r.event for r in world.rows("SELECT event FROM broker.reclaim_act WHERE case_id = :c ORDER BY id", c=case_id)
    ]
    assert acts == ["open", "notify", "fall_due", "admit", "stop", "propose", "confirm", "release"]


def dearer_from(world: World, at: datetime) -> None:
    """All prices are doubled from an instant on."""
    kept = "side, meter, sub_cloud_id, operator, unit_class, term_months, per, version, source"
    with world.app.sessions.begin() as session:
        ended = (
            "UPDATE broker.tariff_price SET during = tstzrange(lower(during), :at) "
            f"WHERE during @> CAST(:at AS timestamptz) RETURNING {kept}, price_cny"
        )
        begun = f"INSERT INTO broker.tariff_price (id, during, {kept}, price_cny)"
        new = f"SELECT gen_random_uuid(), tstzrange(:at, NULL), {kept}, 2 * price_cny FROM ended"
        session.execute(text(f"WITH ended AS ({ended}) {begun} {new}"), {"at": at})


def test_requests_of_which_nothing_is_left_are_closed(world: World) -> None:
    """The last resources of two requests go in one case: both are released without having been asked."""
    requests = [reclaim.delivered(world), reclaim.delivered(world)]
    resources = world.rows("SELECT id FROM broker.resource WHERE request_id = ANY (:r)", r=requests)
    case_id = reclaim.open_case(world, *(r.id for r in resources), cause=Cause.PERSON, who="deliver.jyt")
    reclaim.days_come(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    world.clock.now = reclaim.case(world, case_id).keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert [world.request(request_id).state for request_id in requests] == ["released", "released"]
    states = world.rows("SELECT DISTINCT state FROM broker.request_item WHERE request_id = ANY (:r)", r=requests)
    assert [row.state for row in states] == ["released"]
    slate.check(world)


def test_a_unit_that_gives_back_itself_ends_the_case(world: World) -> None:
    """Before anything is stopped its own release takes the place of the case; after that the case goes first."""
    request_id, case_id, _ = reclaim.noticed(world)
    road.release(world, request_id)
    assert reclaim.state(world, case_id) == "given_back"
    road.walk(world)
    assert world.request(request_id).state == "released"
    other, _, _ = reclaim.suspended(world)
    with pytest.raises(Conflict, match=r"reclaim\.state"):
        road.release(world, other)
    slate.check(world)


def test_a_resource_is_in_one_case_at_a_time(world: World) -> None:
    """Nor in a case while its unit is giving it back."""
    request_id, _, (server, other) = reclaim.noticed(world)
    with pytest.raises(Conflict, match=r"reclaim\.case_open"):
        reclaim.open_case(world, server.id)
    with pytest.raises(NotFound):
        reclaim.open_case(world, UUID(int=5))
    with pytest.raises(Forbidden):
        reclaim.open_case(world, other.id, who="approve.jyt")
    road.release(world, request_id)
    with pytest.raises(Conflict, match=r"reclaim\.release_open"):
        reclaim.open_case(world, other.id)
    road.walk(world)
    with pytest.raises(Invalid) as refused:
        reclaim.open_case(world, other.id)
    assert [p.code for p in refused.value.problems] == ["reclaim.not_live"]


def test_a_disk_by_itself_is_taken_back_too(world: World) -> None:
    """A volume that hangs on nothing: nothing to stop, the same hearing, the same two people."""
    items = [{"kind": "volume", "name": "alone", "size_gib": 20, "block_class": "hdd"}]
    request_id = reclaim.delivered(world, items=items)
    disk = world.rows("SELECT id FROM broker.resource WHERE request_id = :r", r=request_id)[0]
    case_id = reclaim.open_case(world, disk.id, cause=Cause.PERSON)
    reclaim.days_come(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    world.clock.now = reclaim.case(world, case_id).keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert world.request(request_id).state == "released"
    slate.check(world)
