"""Reclaiming, step by step: a hearing in working days, every step undone until the last, nothing deleted in use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import CheckViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from broker.delivery.reconcile import reconcile
from broker.errors import BrokerError, Conflict, Forbidden, Invalid, NotFound
from broker.metering import service as metering
from broker.reclamation import cases, report
from broker.reclamation.values import Answer, Cause, Decision
from providers.contract import Key, Kind, Status
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import reclaim, road, slate
from tests.stories.conftest import Databases
from tests.stories.world import World, make_world


@pytest.fixture(scope="module")
def shared(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One world for the module: each test makes a request of its own. A policy file of ours; the share is wide."""
    home = tmp_path_factory.mktemp("reclaim")
    (home / "policies.yaml").write_text(reclaim.POLICY)
    with databases() as (region, simulated):
        made = make_world(
            region, simulated, home, idle_policy_file=home / "policies.yaml", reclaim_unit_percent=100,
            reclaim_cloud_percent=100,
        )  # fmt: skip
        yield made
        made.app.close()


@pytest.fixture
def world(shared: World) -> World:
    faults.clear(shared.clouds_url)
    shared.ask_health()
    return shared


def refusal(world: World, who: str, act: Callable[..., object], *args: Any, **named: Any) -> str:
    with pytest.raises(BrokerError) as refused, world.acting(who) as work:
        act(work, *args, **named)
    return refused.value.problems[0].code if isinstance(refused.value, Invalid) else refused.value.code


def spans(world: World, resource_id: UUID) -> list[tuple[str, str, bool]]:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    with world.app.sessions() as session:
        found = metering.spans(session, start=start, end=end, resource_ids=[resource_id])
    return [(s.meter, s.state, s.open) for s in found if s.meter == "memory_gib"]


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
    assert spans(world, idle.id) == [("memory_gib", "active", False), ("memory_gib", "stopped", True)]
    assert reconcile(world.app.tools(), "jyt") == []
    slate.check(world)

    assert refusal(world, "deliver.jyt", cases.propose, case_id, reason="期满") == "reclaim.kept"
    world.clock.now = reclaim.case(world, case_id).keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    assert refusal(world, "deliver.jyt", cases.confirm, case_id) == "duty.separated"
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "released"
    assert reclaim.status(world, idle) is None
    assert spans(world, idle.id)[-1] == ("memory_gib", "stopped", False)
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

    acts = [
        r.event for r in world.rows("SELECT event FROM broker.reclaim_act WHERE case_id = :c ORDER BY id", c=case_id)
    ]
    assert acts == ["open", "notify", "fall_due", "admit", "stop", "propose", "confirm", "release"]


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


def test_in_use_again_it_is_dropped(world: World, tmp_path: Path) -> None:
    """One busy day since the notice, and nothing is stopped."""
    _, case_id, (server, _) = reclaim.noticed(world)
    row = reclaim.case(world, case_id)
    days = reclaim.days_from(row.noticed_at, row.due_at, 1.0)
    reclaim.measure(world, server, [*days[:-1], (days[-1][0], 60.0)], tmp_path)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.ACTIVE
    assert "operator" in reclaim.told(world, "reclaim.in_use")


def test_unmeasured_nothing_is_stopped_until_somebody_vouches(world: World) -> None:
    """No samples is no proof: it waits, is looked at once a day, and an operator may vouch for it with a reason."""
    _, case_id, (server, _) = reclaim.noticed(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for) == ("noticed", "unmeasured")
    reclaim.days_come(world)
    assert reclaim.state(world, case_id) == "noticed", "not looked at again at once"
    assert refusal(world, "deliver.jyt", cases.waive, case_id, reason=" ") == "reason.missing"
    with world.acting("deliver.jyt") as work:
        cases.waive(work, case_id, reason="电话核实已停用")
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    assert reclaim.status(world, server) is Status.STOPPED


def object_to(world: World, case_id: UUID, who: str = "apply.jyt") -> None:
    with world.acting(who) as work:
        cases.object_to(work, case_id, reason="月底集中使用")


def say(world: World, case_id: UUID, decision: Decision, who: str = "approve.jyt", **more: Any) -> None:
    with world.acting(who) as work:
        cases.answer(work, case_id, Answer(decision, "经核实", **more))


def test_an_accepted_objection_exempts_until_a_date(world: World) -> None:
    """The case ends; the resource is not taken up again before the date, and may be after it."""
    _, case_id, (server, _) = reclaim.noticed(world)
    object_to(world, case_id)
    until = world.clock() + timedelta(days=90)
    say(world, case_id, Decision.ACCEPT, until=until)
    assert reclaim.state(world, case_id) == "exempted"
    with pytest.raises(Conflict, match=r"reclaim\.exempt"):
        reclaim.open_case(world, server.id)
    world.clock.now = until + timedelta(seconds=1)
    world.ask_health()
    reclaim.open_case(world, server.id)


def test_a_refused_objection_gives_the_time_back_that_it_took(world: World) -> None:
    """The clock stands from the objection to the answer: office time, to the second."""
    _, case_id, _ = reclaim.noticed(world)
    before = reclaim.case(world, case_id).due_at
    world.clock.forward(hours=1)
    object_to(world, case_id)
    world.clock.now = before + timedelta(days=1)
    reclaim.days_come(world)
    assert reclaim.state(world, case_id) == "objected", "while it is not answered nothing falls due"
    began = world.rows("SELECT raised_at FROM broker.reclaim_objection WHERE case_id = :c", c=case_id)[0].raised_at
    say(world, case_id, Decision.REFUSE)
    row = reclaim.case(world, case_id)
    assert row.state == "noticed"
    stood = world.app.calendar.working_seconds_between(began, world.clock())
    assert world.app.calendar.working_seconds_between(before, row.due_at) == stood


def test_an_extended_window_is_longer_by_working_days(world: World) -> None:
    """And what was said in the objection cannot be answered twice."""
    _, case_id, _ = reclaim.noticed(world)
    row = reclaim.case(world, case_id)
    object_to(world, case_id)
    say(world, case_id, Decision.EXTEND, workdays=7)
    due = world.app.calendar.deadline(row.noticed_at, row.grace_workdays + 7).at
    assert reclaim.case(world, case_id).due_at == due
    assert (
        refusal(world, "approve.jyt", cases.answer, case_id, Answer(Decision.REFUSE, "再次")) == "reclaim.not_objected"
    )


def test_who_may_object_and_answer(world: World) -> None:
    """The unit's own people object; the deciding authority answers, completely; strangers do not even see it."""
    _, case_id, _ = reclaim.noticed(world)
    assert refusal(world, "deliver.jyt", cases.object_to, case_id, reason="我反对") == "duty.missing"
    assert refusal(world, "apply.wjw", cases.object_to, case_id, reason="我反对") == "reclaim.not_found"
    assert refusal(world, "apply.jyt", cases.object_to, case_id, reason="") == "reason.missing"
    object_to(world, case_id)
    bare = Answer(Decision.ACCEPT, " ")
    with pytest.raises(Invalid) as refused, world.acting("approve.jyt") as work:
        cases.answer(work, case_id, bare)
    assert {p.code for p in refused.value.problems} == {"reason.missing", "reclaim.until_missing"}
    too_much = Answer(Decision.EXTEND, "好", workdays=61)
    assert refusal(world, "approve.jyt", cases.answer, case_id, too_much) == "reclaim.workdays_range"
    assert refusal(world, "deliver.jyt", cases.answer, case_id, Answer(Decision.REFUSE, "不行")) == "duty.missing"
    assert reclaim.state(world, case_id) == "objected"


def test_suspended_servers_start_again(world: World) -> None:
    """An objection after the suspension is accepted: the servers that ran run again, charged in full; no snapshot."""
    _, case_id, (server, _) = reclaim.suspended(world)
    object_to(world, case_id)
    assert reclaim.state(world, case_id) == "contested"
    say(world, case_id, Decision.ACCEPT, until=world.clock() + timedelta(days=30))
    assert reclaim.state(world, case_id) == "resuming"
    road.walk(world)
    assert reclaim.state(world, case_id) == "exempted"
    assert reclaim.status(world, server) is Status.ACTIVE
    assert [s[1] for s in spans(world, server.id)] == ["active", "stopped", "active"]
    kept = world.rows("SELECT removed_at FROM broker.server_snapshot WHERE subject_id = :c", c=case_id)
    assert [row.removed_at for row in kept] == [world.clock()]
    slate.check(world)


def test_the_operator_undoes_a_proposed_release(world: World) -> None:
    """Until it is confirmed everything can be undone, by one person with a reason."""
    _, case_id, (server, _) = reclaim.proposed(world)
    assert refusal(world, "deliver.jyt", cases.resume, case_id, reason="") == "reason.missing"
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="业务恢复")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.ACTIVE
    slate.check(world)


def test_the_database_refuses_a_release_by_one_person(world: World) -> None:
    """Two people, whatever the code says."""
    _, case_id, _ = reclaim.proposed(world)
    for sql in (
        "UPDATE broker.reclaim_case SET confirmed_by = proposed_by WHERE id = :id",
        "UPDATE broker.reclaim_case SET state = 'releasing' WHERE id = :id",
    ):
        with pytest.raises(IntegrityError) as refused, world.app.sessions.begin() as session:
            session.execute(text(sql), {"id": case_id})
        assert isinstance(refused.value.orig, CheckViolation)


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
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="重新启用")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
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


STEPS = [
    ("stop_servers", "power", Kind.SERVER, "suspending"),
    ("keep_snapshots", "create", Kind.SNAPSHOT, "suspending"),
    ("start_servers", "power", Kind.SERVER, "resuming"),
    ("drop_snapshots", "delete", Kind.SNAPSHOT, "resuming"),
    ("delete", "delete", Kind.SERVER, "releasing"),
    ("drop_snapshots", "delete", Kind.SNAPSHOT, "releasing"),
]


def up_to(world: World, stage: str) -> UUID:
    """A case whose next act is the stage's."""
    if stage == "suspending":
        _, case_id, _ = reclaim.noticed(world, cause=Cause.PERSON)
        reclaim.pass_the_window(world, case_id)
    elif stage == "resuming":
        _, case_id, _ = reclaim.suspended(world)
        with world.acting("approve.jyt") as work:
            cases.resume(work, case_id, reason="业务恢复")
    else:
        _, case_id, _ = reclaim.proposed(world)
        reclaim.confirm(world, case_id)
    return case_id


ENDS = {"suspending": "suspended", "resuming": "dropped", "releasing": "released"}


@pytest.mark.parametrize(("step", "verb", "kind", "stage"), STEPS)
def test_what_a_cloud_refuses_is_on_the_desk_and_goes_on_when_retried(
    step: str, verb: str, kind: Kind, stage: str, world: World
) -> None:
    """No case stuck: the operator reads step and code, and one word carries it to its end."""
    case_id = up_to(world, stage)
    faults.inject(world.clouds_url, Fault("jyt", verb, kind, Mode.REFUSE))
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble_step, row.trouble) == (stage, step, "refused")
    assert road.case_jobs(world) == [], "not begun again behind everybody's back"
    with world.acting("deliver.jyt") as work:
        cases.retry(work, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == ENDS[stage]
    slate.check(world)


@pytest.mark.parametrize(("step", "verb", "kind", "stage"), STEPS)
def test_faults_that_pass_are_not_noticed(step: str, verb: str, kind: Kind, stage: str, world: World) -> None:
    """Unavailable, too many calls, an answer lost, one after the other: no operator is needed, nothing is twice."""
    case_id = up_to(world, stage)
    for after, mode in enumerate((Mode.HTTP_5XX, Mode.RATE_LIMIT, Mode.TIMEOUT_AFTER_DONE)):
        faults.inject(world.clouds_url, Fault("jyt", verb, kind, mode, after=after))
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble) == (ENDS[stage], None), step
    slate.check(world)


@pytest.mark.parametrize(("verb", "kind"), [("power", Kind.SERVER), ("create", Kind.SNAPSHOT)])
def test_what_is_done_late_is_done_once(verb: str, kind: Kind, world: World) -> None:
    """An order that was answered by silence and acts later leaves one stopped server and one snapshot."""
    case_id = up_to(world, "suspending")
    faults.inject(world.clouds_url, Fault("jyt", verb, kind, Mode.LATE))
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    slate.check(world)


def test_what_could_not_be_stopped_is_started_again(world: World) -> None:
    """A suspension that got stuck half-way can be undone as well."""
    case_id = up_to(world, "suspending")
    assert refusal(world, "deliver.jyt", cases.resume, case_id, reason="撤销") == "reclaim.state"
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.SNAPSHOT, Mode.REFUSE))
    road.walk(world)
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="撤销")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    slate.check(world)


def test_what_was_stopped_before_stays_so(world: World) -> None:
    """Resuming starts what ran, and nothing else."""
    request_id = reclaim.delivered(world)
    server = reclaim.servers(world, request_id)[0]
    key = Key(Kind.SERVER, server.id, server.project_id)
    world.app.providers("jyt").power(key, on=False)
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.resource SET state = 'stopped' WHERE id = :i"), {"i": server.id})
        session.execute(
            text("UPDATE broker.resource_period SET state = 'stopped' WHERE resource_id = :i"), {"i": server.id}
        )
    case_id = reclaim.open_case(world, server.id, cause=Cause.PERSON)
    reclaim.days_come(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    with world.acting("approve.jyt") as work:
        cases.resume(work, case_id, reason="保留")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.STOPPED
    slate.check(world)


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
