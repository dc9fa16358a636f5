"""Spared at the last moment: what was seen, lost, half deleted or no longer measured, before anything is final."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from broker.reclamation import cases, opening, watched
from broker.reclamation.values import Cause, Decision, Opening
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


def start(world: World, server: Any) -> None:
    """Somebody starts a server at its cloud, by no order of ours."""
    world.app.providers("jyt").power(Key(Kind.SERVER, server.id, server.project_id), on=True)


def test_a_stuck_suspension_waits_again_when_nobody_measures_any_more(world: World, tmp_path: Path) -> None:
    """Nothing stands still yet, and what proved it idle is two months old: tried again it is not stopped on that.

    Nor on what an operator vouched for, whose word has run out. Meanwhile its owner may object, and is heard.
    """
    _, case_id, (server, _) = reclaim.noticed(world)
    row = reclaim.case(world, case_id)
    reclaim.measure(world, server, reclaim.days_from(row.noticed_at, row.due_at, 1.0), tmp_path)
    reclaim.pass_the_window(world, case_id)
    assert reclaim.refusal(world, "apply.jyt", cases.object_to, case_id, reason="在用") == "reclaim.state"
    faults.inject(world.clouds_url, Fault("jyt", "power", Kind.SERVER, Mode.REFUSE, times=3))
    road.walk(world)
    for word in ("", "电话核实已停用"):
        if word:
            with world.acting("deliver.jyt") as work:
                cases.waive(work, case_id, reason=word)
            reclaim.days_come(world)
            road.walk(world)
        assert reclaim.case(world, case_id).trouble_step == "stop_servers"
        world.clock.forward(days=60)
        with world.acting("deliver.jyt") as work:
            cases.retry(work, case_id)
        assert reclaim.refusal(world, "apply.jyt", cases.object_to, case_id, reason="在用") == "reclaim.stopping"
        road.walk(world)
        row = reclaim.case(world, case_id)
        assert (row.state, row.waits_for) == ("noticed", "unmeasured")
        assert reclaim.status(world, server) is Status.ACTIVE
    with world.acting("deliver.jyt") as work:
        cases.waive(work, case_id, reason="再核实")
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.case(world, case_id).trouble_step == "stop_servers"
    reclaim.object_to(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "objected"
    reclaim.say(world, case_id, Decision.ACCEPT, until=world.clock() + timedelta(days=30))
    assert reclaim.state(world, case_id) == "exempted"
    assert reclaim.status(world, server) is Status.ACTIVE


def over_both(world: World) -> tuple[UUID, list[Any]]:
    """A case over two servers that its owner has been told of."""
    servers = reclaim.servers(world, reclaim.delivered(world))
    case_id = reclaim.open_case(world, *(s.id for s in servers), cause=Cause.PERSON)
    reclaim.days_come(world)
    return case_id, servers


def propose(world: World, case_id: UUID) -> None:
    world.clock.now = reclaim.case(world, case_id).keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")


def test_half_deleted_and_in_use_again_the_rest_stays_its_owners(world: World) -> None:
    """One server of two is gone when the other one is started: the first is released by a case of its own."""
    case_id, (gone, runs) = over_both(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    propose(world, case_id)
    reclaim.confirm(world, case_id)
    faults.inject(world.clouds_url, Fault("jyt", "delete", Kind.SERVER, Mode.REFUSE, object_id=runs.id))
    road.walk(world)
    assert reclaim.case(world, case_id).trouble == "refused"
    start(world, runs)
    with world.acting("deliver.jyt") as work:
        cases.retry(work, case_id)
    road.walk(world)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble, row.waits_for, row.confirmed_by) == ("suspended", None, "in_use", None)
    assert reclaim.status(world, runs) is Status.ACTIVE
    [other] = world.rows("SELECT * FROM broker.reclaim_case WHERE split_from = :c", c=case_id)
    assert other.state == "released"
    states = "SELECT state FROM broker.resource WHERE id = :i"
    assert [world.scalar(states, i=s.id) for s in (gone, runs)] == ["released", "active"]
    reclaim.object_to(world, case_id)
    slate.check(world)


def disk_of(world: World, server: Any) -> Any:
    return world.rows("SELECT id, project_id, server_id FROM broker.resource WHERE server_id = :s", s=server.id)[0]


def hangs_on(world: World, disk: Any) -> UUID | None:
    """The server that a disk hangs on at its cloud."""
    seen = world.app.providers("jyt").observe(Key(Kind.ATTACHMENT, disk.id, disk.project_id))
    return None if seen is None else seen.server_id


@pytest.mark.parametrize("refused", [0, 1])
def test_a_server_spared_half_way_has_its_disk_again(refused: int, world: World) -> None:
    """Its disk had been let go when the deletion was refused, and is not deleted before it; it runs, the disk hangs on.

    If it cannot be attached the server runs all the same, and the case says so on the desk until it is tried again.
    """
    _, case_id, (server, _) = reclaim.proposed(world)
    disk = disk_of(world, server)
    reclaim.confirm(world, case_id)
    faults.inject(world.clouds_url, Fault("jyt", "delete", Kind.SERVER, Mode.REFUSE, object_id=server.id))
    road.walk(world)
    assert reclaim.case(world, case_id).trouble_step == "delete"
    assert hangs_on(world, disk) is None, "it was let go"
    assert world.app.providers("jyt").observe(Key(Kind.VOLUME, disk.id, disk.project_id)) is not None
    start(world, server)
    if refused:
        fault = Fault("jyt", "create", Kind.ATTACHMENT, Mode.REFUSE, times=2, object_id=disk.id)
        faults.inject(world.clouds_url, fault)
    with world.acting("deliver.jyt") as work:
        cases.retry(work, case_id)
    road.walk(world)
    assert (reclaim.state(world, case_id), reclaim.case(world, case_id).waits_for) == ("suspended", "in_use")
    assert hangs_on(world, disk) == (None if refused else server.id)
    reclaim.days_come(world)
    road.walk(world)
    if refused:
        row = reclaim.case(world, case_id)
        assert (row.state, row.trouble_step, row.trouble) == ("resuming", "attach_disks", "refused")
        assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "active", True)
        with world.acting("deliver.jyt") as work:
            cases.retry(work, case_id)
        road.walk(world)
    assert reclaim.state(world, case_id) == "noticed"
    assert hangs_on(world, disk) == server.id
    states = "SELECT state FROM broker.resource WHERE id = :i"
    assert [world.scalar(states, i=r.id) for r in (server, disk)] == ["active", "active"]
    slate.check(world)


def test_what_was_lost_was_not_deleted_by_us(world: World) -> None:
    """One of two vanished before it could be stopped; the other runs before the release: nothing is deleted, for good.

    The owner has its say, and what is lost still takes two people.
    """
    case_id, (gone, runs) = over_both(world)
    provider = world.app.providers("jyt")
    while not provider.delete(Key(Kind.SERVER, gone.id, gone.project_id)):
        pass
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    propose(world, case_id)
    start(world, runs)
    reclaim.confirm(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble, row.waits_for, row.confirmed_by) == ("suspended", None, "in_use", None)
    assert reclaim.status(world, runs) is Status.ACTIVE
    states = "SELECT state, error_code FROM broker.resource WHERE id = :i"
    assert tuple(world.rows(states, i=gone.id)[0]) == ("releasing", "resource.lost")
    assert reclaim.spans(world, runs.id)[-1] == ("memory_gib", "active", True)
    reclaim.object_to(world, case_id)
    reclaim.say(world, case_id, Decision.ACCEPT, until=world.clock() + timedelta(days=30))
    road.walk(world)
    road.walk(world)
    propose(world, case_id)
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "released", "what is lost, alone"
    assert reclaim.status(world, runs) is Status.ACTIVE
    slate.check(world)


def seen_by_detection(world: World, resource_id: UUID, kind: FindingKind, policy: str, seen: str) -> UUID:
    """A case over what the daily look found, suspended."""
    raw = {"version": "t", "policies": [{"name": policy, "seen": seen, "days": 3}]}
    written = policy_words.written(parse_policies(raw).policies[0])
    with world.app.works.begin() as work:
        day = work.now.date()
        found = Seen(resource_id, kind, policy, "", day - timedelta(days=4), day, 5, (), None, ripe=True)
        findings.record(work, Day(day, "t"), [found], {}, {})
        (finding,) = findings.current(work.session, resources=[resource_id])
        opened = Opening(
            Cause.IDLE, (resource_id,), "未使用", policy=policy, policy_version="t", policy_content=written,
            finding_id=finding.id,
        )  # fmt: skip
        case_id = opening.open_case(work, opened).id
    reclaim.days_come(world)
    world.clock.now = reclaim.case(world, case_id).due_at + timedelta(seconds=1)
    with world.app.sessions.begin() as session:  # the daily look goes on meanwhile
        again = {"day": world.clock().date(), "id": finding.id}
        session.execute(text("UPDATE broker.idle_finding SET scanned_on = :day WHERE id = :id"), again)
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    return case_id


def test_what_was_found_off_and_is_used_while_it_is_kept_is_not_deleted(world: World, tmp_path: Path) -> None:
    """A policy that only looks measures nothing; the samples of the time it was kept are heeded all the same."""
    server = reclaim.servers(world, reclaim.delivered(world))[0]
    world.app.providers("jyt").power(Key(Kind.SERVER, server.id, server.project_id), on=False)
    case_id = seen_by_detection(world, server.id, FindingKind.OFF, "off-server", "stopped")
    row = reclaim.case(world, case_id)
    propose(world, case_id)
    reclaim.measure(world, server, reclaim.days_from(row.suspended_at, world.clock(), 85.0), tmp_path)
    reclaim.confirm(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for, row.confirmed_by) == ("suspended", "in_use", None)
    assert reclaim.status(world, server) is Status.STOPPED


def test_a_volume_that_detection_sees_in_use_while_it_is_kept_is_not_deleted(world: World) -> None:
    """Attached by hand one night, and off again before the release: it is on the desk, and stays."""
    items = [*reclaim.ITEMS, {"kind": "volume", "name": "spare", "size_gib": 20, "block_class": "ssd"}]
    request_id = reclaim.delivered(world, items=items)
    spare = "SELECT id FROM broker.resource WHERE request_id = :r AND name = 'spare'"
    volume_id = world.scalar(spare, r=request_id)
    case_id = seen_by_detection(world, volume_id, FindingKind.UNATTACHED_VOLUME, "loose", "unattached")
    world.clock.forward(days=1)
    with world.app.works.begin() as work:
        rows = {key: row for key, row in findings.still_open(work.session).items() if key[0] == volume_id}
        findings.record(work, Day(work.now.date(), "t"), [], dict.fromkeys(rows, "in_use"), rows)
    with world.acting("deliver.jyt") as work:
        assert (case_id, ["used"]) in [(case.id, why) for case, why in watched.desk(work)]
    propose(world, case_id)
    reclaim.confirm(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for, row.confirmed_by) == ("suspended", "in_use", None)
    assert world.scalar("SELECT state FROM broker.resource WHERE id = :i", i=volume_id) == "active"
