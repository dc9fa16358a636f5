"""What the owner says against a case, and what the authority answers: the clock stands, nobody answers his own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.errors import Conflict, Invalid
from broker.reclamation import cases
from broker.reclamation.values import Answer, Decision
from tests.stories import reclaim
from tests.stories.world import World


@pytest.fixture
def world(reclaiming: World) -> World:
    return reclaiming


def test_an_accepted_objection_exempts_until_a_date(world: World) -> None:
    """The case ends; the resource is not taken up again before the date, and may be after it."""
    _, case_id, (server, _) = reclaim.noticed(world)
    reclaim.object_to(world, case_id)
    until = world.clock() + timedelta(days=90)
    reclaim.say(world, case_id, Decision.ACCEPT, until=until)
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
    reclaim.object_to(world, case_id)
    world.clock.now = before + timedelta(days=1)
    reclaim.days_come(world)
    assert reclaim.state(world, case_id) == "objected", "while it is not answered nothing falls due"
    began = world.rows("SELECT raised_at FROM broker.reclaim_objection WHERE case_id = :c", c=case_id)[0].raised_at
    reclaim.say(world, case_id, Decision.REFUSE)
    row = reclaim.case(world, case_id)
    assert row.state == "noticed"
    stood = world.app.calendar.working_seconds_between(began, world.clock())
    assert world.app.calendar.working_seconds_between(before, row.due_at) == stood


def test_an_extended_window_is_longer_by_working_days(world: World) -> None:
    """And what was said in the objection cannot be answered twice."""
    _, case_id, _ = reclaim.noticed(world)
    row = reclaim.case(world, case_id)
    reclaim.object_to(world, case_id)
    reclaim.say(world, case_id, Decision.EXTEND, workdays=7)
    due = world.app.calendar.deadline(row.noticed_at, row.grace_workdays + 7).at
    assert reclaim.case(world, case_id).due_at == due
    assert (
        reclaim.refusal(world, "approve.jyt", cases.answer, case_id, Answer(Decision.REFUSE, "再次"))
        == "reclaim.not_objected"
    )


def test_who_may_object_and_answer(world: World) -> None:
    """The unit's own people object; the deciding authority answers, completely; strangers do not even see it."""
    _, case_id, _ = reclaim.noticed(world)
    assert reclaim.refusal(world, "deliver.jyt", cases.object_to, case_id, reason="我反对") == "duty.missing"
    assert reclaim.refusal(world, "apply.wjw", cases.object_to, case_id, reason="我反对") == "reclaim.not_found"
    assert reclaim.refusal(world, "apply.jyt", cases.object_to, case_id, reason="") == "reason.missing"
    reclaim.object_to(world, case_id)
    bare = Answer(Decision.ACCEPT, " ")
    with pytest.raises(Invalid) as refused, world.acting("approve.jyt") as work:
        cases.answer(work, case_id, bare)
    assert {p.code for p in refused.value.problems} == {"reason.missing", "reclaim.until_missing"}
    too_much = Answer(Decision.EXTEND, "好", workdays=61)
    assert reclaim.refusal(world, "approve.jyt", cases.answer, case_id, too_much) == "reclaim.workdays_range"
    assert (
        reclaim.refusal(world, "deliver.jyt", cases.answer, case_id, Answer(Decision.REFUSE, "不行")) == "duty.missing"
    )
    assert reclaim.state(world, case_id) == "objected"
