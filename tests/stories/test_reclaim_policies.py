"""Policies act only after a dry run of the very content they have; terms end on the same rails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from api.views import reclaim as views
from api.views import requests
from broker.db.base import new_id
from broker.errors import BrokerError, Conflict, Invalid
from broker.reclamation import cases, dry_runs, opening, policies, terms
from broker.reclamation.values import Answer, Decision, Opening
from broker.tenancy.work import Work
from broker.utilisation import detection, findings, policy_words
from broker.utilisation.collectors import Bench
from broker.utilisation.models import IdleFinding
from broker.utilisation.service import policies_of
from tests.stories import reclaim, road, slate
from tests.stories.conftest import Databases
from tests.stories.world import World, make_world

CENTER = "deliver.1"


@pytest.fixture
def world(databases: Databases, tmp_path: Path) -> Any:
    (tmp_path / "policies.yaml").write_text(reclaim.POLICY)
    with databases() as (region, simulated):
        made = make_world(region, simulated, tmp_path, idle_policy_file=tmp_path / "policies.yaml")
        yield made
        made.app.close()


def measured(world: World, server: Any, cpu: float = 1.0, days: int = 39) -> None:
    """Samples of so many days until yesterday."""
    now = world.clock()
    folder = world.app.settings.home / "samples"
    folder.mkdir(exist_ok=True)
    reclaim.measure(world, server, reclaim.days_from(now - timedelta(days=days), now, cpu), folder)


def find(world: World, resource_id: UUID, days: int = 40) -> UUID:
    """What the daily scan writes of a resource that it found idle."""
    today = world.clock().astimezone(world.app.calendar.zone).date()
    digest = policy_words.digests(policies_of(world.app.settings))["idle-server"]
    row = IdleFinding(
        id=new_id(), resource_id=resource_id, kind="idle", policy="idle-server", policy_version="t",
        policy_digest=digest,
        first_day=today - timedelta(days=days - 1), last_day=today, days=days, evidence=[], monthly_fen=12345,
        scanned_on=today, found_at=world.clock(),
    )  # fmt: skip
    with world.app.sessions.begin() as session:
        session.add(row)
    return row.id


def take_up(world: World) -> int:
    with world.app.works.begin() as work:
        return policies.take_up(work, world.app.settings)


def dry_run(world: World, who: str = CENTER) -> Any:
    settings = world.app.settings
    with world.acting(who) as work:
        asked = dry_runs.ask(work, settings, "idle-server")
    looked = dry_runs.look(settings, asked)
    with world.acting(who) as work:
        return dry_runs.run(work, settings, asked, looked)


def switch_on(world: World, run_id: UUID, who: str = CENTER) -> None:
    with world.acting(who) as work:
        policies.switch_on(work, world.app.settings, "idle-server", run_id)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(BrokerError) as refused:
        act()
    return refused.value.code


def test_a_policy_acts_only_after_a_dry_run_of_its_very_content(world: World, tmp_path: Path) -> None:
    """A dry run opens nothing and says what it would; on, the policy opens just that; changed, it is off."""
    request_id = reclaim.delivered(world)
    first, second = reclaim.servers(world, request_id)
    measured(world, first)
    find(world, first.id)
    assert take_up(world) == 0
    run = dry_run(world)
    assert (run.result["cases"], run.result["refused"]) == (1, {})
    assert run.result["monthly_fen"] > 0
    assert [(t["number"], t["days"]) for t in run.result["takes"]] == [(first.number, 39)]
    assert {s["scope"] for s in run.result["shares"]} == {"unit", "cloud"}
    assert world.scalar("SELECT count(*) FROM broker.reclaim_case") == 0
    assert code_of(lambda: switch_on(world, run.id, who="deliver.jyt")) == "duty.missing"
    assert code_of(lambda: switch_on(world, UUID(int=3))) == "reclaim.dry_run_stale"

    (tmp_path / "policies.yaml").write_text(reclaim.POLICY.replace("below: 5", "below: 50"))
    assert code_of(lambda: switch_on(world, run.id)) == "reclaim.dry_run_stale"
    (tmp_path / "policies.yaml").write_text(reclaim.POLICY)
    switch_on(world, run.id)
    assert code_of(lambda: switch_on(world, run.id)) == "reclaim.already_on"
    (tmp_path / "policies.yaml").write_text("policies: [")
    assert take_up(world) == 0, "what cannot be read acts on nothing, and stops no other date"
    (tmp_path / "policies.yaml").write_text(reclaim.POLICY)
    assert take_up(world) == 1
    assert take_up(world) == 0, "once"
    again = dry_run(world)
    assert (again.result["cases"], again.result["refused"]) == (0, {"reclaim.case_open": 1})

    opened = world.scalar("SELECT id FROM broker.reclaim_case")
    with world.acting("deliver.jyt") as work:
        cases.withdraw(work, opened, reason="月底要用")
    assert take_up(world) == 0, "what a person has undone is not back in five minutes"
    assert dry_run(world).result["refused"] == {"reclaim.heard": 1}
    with world.app.sessions.begin() as session:
        ended = "UPDATE broker.idle_finding SET cleared_at = :now, cleared_because = 'not_measured'"
        session.execute(text(ended), {"now": world.clock()})
    find(world, first.id)
    assert take_up(world) == 0, "nor when samples that came late show the same run anew"

    find(world, second.id)
    (tmp_path / "policies.yaml").write_text(reclaim.POLICY.replace("below: 5", "below: 50"))
    assert take_up(world) == 0, "its content has changed: off until somebody has looked again"
    with world.acting(CENTER) as work:
        standing = policies.standings(work, world.app.settings)[0]
    assert (standing.on, standing.was_on is not None, standing.dry_run) == (None, True, None)
    (tmp_path / "policies.yaml").write_text(reclaim.POLICY)
    with world.acting(CENTER) as work:
        policies.switch_off(work, "idle-server")
    assert take_up(world) == 0
    slate.chain_is_whole(world)


def test_a_dry_run_is_of_the_very_content(world: World, tmp_path: Path) -> None:
    """Nobody has found anything by it yet: it says what the next detection and the next round will do, and they do.

    What was found by another content does not count, whether or not somebody has changed the file's ``version``.
    """
    first, second = reclaim.servers(world, reclaim.delivered(world))
    world.clock.forward(days=30)
    measured(world, first, days=9)
    measured(world, second, cpu=20.0, days=9)
    assert dry_run(world).result["cases"] == 1
    (tmp_path / "policies.yaml").write_text(reclaim.POLICY.replace("days: 3", "days: 20"))
    detect(world)
    assert dry_run(world).result["cases"] == 0
    wide = reclaim.POLICY.replace("below: 5", "below: 50")
    (tmp_path / "policies.yaml").write_text(wide)
    run = dry_run(world)
    assert {(t["number"], t["days"]) for t in run.result["takes"]} == {(first.number, 9), (second.number, 9)}
    switch_on(world, run.id)
    assert take_up(world) == 0, "not before it is detected by this content"
    detect(world)
    assert take_up(world) == run.result["cases"] == 2

    exempt = f"    exempt: [dr]\nexemptions:\n  - {{name: dr, reason: 灾备, resources: [{first.number}]}}\n"
    (tmp_path / "policies.yaml").write_text(wide + exempt)
    assert dry_run(world).result["refused"] == {"reclaim.case_open": 1, "policy.exempted": 1}


def test_a_dry_run_of_what_is_only_seen_goes_by_the_last_look(world: World, tmp_path: Path) -> None:
    """What detection watches counts by the days of this content; a page asks no cloud."""
    seen = 'version: "t"\npolicies:\n  - {name: idle-server, seen: unattached, days: %d}\n'
    (tmp_path / "policies.yaml").write_text(seen % 30)
    items = [*reclaim.ITEMS, {"kind": "volume", "name": "spare", "size_gib": 20, "block_class": "ssd"}]
    spare = next(
        r for r in world.rows("SELECT number, name FROM broker.resource WHERE request_id = :r",
                              r=reclaim.delivered(world, items=items)) if r.name == "spare"
    )  # fmt: skip
    for _ in range(3):
        detect(world)
        world.clock.forward(days=3)
    assert dry_run(world).result["cases"] == 0
    (tmp_path / "policies.yaml").write_text(seen % 5)
    assert [t["number"] for t in dry_run(world).result["takes"]] == [spare.number]


def detect(world: World) -> None:
    with world.app.works.begin() as work:
        errand = detection.today(work)
    assert detection.detect(Bench(world.app.works, world.app.settings, world.app.providers), errand)


def refused_by(work: Work, made: Opening) -> str:
    """With which code a case would not be opened; empty: it would."""
    try:
        opening.check(work, made)
    except BrokerError as error:
        return error.code
    return ""


def test_what_the_policies_protect_by_name_is_not_taken_up(world: World, tmp_path: Path) -> None:
    """By its number, its system's code, a unit above its own, a disk of it; what is only new may be, by hand.

    A disk that an exemption names does not go with a server that detection found either.
    """
    server = reclaim.servers(world, reclaim.delivered(world))[0]
    disk = world.scalar("SELECT number FROM broker.resource WHERE server_id = :s", s=server.id)
    finding = find(world, server.id)
    exemption = reclaim.POLICY + "%sexemptions:\n  - {name: e, reason: 经批准保留, %s}\n"
    listed = "    exempt: [e]\n"
    root = world.scalar("SELECT u.code FROM broker.unit u JOIN broker.unit_period p ON p.unit_id = u.id"
                        " WHERE p.parent_id IS NULL LIMIT 1")  # fmt: skip
    unit, refused = f"units: [{root}]", "reclaim.protected"
    for what, exempt, by_hand, found in (
        (f"resources: [{server.number}]", listed, refused, refused), ("systems: [jyt-xjgl]", listed, refused, refused),
        (unit, listed, refused, refused), (unit, "", refused, ""), (f"resources: [{disk}]", "", refused, refused),
        ("newer_than_days: 90", listed, "", ""),
    ):  # fmt: skip
        (tmp_path / "policies.yaml").write_text(exemption % (exempt, what))
        known = policies_of(world.app.settings)
        with world.app.works.begin() as work:
            assert refused_by(work, opening.by_hand(known, [server.id], "已停办")) == by_hand, what
            digest = policy_words.digests(known)["idle-server"]
            seen = opening.of_finding(replace(findings.finding(work.session, finding), policy_digest=digest), known)
            assert refused_by(work, seen) == found, what
    misspelt = exemption % (listed, f"units: [{root}, jyy], resources: [{disk}, ZY-0]")
    (tmp_path / "policies.yaml").write_text(misspelt)
    with world.acting(CENTER) as work:
        [standing] = policies.standings(work, world.app.settings)
        assert views.policy(standing).exemptions == ["经批准保留（资源 2 个，单位 2 个，台账中没有 ZY-0、jyy，请核对）"]


def test_a_case_keeps_the_policy_it_was_opened_by(world: World, tmp_path: Path) -> None:
    """Its grace by MLPS level, and the condition by which it is measured again, whatever the file says later."""
    request_id = reclaim.delivered(world)
    server = reclaim.servers(world, request_id)[0]
    level = world.scalar(
        "SELECT mlps_level FROM broker.information_system s JOIN broker.resource r ON r.system_id = s.id"
        " WHERE r.id = :r", r=server.id)  # fmt: skip
    written = reclaim.POLICY.replace("below: 5", "below: 5.5") + f"    grace_working_days: {{{level}: 3}}\n"
    (tmp_path / "policies.yaml").write_text(written)
    finding_id = find(world, server.id)
    with world.app.works.begin() as work:
        whole = policies_of(world.app.settings)
        made = opening.of_finding(findings.finding(work.session, finding_id), whole)
        case_id = opening.open_case(work, made).id
    reclaim.days_come(world)
    row = reclaim.case(world, case_id)
    assert (row.grace_workdays, row.reason, row.policy_version) == (3, whole.policies[0].title, "t")
    assert policy_words.read_back(row.policy_content) == whole.policies[0]
    (tmp_path / "policies.yaml").write_text(reclaim.POLICY.replace("below: 5", "below: 0.5"))
    (tmp_path / "samples").mkdir()
    days = reclaim.days_from(row.noticed_at - timedelta(days=2), row.due_at, 4.0)
    reclaim.measure(world, server, days, tmp_path / "samples")
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended", "idle by its own policy, not by today's"
    with world.app.works.begin() as work, pytest.raises(Conflict, match=r"reclaim\.finding_stale"):
        opening.of_finding(findings.finding(work.session, row.finding_id), policies_of(world.app.settings))


def test_the_database_ties_a_version_to_its_own_dry_run(world: World) -> None:
    """Whatever the code says: the dry run of another version does not do."""
    run = dry_run(world)
    with pytest.raises(IntegrityError) as refused, world.app.sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO broker.reclaim_policy (id, name, version, digest, content, created_by, created_at,"
                " dry_run_id, switched_on_by, switched_on_at) SELECT gen_random_uuid(), 'other', '1', 'd', '{}',"
                " created_by, now(), :run, created_by, now() FROM broker.reclaim_policy"
            ),
            {"run": run.id},
        )
    assert isinstance(refused.value.orig, ForeignKeyViolation)


def expire(world: World) -> int:
    with world.app.works.begin() as work:
        return terms.come(work)


def test_a_term_ends_on_the_same_rails(world: World) -> None:
    """Told thirty days ahead, reminded at seven and one, suspended after the grace in working days, released by two."""
    wide = {"reclaim_unit_percent": 100, "reclaim_cloud_percent": 100}  # all of it goes at once
    world.app = replace(world.app, settings=world.app.settings.model_copy(update=wide))
    request_id = reclaim.delivered(world, end_date=str((world.clock() + timedelta(days=60)).date()))
    assert expire(world) == 0
    last_day = (world.clock() + timedelta(days=60)).date()
    end = datetime.combine(last_day + timedelta(days=1), time.min, world.app.calendar.zone)
    world.clock.now = end - timedelta(days=30)
    assert expire(world) == 1
    assert expire(world) == 0
    reclaim.days_come(world)
    case = world.rows("SELECT * FROM broker.reclaim_case")[0]
    assert (case.cause, case.state) == ("term", "noticed")
    assert case.due_at == world.app.calendar.deadline(end, case.grace_workdays).at
    assert world.scalar("SELECT count(*) FROM broker.reclaim_case_resource") == 5, "all that the request brought"
    for days in (7, 1):
        world.clock.now = end - timedelta(days=days) + timedelta(hours=1)
        assert expire(world) == 2
        assert expire(world) == 0
    assert reclaim.told(world, "reclaim.term_ends") == {"applicant", "cloud_chief"}
    reclaim.pass_the_window(world, case.id)
    road.walk(world)
    assert reclaim.state(world, case.id) == "suspended"
    world.clock.now = reclaim.case(world, case.id).keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case.id, reason="期限届满")
    reclaim.confirm(world, case.id)
    road.walk(world)
    assert world.request(request_id).state == "released"
    slate.check(world)


def test_a_term_is_renewed_by_request(world: World) -> None:
    """The unit asks, the authority answers; the term then ends later, and nothing is taken up before that."""
    request_id = reclaim.delivered(world, end_date=str((world.clock() + timedelta(days=20)).date()))
    assert expire(world) == 1
    reclaim.days_come(world)
    case_id = world.scalar("SELECT id FROM broker.reclaim_case")
    until = world.clock() + timedelta(days=200)
    with pytest.raises(Invalid), world.acting("apply.jyt") as work:
        terms.ask_to_renew(work, case_id, until=world.clock() + timedelta(days=3), reason="继续")
    with world.acting("apply.jyt") as work:
        terms.ask_to_renew(work, case_id, until=until, reason="业务继续")
    with world.acting("approve.jyt") as work:
        cases.answer(work, case_id, Answer(Decision.ACCEPT, "同意续期"))
    assert reclaim.state(world, case_id) == "renewed"
    assert reclaim.told(world, "reclaim.renewal_accept") == {"applicant", "cloud_chief"}
    assert reclaim.told(world, "reclaim.answered_accept") == set(), "nobody had objected"
    with world.acting("apply.jyt") as work:
        assert requests.detail(work, request_id).renewed_until == until
    world.clock.now = until - timedelta(days=31)
    assert expire(world) == 0
    world.clock.now = until - timedelta(days=29)
    assert expire(world) == 1
    latest = world.rows("SELECT evidence FROM broker.reclaim_case ORDER BY id DESC LIMIT 1")[0].evidence
    assert datetime.fromisoformat(latest["ends_at"]) == until
    other = reclaim.open_case
    with pytest.raises(Conflict):
        other(world, world.scalar("SELECT id FROM broker.resource LIMIT 1"))


def test_a_term_that_a_person_undid_comes_again_only_after_a_month(world: World) -> None:
    """Withdrawn, it is not told anew every five minutes; the term is over all the same, and is taken up again."""
    reclaim.delivered(world, end_date=str((world.clock() + timedelta(days=20)).date()))
    assert expire(world) == 1
    with world.acting("approve.jyt") as work:
        cases.withdraw(work, world.scalar("SELECT id FROM broker.reclaim_case"), reason="正在办理划转")
    assert expire(world) == 0
    world.clock.forward(days=30, seconds=1)
    assert expire(world) == 1
