"""In use again: dropped before it is stopped, spared before it is deleted, at every step between."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from sqlalchemy import text, update

from broker.reclamation import case_steps, cases, watched
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import Cause
from broker.utilisation import findings, policy_words
from broker.utilisation.findings import Day, FindingKind, Seen
from broker.utilisation.policy_file import parse_policies
from providers.contract import Key, Kind, Status
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import reclaim, road, slate
from tests.stories.world import World


@pytest.fixture
def world(reclaiming: World) -> World:
    return reclaiming


def test_in_use_again_it_is_dropped(world: World, tmp_path: Path) -> None:
    """One busy day since the notice, and nothing is stopped."""
    _, case_id, (server, _) = reclaim.noticed(world)
    row = reclaim.case(world, case_id)
    days = reclaim.days_from(row.noticed_at, row.due_at, 1.0)
    reclaim.measure(world, server, [*days[:-2], (days[-2][0], 60.0), days[-1]], tmp_path)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.ACTIVE
    assert "operator" in reclaim.told(world, "reclaim.in_use")


def test_a_day_that_is_not_over_is_waited_for_and_drops_nothing(world: World, tmp_path: Path) -> None:
    """Busy this morning, idle by the policy every whole day (a nightly backup): looked at tomorrow, then it goes on.

    Once it is stopped there is nothing to wait for: what was busy on the very day of its deletion is not deleted.
    """
    _, case_id, (server, _) = reclaim.noticed(world)
    row = reclaim.case(world, case_id)
    *days, today = reclaim.days_from(row.noticed_at, row.due_at, 1.0)
    reclaim.measure(world, server, [*days, (today[0], 20.0)], tmp_path)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for) == ("noticed", "today")
    world.clock.now = row.look_at
    idle = [(today[0] + timedelta(hours=h), 1.0) for h in (1, 2, 3, 4, 5, 6)]  # the whole day's mean is below 5
    tomorrow = world.clock().replace(hour=4, minute=0)
    reclaim.measure(world, server, [*idle, (tomorrow, 20.0)], tmp_path)
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    morning = (reclaim.case(world, case_id).keep_until + timedelta(days=1)).replace(hour=2, minute=0)
    world.clock.now = morning + timedelta(hours=6)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    reclaim.measure(world, server, [(morning + timedelta(hours=h), 90.0) for h in range(3)], tmp_path)
    reclaim.confirm(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for, row.confirmed_by) == ("suspended", "in_use", None)
    assert reclaim.status(world, server) is Status.STOPPED


def test_a_gap_is_not_in_use_again(world: World, tmp_path: Path) -> None:
    """Detection let it go, one day was not measured, on one the metric was missing: each day that tells is idle."""
    request_id = reclaim.delivered(world)
    server = reclaim.servers(world, request_id)[0]
    with world.app.works.begin() as work:
        day = work.now.date()
        seen = Seen(server.id, FindingKind.IDLE, "idle-server", "", day, day, 1, (), None, ripe=True)
        findings.record(work, Day(day, "t"), [seen], {}, {})
        (finding,) = findings.current(work.session, resources=[server.id])
    case_id = reclaim.open_case(world, server.id, finding_id=finding.id, grace={1: 10, 2: 10, 3: 10})
    reclaim.days_come(world)
    with world.app.works.begin() as work:
        rows = {key: row for key, row in findings.still_open(work.session).items() if key[0] == server.id}
        findings.record(work, Day(day, "t"), [], dict.fromkeys(rows, "in_use"), rows)
    row = reclaim.case(world, case_id)
    days = reclaim.days_from(row.noticed_at, row.due_at, 1.0)
    assert len(days) > 3
    told: list[tuple[datetime, float | None]] = [*days[:1], (days[1][0], None), *days[3:]]
    reclaim.measure(world, server, told, tmp_path)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"


def test_a_window_that_was_hardly_measured_proves_nothing(world: World, tmp_path: Path) -> None:
    """The collector was down but for one idle day, or has been for two days: nobody knows, nothing is stopped."""
    for pick in (slice(-4, -3), slice(0, -2)):
        _, case_id, (server, _) = reclaim.noticed(world, grace={1: 15, 2: 15, 3: 15})
        row = reclaim.case(world, case_id)
        reclaim.measure(world, server, reclaim.days_from(row.noticed_at, row.due_at, 1.0)[pick], tmp_path)
        reclaim.pass_the_window(world, case_id)
        road.walk(world)
        assert (reclaim.state(world, case_id), reclaim.case(world, case_id).waits_for) == ("noticed", "unmeasured")
        assert reclaim.status(world, server) is Status.ACTIVE


@pytest.mark.parametrize("cause", [Cause.PERSON, Cause.ZOMBIE])
def test_what_a_person_decided_is_dropped_too_when_it_is_at_work(world: World, tmp_path: Path, cause: Cause) -> None:
    """Without samples the decision stands; with a day of work it does not."""
    _, case_id, (server, _) = reclaim.noticed(world, cause=cause)
    row = reclaim.case(world, case_id)
    reclaim.measure(world, server, reclaim.days_from(row.noticed_at, row.due_at, 85.0), tmp_path)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.ACTIVE


@pytest.mark.parametrize("cause", [Cause.PERSON, Cause.TERM])
def test_used_in_the_time_it_was_kept_it_is_not_deleted(world: World, tmp_path: Path, cause: Cause) -> None:
    """Whatever it is taken back for, a term too: started at its cloud, at work, switched off at the last minute."""
    _, case_id, (server, _) = reclaim.suspended(world, cause=cause)
    row = reclaim.case(world, case_id)
    world.clock.now = row.keep_until + timedelta(seconds=1)
    days = reclaim.days_from(row.suspended_at, world.clock() - timedelta(days=2), 85.0)
    reclaim.measure(world, server, days, tmp_path)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    reclaim.confirm(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for, row.confirmed_by) == ("suspended", "in_use", None)
    assert reclaim.status(world, server) is Status.STOPPED


def test_unmeasured_nothing_is_stopped_until_somebody_vouches(world: World) -> None:
    """No samples is no proof: it waits, is looked at once a day, and an operator may vouch for it with a reason."""
    _, case_id, (server, _) = reclaim.noticed(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for) == ("noticed", "unmeasured")
    reclaim.days_come(world)
    assert reclaim.state(world, case_id) == "noticed", "not looked at again at once"
    for _ in range(2):
        world.clock.now = reclaim.case(world, case_id).look_at
        assert reclaim.days_come(world)
        road.walk(world)
    assert reclaim.case(world, case_id).waits_for == "unmeasured"
    acts = world.rows("SELECT event FROM broker.reclaim_act WHERE case_id = :c ORDER BY id", c=case_id)
    assert [act.event for act in acts] == ["open", "notify", "fall_due", "wait"], "written once"
    assert reclaim.refusal(world, "deliver.jyt", cases.waive, case_id, reason=" ") == "reason.missing"
    with world.acting("deliver.jyt") as work:
        cases.waive(work, case_id, reason="电话核实已停用")
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    assert reclaim.status(world, server) is Status.STOPPED


def test_nothing_is_deleted_that_runs_again(world: World) -> None:
    """Somebody started the server behind our back: the release goes back, its confirmation is void."""
    _, case_id, (server, _) = reclaim.proposed(world)
    world.app.providers("jyt").power(Key(Kind.SERVER, server.id, server.project_id), on=True)
    reclaim.confirm(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for, row.confirmed_by, row.proposed_by) == ("suspended", "in_use", None, None)
    assert reclaim.status(world, server) is Status.ACTIVE
    assert reclaim.told(world, "reclaim.running_again") == {"operator"}
    assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "active", True), "charged since it was seen running"
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="重新启用")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    slate.check(world)


def test_vouching_is_no_answer_to_a_measurement(world: World, tmp_path: Path) -> None:
    """An operator vouches for what nobody measures; what is measured at work after that is dropped all the same."""
    _, case_id, (server, _) = reclaim.noticed(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    with world.acting("deliver.jyt") as work:
        cases.waive(work, case_id, reason="电话核实已停用")
    row = reclaim.case(world, case_id)
    reclaim.measure(world, server, reclaim.days_from(row.noticed_at, world.clock(), 60.0), tmp_path)
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.ACTIVE


def test_in_use_again_before_a_second_try_what_was_stopped_runs_on(world: World, tmp_path: Path) -> None:
    """Admitted, stuck at the cloud, tried again weeks later: by then it is busy, and nothing stays suspended."""
    _, case_id, (server, _) = reclaim.noticed(world)
    row = reclaim.case(world, case_id)
    reclaim.measure(world, server, reclaim.days_from(row.noticed_at, row.due_at, 1.0), tmp_path)
    reclaim.pass_the_window(world, case_id)
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.SNAPSHOT, Mode.REFUSE))
    road.walk(world)
    assert reclaim.case(world, case_id).trouble_step == "keep_snapshots"
    began = world.clock()
    world.app.providers("jyt").power(Key(Kind.SERVER, server.id, server.project_id), on=True)
    world.clock.forward(days=20)
    reclaim.measure(world, server, reclaim.days_from(began, world.clock(), 60.0), tmp_path)
    with world.acting("deliver.jyt") as work:
        cases.retry(work, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "resuming"
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.ACTIVE
    assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "active", True)
    slate.check(world)


def measured_and_proposed(world: World, folder: Path) -> tuple[UUID, Any]:
    """A case by samples, suspended, kept, and proposed for release."""
    _, case_id, (server, _) = reclaim.noticed(world)
    row = reclaim.case(world, case_id)
    reclaim.measure(world, server, reclaim.days_from(row.noticed_at, row.due_at, 1.0), folder)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    world.clock.now = reclaim.case(world, case_id).keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    return case_id, server


def test_a_stopped_server_that_is_measured_as_stopped_is_deleted(world: World, tmp_path: Path) -> None:
    """A policy may ask for a little work (above 0.1 %); a server that stands still does none, and is not in use."""
    asking = reclaim.POLICY.replace("below: 5", "below: 5, above: 0.1")
    case_id, server = measured_and_proposed(world, tmp_path)
    since = reclaim.case(world, case_id).suspended_at
    reclaim.measure(world, server, reclaim.days_from(since, world.clock(), 0.0), tmp_path)
    kept = policy_words.written(parse_policies(yaml.safe_load(asking)).policies[0])
    with world.app.sessions.begin() as session:
        session.execute(update(ReclaimCase).where(ReclaimCase.id == case_id).values(policy_content=kept))
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "released"


def test_what_was_used_since_it_was_suspended_is_not_deleted(world: World, tmp_path: Path) -> None:
    """Somebody started it behind our back, worked with it, and stopped it again: its samples know."""
    case_id, server = measured_and_proposed(world, tmp_path)
    since = reclaim.case(world, case_id).suspended_at
    reclaim.measure(world, server, reclaim.days_from(since + timedelta(days=9), world.clock(), 70.0)[:2], tmp_path)
    reclaim.confirm(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for, row.confirmed_by) == ("suspended", "in_use", None)
    assert reclaim.status(world, server) is Status.STOPPED
    slate.check(world)


def test_started_between_the_last_look_and_the_deletion_it_is_not_deleted(world: World) -> None:
    """The worker was down for a week between two steps: it looks again, and metering goes on as if never ended."""
    _, case_id, (server, _) = reclaim.proposed(world)
    reclaim.confirm(world, case_id)
    job, tools = road.case_jobs(world)[0].job, world.app.tools()
    assert road.patiently(case_steps.look_before_deleting, tools, job)
    assert case_steps.last_reading(tools, job)
    world.app.providers("jyt").power(Key(Kind.SERVER, server.id, server.project_id), on=True)
    world.clock.forward(days=7)
    assert not road.patiently(case_steps.delete, tools, job)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for, row.confirmed_by) == ("suspended", "in_use", None)
    assert reclaim.status(world, server) is Status.ACTIVE
    slate.check(world)
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="重新启用")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "active", True)
    slate.check(world)


def test_a_case_of_a_unit_that_has_ended_reaches_the_authorities(world: World) -> None:
    """Nobody hears a notice to a unit that is no more: the Bureau and the operator are told, once, and see it."""
    _, case_id, _ = reclaim.noticed(world)
    unit_id = reclaim.case(world, case_id).unit_id
    [own] = world.rows("SELECT id, during FROM broker.unit_period WHERE unit_id = :u AND upper_inf(during)", u=unit_id)
    ends = text("UPDATE broker.unit_period SET during = tstzrange(lower(during), :at) WHERE id = :i")
    with world.app.sessions.begin() as session:
        session.execute(ends, {"i": own.id, "at": world.clock()})
    world.clock.forward(minutes=1)
    reclaim.days_come(world)
    reclaim.days_come(world)
    told = "SELECT role FROM broker.notice WHERE code = 'reclaim.unheard' AND subject_id = :c ORDER BY role"
    assert [r.role for r in world.rows(told, c=case_id)] == ["approver", "operator"]
    for who in ("approve.jyt", "deliver.jyt"):
        with world.acting(who) as work:
            assert case_id in [case.id for case, why in watched.desk(work) if "unheard" in why]
    with world.app.sessions.begin() as session:  # the module's other tests need it
        session.execute(text("UPDATE broker.unit_period SET during = :d WHERE id = :i"), {"d": own.during, "i": own.id})
