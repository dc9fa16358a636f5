"""What the owner says against a case, and what the authority answers: the clock stands, nobody answers his own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from broker.errors import Conflict, Invalid
from broker.lifecycle import Role
from broker.reclamation import cases, history, terms, watched
from broker.reclamation.values import Answer, Cause, Decision
from tests.stories import reclaim, road
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


def test_an_exemption_goes_before_the_end_of_a_term(world: World) -> None:
    """Accepted until a day after the term's end, against the very case of the term: its next window begins that day."""
    last_day = (world.clock() + timedelta(days=20)).date()
    request_id = reclaim.delivered(world, end_date=str(last_day))
    number = world.request(request_id).number

    def of_the_term() -> list[Any]:
        with world.app.works.begin() as work:
            terms.come(work)
        reclaim.days_come(world)
        made = "SELECT * FROM broker.reclaim_case WHERE evidence->>'request' = :n ORDER BY id"
        return world.rows(made, n=number)

    [case] = of_the_term()
    world.clock.forward(days=22)
    reclaim.object_to(world, case.id)
    until = world.clock() + timedelta(days=20)
    reclaim.say(world, case.id, Decision.ACCEPT, until=until)
    world.clock.forward(minutes=5)
    _, again = of_the_term()
    assert (again.cause, again.state) == ("term", "noticed")
    assert again.due_at == world.app.calendar.deadline(until, again.grace_workdays).at


def test_a_word_for_what_nobody_measures_ends(world: World) -> None:
    """With the owner's objection, or after three days: what was true in March is vouched for anew in June."""
    _, case_id, _ = reclaim.noticed(world)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)

    def vouch() -> None:
        with world.acting("deliver.jyt") as work:
            cases.waive(work, case_id, reason="电话核实已停用")

    vouch()
    reclaim.object_to(world, case_id)
    reclaim.say(world, case_id, Decision.EXTEND, workdays=60)
    reclaim.pass_the_window(world, case_id)
    road.walk(world)
    assert (reclaim.state(world, case_id), reclaim.case(world, case_id).waits_for) == ("noticed", "unmeasured")
    vouch()
    world.clock.forward(days=4)
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.case(world, case_id).waits_for == "unmeasured"
    vouch()
    reclaim.days_come(world)
    road.walk(world)
    assert reclaim.state(world, case_id) == "suspended"


def test_who_approves_elsewhere_delivers_here_all_the_same(world: World) -> None:
    """Two roles, one of them of another office: the one that counts here is found."""
    _, case_id, _ = reclaim.noticed(world)
    grant = text(
        "INSERT INTO broker.role_grant (id, account_id, role, during) SELECT gen_random_uuid(), id, 'approver',"
        " tstzrange(:at, NULL) FROM broker.account WHERE login = 'deliver.jyt' RETURNING id"
    )
    with world.app.sessions.begin() as session:
        made = session.scalar(grant, {"at": world.clock() - timedelta(days=1)})
    with world.acting("deliver.jyt") as work:
        cases.withdraw(work, case_id, reason="登记有误")
    assert reclaim.state(world, case_id) == "dropped"
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.role_grant SET during = 'empty' WHERE id = :i"), {"i": made})


def test_an_office_without_people_is_heard_through_the_unit_above(world: World) -> None:
    """Each role where its nearest holder is; nobody, where no unit up to the region has one."""
    units = {row.code: row.id for row in world.rows("SELECT code, id FROM broker.unit")}
    with world.app.works.begin() as work:
        found = history.owners(work, units["jyt-zsksy"])
        assert sorted(found) == sorted([(units["jyt-zsksy"], Role.APPLICANT), (units["jyt"], Role.CLOUD_CHIEF)])
        assert history.owners(work, units["gat-xcc"]) == []


def test_a_case_that_nobody_would_hear_of_waits_on_the_desk(world: World) -> None:
    """Its window does not begin; the operators look for a person first, and then it does."""
    request_id = reclaim.delivered(world)
    case_id = reclaim.open_case(world, reclaim.servers(world, request_id)[0].id, cause=Cause.PERSON)
    away = text("UPDATE broker.account SET disabled_at = :at WHERE login IN ('apply.jyt', 'chief.jyt')")
    with world.app.sessions.begin() as session:
        session.execute(away, {"at": world.clock()})
    reclaim.days_come(world)
    reclaim.days_come(world)
    told = world.rows("SELECT code, role FROM broker.notice WHERE subject_id = :c", c=case_id)
    assert [(row.code, row.role) for row in told] == [("reclaim.nobody_to_tell", "operator")]
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for, row.noticed_at) == ("found", "nobody", None)
    with world.acting("deliver.jyt") as work:
        assert (case_id, ["nobody"]) in [(c.id, why) for c, why in watched.desk(work)]
    with world.app.sessions.begin() as session:
        session.execute(away, {"at": None})
    world.clock.forward(days=1)
    reclaim.days_come(world)
    assert reclaim.state(world, case_id) == "noticed"


def test_who_lets_a_case_lie_is_reminded_every_week(world: World) -> None:
    """An objection to answer, a release to propose and to confirm: told when due, again each week, and seen as late."""
    _, case_id, _ = reclaim.suspended(world)

    def lies(weeks: int, code: str) -> tuple[int, list[str]]:
        for _ in range(weeks):
            world.clock.forward(days=7)
            reclaim.days_come(world)
            reclaim.days_come(world)
        count = world.scalar(
            "SELECT count(*) FROM broker.notice WHERE code = :n AND subject_id = :c", n=code, c=case_id
        )
        with world.acting("approve.jyt") as work:
            return count, next((why for case, why in watched.desk(work) if case.id == case_id), [])

    reclaim.object_to(world, case_id)
    assert lies(3, "reclaim.answer_due") == (3, ["answer_late"])
    reclaim.say(world, case_id, Decision.REFUSE)
    world.clock.now = reclaim.case(world, case_id).keep_until
    assert lies(2, "reclaim.propose_due") == (2, ["propose_late"])
    with world.acting("deliver.jyt") as work:
        cases.propose(work, case_id, reason="期满无异议")
    assert lies(2, "reclaim.confirm_due") == (4, ["confirm_late"])
    reclaim.confirm(world, case_id)
    assert lies(0, "reclaim.confirm_due") == (4, [])
    road.walk(world)


def test_no_window_ends_on_a_day_that_no_notice_has_settled(world: World) -> None:
    """Holidays not published: nothing is suspended on a guess, the operators are told once; published, it goes on."""
    _, case_id, _ = reclaim.noticed(world, cause=Cause.PERSON)
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.reclaim_case SET due_provisional = true WHERE id = :c"), {"c": case_id})
    reclaim.pass_the_window(world, case_id)
    for _ in range(3):
        world.clock.forward(days=1, seconds=1)
        reclaim.days_come(world)
        road.walk(world)
    row = reclaim.case(world, case_id)
    assert (row.state, row.waits_for) == ("noticed", "calendar")
    told = "SELECT count(*) FROM broker.notice WHERE code = 'reclaim.calendar_missing' AND subject_id = :c"
    assert world.scalar(told, c=case_id) == 1
    with world.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.reclaim_case SET calendar_version = 'old' WHERE id = :c"), {"c": case_id})
    fell_due = "SELECT count(*) FROM broker.reclaim_act WHERE case_id = :c AND event = 'fall_due'"
    assert world.scalar(fell_due, c=case_id) == 0
    reclaim.days_come(world)
    assert (reclaim.case(world, case_id).waits_for, world.scalar(fell_due, c=case_id)) == (None, 1)
