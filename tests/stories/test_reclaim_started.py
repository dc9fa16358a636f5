"""Suspended servers that somebody starts at their cloud: charged from that look, heard anew, or dropped."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from broker.reclamation import watched
from broker.reclamation.values import Cause, Decision
from broker.workflows.drift import compare
from providers.contract import Key, Kind
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
