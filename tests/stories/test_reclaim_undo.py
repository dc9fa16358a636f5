"""Every step is undone until the release, which takes two people: the services say so, and the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import CheckViolation
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import IntegrityError

from broker.db.base import new_id
from broker.errors import Conflict
from broker.lifecycle import CASE_MACHINE, CASE_OPEN
from broker.reclamation import board, cases, service, watched
from broker.reclamation.values import Answer, Cause, Decision
from providers.contract import Key, Kind, Status
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import reclaim, road, slate
from tests.stories.world import World


@pytest.fixture
def world(reclaiming: World) -> World:
    return reclaiming


def test_suspended_servers_start_again(world: World) -> None:
    """An objection after the suspension is accepted: the servers that ran run again, charged in full; no snapshot."""
    _, case_id, (server, _) = reclaim.suspended(world)
    reclaim.object_to(world, case_id)
    assert reclaim.state(world, case_id) == "contested"
    reclaim.say(world, case_id, Decision.ACCEPT, until=world.clock() + timedelta(days=30))
    assert reclaim.state(world, case_id) == "resuming"
    road.walk(world)
    assert reclaim.state(world, case_id) == "exempted"
    assert reclaim.status(world, server) is Status.ACTIVE
    assert [s[1] for s in reclaim.spans(world, server.id)] == ["active", "stopped", "active"]
    kept = world.rows("SELECT removed_at FROM broker.server_snapshot WHERE subject_id = :c", c=case_id)
    assert [row.removed_at for row in kept] == [world.clock()]
    slate.check(world)


def test_the_operator_undoes_a_proposed_release(world: World) -> None:
    """Until it is confirmed everything can be undone, by one person with a reason."""
    _, case_id, (server, _) = reclaim.proposed(world)
    assert reclaim.refusal(world, "deliver.jyt", cases.resume, case_id, reason="") == "reason.missing"
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="业务恢复")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.ACTIVE
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


def test_what_its_owner_had_switched_off_stays_so(world: World) -> None:
    """The cloud is asked what runs before anything is stopped: our own word may be old."""
    _, case_id, (server, _) = reclaim.noticed(world, cause=Cause.PERSON)
    world.app.providers("jyt").power(Key(Kind.SERVER, server.id, server.project_id), on=False)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    with world.acting("approve.jyt") as work:
        cases.resume(work, case_id, reason="业务恢复")
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"
    assert reclaim.status(world, server) is Status.STOPPED
    assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "stopped", True)


def vanish(world: World, server: Any) -> None:
    """Somebody deletes it at its cloud."""
    provider = world.app.providers("jyt")
    while not provider.delete(Key(Kind.SERVER, server.id, server.project_id)):
        pass


def released_by_two(world: World, case_id: UUID) -> None:
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="云上已不存在")
    assert reclaim.refusal(world, "deliver.jyt", cases.confirm, case_id) == "duty.separated"
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "released"


def missing(world: World) -> list[UUID]:
    """What says of itself that its cloud does not have it."""
    return [row.id for row in world.rows("SELECT id FROM broker.resource WHERE error_code = 'resource.lost'")]


def test_a_case_over_what_is_gone_is_not_stuck(world: World) -> None:
    """Gone before it was stopped: not charged for, and it goes on; undone, the disk stays, two release the rest."""
    _, case_id, (server, _) = reclaim.noticed(world, cause=Cause.PERSON)
    vanish(world, server)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble) == ("suspended", None)
    assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "active", False)
    assert reclaim.told(world, "reclaim.lost") == {"applicant", "cloud_chief", "operator"}
    with world.acting("deliver.jyt") as work:
        assert (case_id, ["lost"]) in [(c.id, why) for c, why in watched.desk(work)]
    assert missing(world) == [server.id]
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="核实")
    road.walk(world)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble) == ("suspended", None)
    [others] = world.rows("SELECT id, state FROM broker.reclaim_case WHERE split_from = :c", c=case_id)
    assert others.state == "dropped"
    assert missing(world) == [server.id]
    with world.acting("deliver.jyt") as work:
        for one, other in ((case_id, others.id), (others.id, case_id)):
            assert [each.id for each in board.siblings(work, board.file(work, one).case)] == [other]
    disks = "SELECT r.kind, r.state FROM broker.resource r JOIN broker.reclaim_case_resource c ON c.resource_id = r.id"
    assert [tuple(r) for r in world.rows(f"{disks} WHERE c.case_id = :c", c=others.id)] == [("volume", "active")]
    with world.acting("deliver.jyt") as work:  # asked once more it is as gone as before
        cases.resume(work, case_id, reason="再核实")
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    released_by_two(world, case_id)
    assert missing(world) == []
    slate.check(world)


def test_what_is_gone_keeps_nothing_else_stopped(world: World) -> None:
    """One of two vanishes while both are suspended: the other runs again, its case ends as the answer said."""
    request_id = reclaim.delivered(world)
    gone, there = reclaim.servers(world, request_id)
    case_id = reclaim.open_case(world, gone.id, there.id, cause=Cause.PERSON)
    reclaim.days_come(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    vanish(world, gone)
    reclaim.object_to(world, case_id)
    until = world.clock() + timedelta(days=30)
    reclaim.say(world, case_id, Decision.ACCEPT, until=until)
    road.walk(world)
    road.walk(world)
    [other] = world.rows("SELECT * FROM broker.reclaim_case WHERE split_from = :c", c=case_id)
    assert (other.state, other.exempt_until) == ("exempted", until)
    assert reclaim.status(world, there) is Status.ACTIVE
    assert reclaim.spans(world, there.id)[-1] == ("memory_gib", "active", True)
    assert reclaim.state(world, case_id) == "suspended"
    released_by_two(world, case_id)
    slate.check(world)


@pytest.mark.parametrize("decision", [Decision.ACCEPT, Decision.REFUSE])
def test_an_objection_is_answered_while_the_start_is_stuck(world: World, decision: Decision) -> None:
    """An operator had what is contested started, its cloud refuses: the answer says how the case ends once it runs."""
    _, case_id, (server, _) = reclaim.suspended(world)
    reclaim.object_to(world, case_id)
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="核实")
    faults.inject(world.clouds_url, Fault("jyt", "power", Kind.SERVER, Mode.REFUSE))
    road.walk(world)
    assert reclaim.case(world, case_id).trouble_step == "start_servers"
    with world.acting("approve.jyt") as work:
        offered = set(board.offers(work, board.file(work, case_id).case))
    assert {"accept", "refuse", "extend"} <= offered
    until = world.clock() + timedelta(days=90)
    more: dict[str, Any] = {"until": until} if decision is Decision.ACCEPT else {}
    reclaim.say(world, case_id, decision, **more)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble_step) == ("resuming", "start_servers"), "an answer is no order to the machine"
    with world.acting("deliver.jyt") as work:
        cases.retry(work, case_id)
    road.walk(world)
    accepted = decision is Decision.ACCEPT
    row = reclaim.case(world, case_id)
    assert (row.state, row.exempt_until) == (("exempted", until) if accepted else ("dropped", None))
    assert reclaim.status(world, server) is Status.ACTIVE
    slate.check(world)


@pytest.mark.parametrize("decision", [Decision.ACCEPT, Decision.REFUSE, Decision.EXTEND])
def test_an_objection_against_a_stuck_suspension_is_answered_before_all_runs(world: World, decision: Decision) -> None:
    """Its undoing is stuck as well: accepted it is exempt once all runs; refused, or given days, it is heard on."""
    case_id = reclaim.up_to(world, "suspending")
    faults.inject(world.clouds_url, Fault("jyt", "create", Kind.SNAPSHOT, Mode.REFUSE))
    road.walk(world)
    reclaim.object_to(world, case_id)
    faults.inject(world.clouds_url, Fault("jyt", "power", Kind.SERVER, Mode.REFUSE))
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble_step) == ("resuming", "start_servers")
    more: dict[Decision, dict[str, Any]] = {
        Decision.ACCEPT: {"until": world.clock() + timedelta(days=9)},
        Decision.EXTEND: {"workdays": 3},
    }
    reclaim.say(world, case_id, decision, **more.get(decision, {}))
    with world.acting("deliver.jyt") as work:
        cases.retry(work, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert row.state == ("exempted" if decision is Decision.ACCEPT else "noticed")
    if decision is Decision.EXTEND:
        assert row.due_at >= world.app.calendar.deadline(world.clock(), 3).at
    slate.check(world)
    if row.state == "noticed":
        with world.acting("approve.jyt") as work:
            cases.withdraw(work, case_id, reason="核实")


def test_an_objection_outlives_a_start_that_failed(world: World) -> None:
    """An operator starts what is contested, and it is gone: the objection stands, is answered, and bars no other."""
    _, case_id, (server, _) = reclaim.suspended(world)
    reclaim.object_to(world, case_id)
    vanish(world, server)
    with world.acting("deliver.jyt") as work:
        cases.resume(work, case_id, reason="核实")
    road.walk(world)
    assert reclaim.state(world, case_id) == "contested"
    assert reclaim.refusal(world, "apply.jyt", cases.object_to, case_id, reason="再异议") == "reclaim.state"
    reclaim.say(world, case_id, Decision.REFUSE)
    assert reclaim.state(world, case_id) == "suspended"
    reclaim.object_to(world, case_id)
    reclaim.say(world, case_id, Decision.REFUSE)
    released_by_two(world, case_id)
    road.walk(world)
    slate.check(world)


def rename(world: World, server: UUID, to: UUID) -> None:
    """The cloud's listing has it under another id: for us it is not there."""
    cloud = create_engine(world.clouds_url, poolclass=NullPool)
    with cloud.begin() as connection:
        change = text("UPDATE simulated.object SET tag = :to WHERE tag = :tag AND kind = 'server'")
        connection.execute(change, {"tag": server, "to": to})
    cloud.dispose()


@pytest.mark.parametrize("granted", [True, False])
def test_what_was_lost_and_turns_up_is_not_deleted(world: World, *, granted: bool) -> None:
    """A cell was down when it was to be started: confirmed as gone it is found, kept, and runs if that was promised."""
    _, case_id, (server, _) = reclaim.suspended(world)
    hidden = new_id()
    rename(world, server.id, hidden)
    if granted:
        reclaim.object_to(world, case_id)
        reclaim.say(world, case_id, Decision.ACCEPT, until=world.clock() + timedelta(days=300))
    else:
        with world.acting("deliver.jyt") as work:
            cases.resume(work, case_id, reason="核实")
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    rename(world, hidden, server.id)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="云上已不存在")
    reclaim.confirm(world, case_id)
    road.walk(world)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.proposed_by, row.confirmed_by) == ("exempted" if granted else "suspended", None, None)
    assert reclaim.status(world, server) is (Status.ACTIVE if granted else Status.STOPPED)
    assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "active" if granted else "stopped", True)
    assert reclaim.told(world, "reclaim.turned_up") == {"applicant", "cloud_chief", "operator"}
    if not granted:
        with world.acting("deliver.jyt") as work, pytest.raises(Conflict, match=r"reclaim\.kept"):
            cases.propose(work, case_id, reason="期满")
    slate.check(world)


def test_the_database_refuses_a_release_by_one_person(world: World) -> None:
    """Two people, whatever the code says."""
    _, case_id, _ = reclaim.proposed(world)
    confirmed = "UPDATE broker.reclaim_case SET state = 'releasing', confirmed_by = :other, confirmed_at = "
    other = world.scalar("SELECT id FROM broker.account WHERE login = 'approve.jyt'")
    for sql in (
        "UPDATE broker.reclaim_case SET confirmed_by = proposed_by WHERE id = :id",
        "UPDATE broker.reclaim_case SET state = 'releasing' WHERE id = :id",
        f"{confirmed} keep_until - interval '1 second' WHERE id = :id",
    ):
        with pytest.raises(IntegrityError) as refused, world.app.sessions.begin() as session:
            session.execute(text(sql), {"id": case_id, "other": other})
        assert isinstance(refused.value.orig, CheckViolation)


@contextmanager
def one_person(world: World, *logins: str) -> Iterator[None]:
    """Accounts that belong to one person, as when somebody changes offices."""
    mine = "UPDATE broker.account SET person_id = :p WHERE login = ANY(:l)"
    before = world.rows("SELECT id, person_id FROM broker.account WHERE login = ANY(:l)", l=list(logins))
    with world.app.sessions.begin() as session:
        session.execute(text(mine), {"p": before[0].person_id, "l": list(logins)})
    yield
    with world.app.sessions.begin() as session:
        for row in before:
            session.execute(
                text("UPDATE broker.account SET person_id = :p WHERE id = :i"), {"p": row.person_id, "i": row.id}
            )


def test_two_accounts_of_one_person_are_not_two_people(world: World) -> None:
    """Who proposed it as operator does not confirm it as approver; the database says so too."""
    _, case_id, _ = reclaim.proposed(world)
    with one_person(world, "deliver.jyt", "approve.jyt"):
        assert reclaim.refusal(world, "approve.jyt", cases.confirm, case_id) == "duty.separated"
        sql = (
            "UPDATE broker.reclaim_case SET state = 'releasing', confirmed_at = keep_until, confirmed_by ="
            " (SELECT id FROM broker.account WHERE login = 'approve.jyt') WHERE id = :id"
        )
        with pytest.raises(IntegrityError, match="one person"), world.app.sessions.begin() as session:
            session.execute(text(sql), {"id": case_id})
    with one_person(world, "apply.jyt", "approve.jyt"):
        reclaim.object_to(world, case_id)
        no = Answer(Decision.REFUSE, "自己答复自己")
        assert reclaim.refusal(world, "approve.jyt", cases.answer, case_id, no) == "duty.separated"


def test_a_unit_s_own_release_takes_two_people_as_well(world: World) -> None:
    """Who asks does not confirm, whatever the code says."""
    request_id = reclaim.delivered(world)
    with world.acting("apply.jyt") as work:
        [release] = [r.id for r in service.ask(work, request_id, reason="系统已下线")]
    for by in ("asked_by", "NULL"):
        sql = f"UPDATE broker.release SET state = 'queued', confirmed_at = now(), confirmed_by = {by} WHERE id = :id"
        with pytest.raises(IntegrityError) as refused, world.app.sessions.begin() as session:
            session.execute(text(sql), {"id": release})
        assert isinstance(refused.value.orig, CheckViolation)


UNDO = {
    "found": cases.withdraw, "noticed": cases.withdraw, "objected": cases.withdraw,
    "suspended": cases.resume, "contested": cases.resume, "proposed": cases.resume,
}  # fmt: skip


def test_every_state_before_the_release_is_undone(world: World) -> None:
    """From each the servers run, are charged in full, may be found again, and nothing of the case is left."""
    assert UNDO.keys() == CASE_OPEN - CASE_MACHINE, "the machine's own states: see test_reclaim_faults"
    for state, undo in UNDO.items():
        if state in {"found", "noticed", "objected"}:
            request_id = reclaim.delivered(world)
            server = reclaim.servers(world, request_id)[0]
            case_id = reclaim.open_case(world, server.id, cause=Cause.PERSON)
            if state != "found":
                reclaim.days_come(world)
        elif state == "proposed":
            _, case_id, (server, _) = reclaim.proposed(world)
        else:
            _, case_id, (server, _) = reclaim.suspended(world)
        if state in {"objected", "contested"}:
            reclaim.object_to(world, case_id)
        assert reclaim.state(world, case_id) == state
        with world.acting("approve.jyt") as work:
            undo(work, case_id, reason="不再回收")
        road.walk(world)
        assert reclaim.state(world, case_id) == "dropped"
        assert reclaim.status(world, server) is Status.ACTIVE
        assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "active", True)
        left = "SELECT FROM broker.server_snapshot WHERE subject_id = :c AND removed_at IS NULL"
        assert world.rows(left, c=case_id) == []
        reclaim.open_case(world, server.id, cause=Cause.PERSON)
    slate.check(world)
