"""Zombie systems on real things: a delivered request, measured servers, the Bureau's decision, a reclaim case."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from api.views import zombies as views
from broker.errors import BrokerError, Invalid
from broker.notify import service as notify
from broker.reclamation import cases
from broker.reclamation.values import Cause, Decision
from broker.tenancy.work import Work
from broker.zombies import board, facts, forgetting, nightly, service
from broker.zombies.facts import LOCAL
from broker.zombies.models import ZombieFinding
from broker.zombies.rules_file import read_rules
from broker.zombies.service import Given
from tests.stories import reclaim
from tests.stories.world import World, make_world


@pytest.fixture(scope="module")
def world(databases: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One world for the module, with an idle policy of three days."""
    home = tmp_path_factory.mktemp("zombies")
    (home / "policies.yaml").write_text(reclaim.POLICY)
    with databases() as (region, simulated):
        made = make_world(region, simulated, home, idle_policy_file=home / "policies.yaml")
        yield made
        made.app.close()


def scan(world: World, who: str = "assess.1") -> UUID:
    with world.acting(who) as work:
        known = facts.gather(work)
    measured = facts.measure(world.app.settings, known)
    with world.acting(who) as work:
        return service.record(work, known, measured, read_rules()).id


def finding(world: World, code: str) -> ZombieFinding:
    with world.acting("audit") as work:
        return board.one(work, code)[1]


def idle_sign(found: ZombieFinding) -> dict[str, Any]:
    return next(each for each in found.signs if each["sign"] == "idle")


def system(world: World, code: str) -> UUID:
    found = world.rows("SELECT id FROM broker.information_system WHERE code = :c", c=code)[0].id
    assert isinstance(found, UUID)
    return found


def refusal(world: World, who: str, *given: Any) -> str:
    with pytest.raises(BrokerError) as refused, world.acting(who) as work:
        service.decide(work, world.app.settings, *given)
    return refused.value.problems[0].code if isinstance(refused.value, Invalid) else refused.value.code


def listed(work: Work, *, decided: bool = False) -> list[str]:
    return [each.system.code for each in board.listing(work, decided=decided)]


def test_unmeasured_is_not_idle_and_measured_idleness_is_found(world: World, tmp_path: Path) -> None:
    """No samples: nobody knows, nothing is added. Idle for long: the sign with its servers and days."""
    request_id = reclaim.delivered(world)
    code = world.rows(
        "SELECT s.code FROM broker.service_request r JOIN broker.information_system s ON s.id = r.system_id"
        " WHERE r.id = :r",
        r=request_id,
    )[0].code
    scan(world)
    before = finding(world, code)
    assert not idle_sign(before)["known"]
    assert "unmeasured" in before.cautions
    first = world.clock.now
    idle, busy = reclaim.servers(world, request_id)
    world.clock.now = first + timedelta(days=101)
    reclaim.measure(world, idle, reclaim.days_from(first, world.clock.now - timedelta(days=1), 1.0), tmp_path)
    reclaim.measure(world, busy, reclaim.days_from(first, world.clock.now - timedelta(days=1), 60.0), tmp_path)
    scan(world)
    (seen,) = idle_sign(finding(world, code))["evidence"]
    assert (seen["params"]["servers"], seen["params"]["idle"], seen["params"]["unmeasured"]) == (2, 1, 0)
    assert seen["params"]["days"] >= 95
    assert seen["points"] == 40  # 80 of one of two servers


def test_the_demonstration_shows_one_zombie_first_and_a_person_decides(world: World) -> None:
    """Art. 28: the Bureau decides on what it saw, with a reason; no zombie until a day, then it is looked at again."""
    scan(world)
    zombie = system(world, "jyt-yqrb")
    seen = finding(world, "jyt-yqrb")
    with world.acting("approve.1") as work:
        assert listed(work)[0] == "jyt-yqrb"
    assert (seen.level, seen.known) == ("likely", 4)
    today = world.clock.now.astimezone(LOCAL).date()
    later = today + timedelta(days=30)
    keep = Given(service.NOT_ZOMBIE, "防疫预案要求保留", later)
    assert refusal(world, "apply.jyt", zombie, seen.id, keep) == "duty.missing"
    assert refusal(world, "approve.jyt", zombie, seen.id, keep) == "duty.missing"
    assert refusal(world, "approve.1", zombie, seen.id, Given(service.NOT_ZOMBIE, " ", later)) == "reason.missing"
    assert refusal(world, "approve.1", zombie, seen.id, Given(service.NOT_ZOMBIE, "保留", today)) == "zombie.look_again"
    assert refusal(world, "approve.1", zombie, zombie, keep) == "zombie.seen_older"
    with world.acting("approve.1") as work:
        service.decide(work, world.app.settings, zombie, seen.id, keep)
    with world.acting("approve.1") as work:
        assert "jyt-yqrb" not in listed(work)
        assert "jyt-yqrb" in listed(work, decided=True)
    world.clock.now += timedelta(days=31)
    with world.acting("approve.1") as work:
        assert listed(work)[0] == "jyt-yqrb"
    with world.acting("apply.rst") as work:
        assert "jyt-yqrb" not in listed(work)


def by_night(world: World) -> int:
    return nightly.carry(world.app.works, world.app.settings)


def test_by_night_the_bureau_is_told_of_what_is_new(world: World) -> None:
    """Once a night, only what looks worse than before and is undecided; nothing changed, nothing is written."""
    scans = "SELECT count(*) FROM broker.zombie_scan"
    scan(world)
    before = world.scalar(scans)
    assert by_night(world) == 0
    assert world.scalar(scans) == before, "as it was this afternoon"
    with world.app.sessions.begin() as session:
        session.connection().exec_driver_sql(
            "UPDATE broker.information_system SET business_stopped_on = '2020-01-01', maintenance_until = '2019-01-01',"
            " last_business_on = '2019-12-31', last_maintained_on = '2018-06-30', monthly_users = 0"
            " WHERE code IN ('jyt-xjgl', 'jyt-yqrb')"
        )
    world.clock.forward(days=1)
    assert by_night(world) == 1, "the other one was a likely zombie yesterday"
    assert by_night(world) == 0, "once a night"
    assert world.scalar(scans) == before + 1
    [notice] = world.rows("SELECT * FROM broker.notice WHERE code = 'zombie.proposed'")
    name = world.scalar("SELECT name FROM broker.information_system WHERE code = 'jyt-xjgl'")
    assert (notice.role, notice.params) == ("approver", {"count": 1, "systems": name})
    with world.acting("approve.1") as work:
        assert [row[0].code for row in notify.inbox(work)][:1] == ["zombie.proposed"]
    world.clock.forward(days=1)
    assert by_night(world) == 0, "told once"


def test_a_confirmed_zombie_s_resources_are_taken_back_by_a_case(world: World) -> None:
    """Confirmed, a reclaim case is opened over what it holds, with disks; once; and nothing of it can be changed."""
    request_id = reclaim.delivered(world)
    row = world.rows("SELECT system_id FROM broker.service_request WHERE id = :r", r=request_id)[0]
    code = world.rows("SELECT code FROM broker.information_system WHERE id = :s", s=row.system_id)[0].code
    scan(world)
    seen = finding(world, code)
    dead = Given(service.CONFIRMED, "业务已停办")
    protected = f"    exempt: [e]\nexemptions:\n  - {{name: e, reason: 灾备，经批准保留, systems: [{code}]}}\n"
    policies = world.app.settings.idle_policy_file
    assert policies is not None
    policies.write_text(reclaim.POLICY + protected)
    assert refusal(world, "approve.1", row.system_id, seen.id, dead) == "reclaim.protected"
    policies.write_text(reclaim.POLICY)
    with world.acting("approve.1") as work:
        made = service.decide(work, world.app.settings, row.system_id, seen.id, dead)
        opened = list(made.case_ids)
    assert opened
    found = world.rows("SELECT cause, system_id, reason FROM broker.reclaim_case WHERE id = ANY(:c)", c=opened)
    assert {(each.cause, each.system_id, each.reason) for each in found} == {("zombie", row.system_id, "业务已停办")}
    taken = world.rows("SELECT resource_id FROM broker.reclaim_case_resource WHERE case_id = ANY(:c)", c=opened)
    live = world.rows(
        "SELECT id FROM broker.resource WHERE system_id = :s AND state IN ('active', 'stopped')", s=row.system_id
    )
    assert {each.resource_id for each in taken} == {each.id for each in live}
    assert refusal(world, "approve.1", row.system_id, seen.id, Given(service.CONFIRMED, "再")) == "zombie.confirmed"
    with pytest.raises(DBAPIError, match="permission denied"), world.app.sessions.begin() as session:
        session.connection().exec_driver_sql("UPDATE broker.zombie_decision SET reason = 'x'")

    reclaim.days_come(world)
    with world.acting("approve.jyt") as work:
        (decided,) = views.one(work, code).decisions
    assert {(each.id, each.state) for each in decided.reclaim} == {(case_id, "noticed") for case_id in opened}
    for case_id in opened:
        reclaim.object_to(world, case_id)
        reclaim.say(world, case_id, Decision.ACCEPT, until=world.clock() + timedelta(days=30))
    assert refusal(world, "approve.1", row.system_id, seen.id, Given(service.CONFIRMED, "再")) == "zombie.confirmed"
    world.clock.forward(days=30, seconds=1)
    with world.acting("approve.1") as work:
        assert code in listed(work), "its resources were left to the unit, and the day has come"
        assert service.decide(work, world.app.settings, row.system_id, seen.id, dead).case_ids


def test_a_decision_over_what_another_case_holds_stands_as_long_as_that_case(world: World) -> None:
    """It opens nothing, names the case that holds the system, and falls with it: nothing stands for ever."""
    request_id = reclaim.delivered(world)
    row = world.rows("SELECT system_id FROM broker.service_request WHERE id = :r", r=request_id)[0]
    code = world.scalar("SELECT code FROM broker.information_system WHERE id = :s", s=row.system_id)
    open_ones = "SELECT id FROM broker.reclaim_case WHERE system_id = :s AND closed_at IS NULL"
    for each in world.rows(open_ones, s=row.system_id):
        with world.acting("deliver.jyt") as work:
            cases.withdraw(work, each.id, reason="另案办理")
    world.clock.forward(days=31)
    live = world.rows(
        "SELECT id, unit_id, sub_cloud_id FROM broker.resource WHERE system_id = :s AND state IN ('active', 'stopped')"
        " AND server_id IS NULL", s=row.system_id)  # fmt: skip
    held = reclaim.open_case(world, *(each.id for each in live), cause=Cause.PERSON)
    scan(world)
    seen = finding(world, code)
    dead = Given(service.CONFIRMED, "停办")
    with world.acting("approve.1") as work:
        assert service.decide(work, world.app.settings, row.system_id, seen.id, dead).case_ids == [held]
    with world.acting("approve.1") as work:
        assert code not in listed(work)
    with world.acting("deliver.jyt") as work:
        cases.withdraw(work, held, reason="重新办理")
    with world.acting("approve.1") as work:
        assert code in listed(work)
        assert service.decide(work, world.app.settings, row.system_id, seen.id, dead).case_ids not in ([], [held])


def test_old_scans_are_forgotten_but_what_a_decision_rests_on(world: World) -> None:
    """As long as samples are kept: then scans and findings go, but the newest scan, and what a person decided by."""
    count = "SELECT (SELECT count(*) FROM broker.zombie_scan), (SELECT count(*) FROM broker.zombie_finding)"
    world.clock.forward(days=1)
    old = scan(world)
    decided = "SELECT count(*) FROM broker.zombie_decision"
    before, decisions = world.rows(count)[0], world.scalar(decided)
    world.clock.forward(days=300)
    assert forgetting.forget(world.app.works, world.app.settings) == {}, "nothing is old enough"
    world.clock.forward(days=250)
    newest = scan(world)
    gone = forgetting.forget(world.app.works, world.app.settings)
    assert gone["zombie_scan"] >= 1
    kept = {row.id for row in world.rows("SELECT id FROM broker.zombie_scan")}
    assert newest in kept
    assert old not in kept
    rest = world.rows(
        "SELECT count(*) AS n FROM broker.zombie_scan s WHERE s.id <> :newest AND NOT EXISTS (SELECT FROM"
        " broker.zombie_finding f JOIN broker.zombie_decision d ON d.finding_id = f.id WHERE f.scan_id = s.id)",
        newest=newest,
    )
    assert rest[0].n == 0, "what is left beside the newest is what somebody decided by"
    assert (world.scalar(decided), before[0] > len(kept) - 1) == (decisions, True)
    with pytest.raises(DBAPIError), world.app.sessions.begin() as session:
        session.execute(text("DELETE FROM broker.zombie_scan"))
    with world.app.sessions.begin() as session:  # an hour from now: the last twelve months stay all the same
        session.execute(text("SELECT FROM broker.forget_scans(:at)"), {"at": world.clock() + timedelta(hours=1)})
    assert newest in {row.id for row in world.rows("SELECT id FROM broker.zombie_scan")}
