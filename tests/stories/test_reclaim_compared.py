"""What the regular comparison finds out: suspended servers that run, servers that are gone, and those that are back.

Charged from, or up to, the look that saw it; what was started is heard anew, or dropped.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import NullPool, create_engine, text

from broker.db.base import new_id
from broker.delivery.reconcile import DriftKind, reconcile
from broker.lifecycle import Role
from broker.reclamation import cases, missing, watched
from broker.reclamation.values import Cause, Decision
from broker.workflows.drift import compare
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


def outside(world: World, server: Any) -> list[str]:
    """To whom it was told that a server was started."""
    code = "SELECT role FROM broker.notice WHERE code = 'resource.started_outside' AND subject_id = :s ORDER BY role"
    return [row.role for row in world.rows(code, s=server.id)]


def test_started_at_its_cloud_it_is_charged_and_heard_anew(world: World) -> None:
    """Charged in full from the look that saw it, told once; the owner has a whole window, then it is stopped again."""
    _, case_id, (server, _) = reclaim.proposed(world)
    start(world, server)
    world.clock.forward(hours=1)
    compare(world.app, "jyt")
    seen = world.clock()
    assert outside(world, server) == ["applicant", "cloud_chief", "cloud_operator", "operator"]
    [period] = world.rows(
        "SELECT state, lower(during) AS since FROM broker.resource_period"
        " WHERE resource_id = :r AND upper_inf(during)", r=server.id,
    )  # fmt: skip
    assert (period.state, period.since) == ("active", seen)
    world.clock.forward(hours=1)
    compare(world.app, "jyt")
    assert len(outside(world, server)) == 4
    reclaim.days_come(world)
    assert (reclaim.state(world, case_id), reclaim.case(world, case_id).proposed_by) == ("resuming", None)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.noticed_at, row.suspended_at, row.keep_until) == ("noticed", world.clock(), None, None)
    assert row.due_at == world.app.calendar.deadline(row.noticed_at, row.grace_workdays).at
    assert reclaim.told(world, "reclaim.heard_again") == {"applicant", "cloud_chief"}
    with world.acting("deliver.jyt") as work:
        found = [why for case, why in watched.desk(work) if case.id == case_id]
    assert found == [["started"]]
    slate.check(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"
    assert reclaim.spans(world, server.id)[-1] == ("memory_gib", "stopped", True)
    with world.acting("deliver.jyt") as work:
        assert case_id not in [case.id for case, _ in watched.desk(work)]
    slate.check(world)


def test_what_an_answer_gave_before_is_not_given_again(world: World) -> None:
    """Working days of an objection that was answered in the first window do not lengthen the second."""
    _, case_id, (server, _) = reclaim.noticed(world, cause=Cause.PERSON)
    reclaim.object_to(world, case_id)
    reclaim.say(world, case_id, Decision.EXTEND, workdays=7)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    reclaim.object_to(world, case_id)
    start(world, server)
    compare(world.app, "jyt")
    reclaim.days_come(world)
    assert reclaim.state(world, case_id) == "contested", "its objection is answered first"
    reclaim.say(world, case_id, Decision.REFUSE)
    reclaim.days_come(world)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert row.state == "noticed"
    assert row.due_at == world.app.calendar.deadline(row.noticed_at, row.grace_workdays).at


def test_what_we_start_ourselves_was_not_started_by_others(world: World) -> None:
    """The comparison comes while a case's own order is under way."""
    case_id = reclaim.up_to(world, "resuming")
    [server] = world.rows(
        "SELECT r.id, r.project_id FROM broker.resource r JOIN broker.reclaim_case_resource c ON c.resource_id = r.id"
        " WHERE c.case_id = :c AND r.kind = 'server'", c=case_id,
    )  # fmt: skip
    start(world, server)
    compare(world.app, "jyt")
    assert outside(world, server) == []
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"


def test_taken_up_because_it_was_off_it_is_dropped_when_it_runs(world: World) -> None:
    """Standing still was all that was found: no sample says more than that it runs."""
    request_id = reclaim.delivered(world)
    server = reclaim.servers(world, request_id)[0]
    with world.app.sessions.begin() as session:
        made = text(
            "INSERT INTO broker.idle_finding (id, resource_id, kind, policy, policy_version, first_day, last_day, days,"
            " evidence, scanned_on, found_at) VALUES"
            " (gen_random_uuid(), :r, 'off', 'off', 't', '2026-01-01', '2026-01-01',"
            " 1, '[]', '2026-01-01', now()) RETURNING id"
        )
        finding = session.scalar(made, {"r": server.id})
    case_id = reclaim.open_case(world, server.id, cause=Cause.PERSON, finding_id=finding)
    reclaim.days_come(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    start(world, server)
    compare(world.app, "jyt")
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.state(world, case_id) == "dropped"


def vanish(world: World, server: Any) -> None:
    """Somebody deletes it at its cloud."""
    while not world.app.providers("jyt").delete(Key(Kind.SERVER, server.id, server.project_id)):
        pass


def hide(world: World, server: UUID, to: UUID) -> None:
    """The cloud's listing has it under another id: for us it is not there."""
    cloud = create_engine(world.clouds_url, poolclass=NullPool)
    with cloud.begin() as connection:
        change = text("UPDATE simulated.object SET tag = :to WHERE tag = :tag AND kind = 'server'")
        connection.execute(change, {"tag": server, "to": to})
    cloud.dispose()


def charged(world: World, resource_id: UUID) -> list[tuple[str, datetime, datetime | None]]:
    """The periods in which a resource is charged, oldest first: state, from, to."""
    rows = world.rows(
        "SELECT state, lower(during) AS since, upper(during) AS until FROM broker.resource_period"
        " WHERE resource_id = :r AND upper(during) IS DISTINCT FROM lower(during) + interval '1 microsecond'"
        " ORDER BY during", r=resource_id,
    )  # fmt: skip
    return [(row.state, row.since, row.until) for row in rows]


def events(world: World, resource_id: UUID) -> list[str]:
    """What the audit log says of a resource."""
    wanted = "SELECT action FROM broker.audit_event WHERE subject_type = 'resource' AND subject_id = :r ORDER BY id"
    return [row.action for row in world.rows(wanted, r=resource_id)]


def told(world: World, code: str, resource_id: UUID) -> list[str]:
    wanted = "SELECT role FROM broker.notice WHERE code = :c AND subject_id = :r ORDER BY role"
    return [row.role for row in world.rows(wanted, c=code, r=resource_id)]


ALL = ["applicant", "cloud_chief", "cloud_operator", "operator"]


def test_what_is_gone_is_charged_no_more_and_what_comes_back_from_then_on(world: World) -> None:
    """Outside any case: told to its unit and the operators, once each time; the time in between is nobody's to pay."""
    server, _ = reclaim.servers(world, reclaim.delivered(world))
    with world.app.sessions.begin() as session:
        made = text(
            "INSERT INTO broker.usage_record (id, resource_id, meter, quantity, during)"
            " VALUES (gen_random_uuid(), :r, 'public_ip', 1, tstzrange(:since, NULL))"
        )
        session.execute(made, {"r": server.id, "since": world.clock()})
    hidden = new_id()
    hide(world, server.id, hidden)
    world.clock.forward(hours=1)
    compare(world.app, "jyt")
    gone_at = world.clock()
    world.clock.forward(hours=1)
    compare(world.app, "jyt")
    [period] = charged(world, server.id)
    assert (period[0], period[2]) == ("active", gone_at)
    assert told(world, "resource.lost", server.id) == ALL
    with world.acting("deliver.jyt") as work:
        assert [row[0].id for row in missing.listed(work)] == [server.id]
    still = [(d.kind, d.row_state) for d in reconcile(world.app.tools(), "jyt") if d.key.id == server.id]
    assert still == [(DriftKind.LOST, "releasing")], "an operator who compares still sees it"
    hide(world, hidden, server.id)
    world.clock.forward(days=2)
    compare(world.app, "jyt")
    back_at = world.clock()
    world.clock.forward(hours=1)
    compare(world.app, "jyt")
    assert charged(world, server.id)[1:] == [("active", back_at, None)]
    assert told(world, "resource.turned_up", server.id) == ALL
    assert events(world, server.id) == ["resource.lost", "resource.turned_up"]
    ips = "SELECT lower(during) AS since, upper(during) AS until FROM broker.usage_record WHERE resource_id = :r"
    spans = [(r.since, r.until) for r in world.rows(f"{ips} ORDER BY during", r=server.id)]
    assert [spans[0][1], *spans[1]] == [gone_at, back_at, None], "what is charged beside its size goes the same way"
    slate.check(world)


def test_what_is_gone_is_given_back_by_its_unit(world: World) -> None:
    """Its request closes with all it brought; the quota comes back."""
    request_id = reclaim.delivered(world)
    server, _ = reclaim.servers(world, request_id)
    vanish(world, server)
    compare(world.app, "jyt")
    road.release(world, request_id)
    road.walk(world)
    assert {row.state for row in reclaim.servers(world, request_id)} == {"released"}
    assert world.request(request_id).state == "released"
    slate.check(world)


def test_what_is_gone_is_released_by_a_case_opened_over_it(world: World) -> None:
    """An operator names it, the owner is heard, and two people release it."""
    server, _ = reclaim.servers(world, reclaim.delivered(world))
    vanish(world, server)
    compare(world.app, "jyt")
    case_id = reclaim.open_case(world, server.id, cause=Cause.IDLE)
    reclaim.days_come(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble, row.waits_for) == ("suspended", None, None), "nobody can use what is not there"
    world.clock.now = row.keep_until
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="云上已不存在")
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "released"
    slate.check(world)


@pytest.mark.parametrize("power", ["on", "off"])
def test_what_a_case_proposed_as_lost_turns_up_at_the_comparison(world: World, power: str) -> None:
    """The proposal is void at once, the owner and the operators hear of it, and nobody confirms it unknowingly."""
    _, case_id, (server, _) = reclaim.proposed(world)
    hidden = new_id()
    hide(world, server.id, hidden)
    compare(world.app, "jyt")
    assert reclaim.case(world, case_id).state == "proposed"
    assert charged(world, server.id)[-1][2] == world.clock()
    hide(world, hidden, server.id)
    if power == "on":
        world.app.providers("jyt").power(Key(Kind.SERVER, server.id, server.project_id), on=True)
    world.clock.forward(hours=1)
    compare(world.app, "jyt")
    row = reclaim.case(world, case_id)
    assert (row.state, row.proposed_by) == ("suspended", None)
    assert row.keep_until > world.clock()
    state = "active" if power == "on" else "stopped"
    last = charged(world, server.id)[-1]
    assert (last[0], last[1].replace(microsecond=0), last[2]) == (state, world.clock().replace(microsecond=0), None)
    assert reclaim.refusal(world, "approve.jyt", cases.confirm, case_id) == "reclaim.state"
    reclaim.days_come(world)
    assert reclaim.state(world, case_id) == ("resuming" if power == "on" else "suspended")
    slate.check(world)


def test_what_comes_back_while_its_release_is_stuck_is_told_and_kept(world: World) -> None:
    """A disk of it could not be deleted: operators hear once that the server is there, and trying again keeps it."""
    _, case_id, (server, _) = reclaim.proposed(world)
    hidden = new_id()
    hide(world, server.id, hidden)
    compare(world.app, "jyt")
    faults.inject(world.clouds_url, Fault("jyt", "delete", Kind.VOLUME, Mode.REFUSE))
    reclaim.confirm(world, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.trouble_step) == ("releasing", "delete")
    hide(world, hidden, server.id)
    for _ in range(2):
        compare(world.app, "jyt")
    told = "SELECT role, params FROM broker.notice WHERE code = 'reclaim.back' AND subject_id = :c"
    assert [(r.role, r.params["resource"]) for r in world.rows(told, c=case_id)] == [("operator", server.number)]
    assert reclaim.case(world, case_id).state == "releasing", "put right by the look, not by the comparison"
    with world.acting("deliver.jyt") as work:
        cases.retry(work, case_id)
    road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.confirmed_by, row.trouble) == ("suspended", None, None)
    assert reclaim.status(world, server) is Status.STOPPED
    assert charged(world, server.id)[-1][::2] == ("stopped", None)
    disk = world.rows("SELECT id, state FROM broker.resource WHERE server_id = :s", s=server.id)[0]
    assert (disk.state, charged(world, disk.id)[-1][2]) == ("active", None), "what was to be deleted with it stays, too"
    world.clock.now = row.keep_until + timedelta(seconds=1)
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满")
    reclaim.confirm(world, case_id)
    road.walk(world)
    assert reclaim.state(world, case_id) == "released"
    slate.check(world)


def test_what_was_lost_before_its_suspension_is_started_when_it_is_back(world: World) -> None:
    """It ran when it was missed, and is back while the case stands still: an accepted objection starts it."""
    _, case_id, (server, _) = reclaim.noticed(world, cause=Cause.PERSON)
    hidden = new_id()
    hide(world, server.id, hidden)
    compare(world.app, "jyt")
    assert (reclaim.state(world, case_id), charged(world, server.id)[-1][2]) == ("noticed", world.clock())
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    world.app.providers("jyt").power(Key(Kind.SERVER, hidden, server.project_id), on=False)
    hide(world, hidden, server.id)
    compare(world.app, "jyt")
    assert charged(world, server.id)[-1] == ("stopped", world.clock(), None)
    with world.acting("approve.jyt") as work:
        cases.resume(work, case_id, reason="业务恢复")
    road.walk(world)
    assert charged(world, server.id)[-1][0] == "active"
    slate.check(world)


def test_a_cloud_that_misses_very_many_is_not_believed_without_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its listing is more likely broken than all these servers: told once a day, charged until an operator says so."""
    monkeypatch.setattr(missing, "PERCENT", 1)  # other tests of this world have left many
    found = [s for _ in range(2) for s in reclaim.servers(world, reclaim.delivered(world))]
    hidden = {server.id: new_id() for server in found}
    for server_id, other in hidden.items():
        hide(world, server_id, other)
    for _ in range(2):
        compare(world.app, "jyt")
    assert [charged(world, s.id)[-1][2] for s in found] == [None] * 4
    assert reclaim.told(world, "resource.many_missing") == {Role.OPERATOR.value, Role.CLOUD_OPERATOR.value}
    drifts = reconcile(world.app.tools(), "jyt")
    assert missing.take_note(world.app.works, world.app.settings, "jyt", drifts, believed=True) == 4
    assert [charged(world, s.id)[-1][2] for s in found] == [world.clock()] * 4
    for server_id, other in hidden.items():
        hide(world, other, server_id)
    compare(world.app, "jyt")
    slate.check(world)
