"""Where the road turns: holds that expire, requests that are withdrawn, decisions that come late or all at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from broker.approval import service as approval
from broker.approval.service import Decision
from broker.assessment import letting_go
from broker.assessment import service as assessment
from broker.delivery import begin, provision
from broker.delivery import service as delivery
from broker.delivery.service import Action
from broker.errors import BrokerError, Conflict
from broker.reclamation import service as reclamation
from broker.request import repository
from broker.request import service as requests
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from quotas import service as quotas
from quotas.ipv6 import service as ipv6
from quotas.values import Line, ResourceClass
from tests.quotas.world import PATIENCE_S, somebody_waits
from tests.stories import road, slate
from tests.stories.world import World

THREADS = 8


def clocks(world: World, request_id: UUID) -> list[tuple[str, int, bool]]:
    """(stage, round, still running) of a request, oldest first."""
    rows = world.rows(
        "SELECT stage, round, finished_at IS NULL AS open FROM broker.stage_clock WHERE request_id = :r ORDER BY id",
        r=request_id,
    )
    return [(row.stage, row.round, row.open) for row in rows]


def notices(world: World, request_id: UUID, code: str) -> list[str]:
    """Whom a notice went to: the role."""
    rows = world.rows(
        "SELECT role FROM broker.notice WHERE subject_id = :r AND code = :c ORDER BY id", r=request_id, c=code
    )
    return [row.role for row in rows]


def dates(world: World) -> int:
    """What dispatch does every twenty seconds about holds."""
    with world.app.works.begin() as work:
        return letting_go.expire_holds(work)


def test_an_expiry_and_who_counts_and_then_takes_prefixes_cannot_wait_in_a_ring(world: World) -> None:
    """The sweep has no prefix while it waits for the gate, so whoever counted first ends and then the sweep does."""
    request_id = road.submit(world)
    road.approve(world, request_id)
    road.assess(world, request_id)
    segment = world.scalar("SELECT id FROM broker.resource WHERE request_id = :r AND kind = 'segment'", r=request_id)
    cloud = world.scalar("SELECT id FROM broker.sub_cloud WHERE code = 'main'")
    unit = world.scalar("SELECT id FROM broker.unit WHERE code = 'jyt'")
    world.clock.forward(days=60)
    with world.app.works.begin() as work, ThreadPoolExecutor(1) as other:
        line = Line(ResourceClass.VCPU_X86_64, 1, cloud)
        quotas.hold(work.session, owner=uuid4(), node=unit, lines=[line], expires_at=work.now + timedelta(days=1))
        sweeping = other.submit(dates, world)
        somebody_waits(world.app.engine)
        ipv6.cancel(work.session, segment)
        work.session.commit()
        assert sweeping.result(timeout=PATIENCE_S) == 1
    assert world.request(request_id).state == "approved"


def test_an_expiry_passes_by_a_request_that_somebody_decides_about(world: World) -> None:
    """Its holds are met by the next look; neither waits for the other."""
    request_id = road.submit(world)
    road.approve(world, request_id)
    road.assess(world, request_id)
    world.clock.forward(days=60)
    with world.acting("apply.jyt") as work, ThreadPoolExecutor(1) as other:
        repository.load(work.session, work.actor, request_id, lock=True)
        assert other.submit(dates, world).result(timeout=PATIENCE_S) == 0
        letting_go.withdraw(work, request_id, reason="不再需要")
    assert (dates(world), world.request(request_id).state) == (0, "withdrawn")


def item_states(world: World, request_id: UUID) -> set[str]:
    rows = world.rows("SELECT DISTINCT state FROM broker.request_item WHERE request_id = :r", r=request_id)
    return {row.state for row in rows}


def back_to_the_assessor(world: World, request_id: UUID) -> None:
    assert world.request(request_id).state == "approved"
    assert clocks(world, request_id) == [
        ("approval", 1, False),
        ("assessment", 1, False),
        ("delivery", 1, False),
        ("assessment", 2, True),
    ]
    assert notices(world, request_id, "hold.expired") == ["assessor"]
    assert item_states(world, request_id) == {"requested"}
    assert world.request(request_id).due_at is not None
    slate.check(world)


def assess_again_and_deliver(world: World, request_id: UUID) -> None:
    world.ask_health()
    road.assess(world, request_id)
    road.order(world, request_id)
    road.walk(world)
    assert world.request(request_id).state == "delivered"
    assert item_states(world, request_id) == {"delivered"}
    world.clock.forward(hours=1)
    slate.check(world)
    road.release(world, request_id)
    road.walk(world)
    assert world.request(request_id).state == "released"


def test_a_hold_that_expires_before_the_order_sends_the_request_back(town: World) -> None:
    """Ten days after the assessment quota and prefix are free again, and the assessor's clock starts anew, once."""
    request_id = road.submit(town)
    road.approve(town, request_id)
    road.assess(town, request_id)
    town.clock.forward(days=road.HOLD_DAYS, seconds=-1)
    assert dates(town) == 0
    town.clock.forward(seconds=1)
    assert dates(town) == 1
    assert dates(town) == 0
    back_to_the_assessor(town, request_id)
    assess_again_and_deliver(town, request_id)


@pytest.mark.parametrize("faster", ["dispatch", "the step"])
def test_a_hold_that_expires_between_order_and_delivery_sends_the_request_back(faster: str, town: World) -> None:
    """Nothing was made; a delivery that finds its hold gone ends, and a later one is complete."""
    request_id = road.up_to_order(town)
    [wanting] = road.jobs(town)
    town.clock.forward(days=road.HOLD_DAYS)
    if faster == "dispatch":
        dates(town)
    road.walk(town)
    assert road.jobs(town) == []
    assert begin.pin_hold(town.app.tools(), wanting.job).ended == "expired"
    back_to_the_assessor(town, request_id)
    assess_again_and_deliver(town, request_id)


def test_a_pinned_hold_does_not_expire(town: World) -> None:
    """What is on its way, or waits on the desk, keeps what was assessed, however long it takes."""
    request_id = road.up_to_order(town)
    backup = town.scalar("SELECT id FROM broker.resource WHERE request_id = :r AND name = 'backup'", r=request_id)
    faults.inject(town.clouds_url, Fault("jyt", "create", Kind.VOLUME, Mode.REFUSE, object_id=backup))
    road.walk(town)
    town.clock.forward(days=10 * road.HOLD_DAYS)
    assert dates(town) == 0
    town.ask_health()
    road.decide_all(town, request_id, Action.RETRY)
    road.walk(town)
    assert town.request(request_id).state == "delivered"
    town.clock.forward(hours=1)
    slate.check(town)
    road.release(town, request_id)
    road.walk(town)


def test_a_request_withdrawn_after_the_assessment_lets_go_of_everything(town: World) -> None:
    """Quota and prefix are free at once, no clock runs, and nobody can order it any more."""
    request_id = road.submit(town)
    road.approve(town, request_id)
    road.assess(town, request_id)
    with town.acting("apply.jyt") as work:
        letting_go.withdraw(work, request_id, reason="项目取消")
    assert town.request(request_id).state == "withdrawn"
    assert item_states(town, request_id) == {"cancelled"}
    assert not any(still for _, _, still in clocks(town, request_id))
    assert town.scalar("SELECT sum(used) FROM quotas.inventory") == 0
    slate.check(town)
    with pytest.raises(Conflict, match=r"state\.refused"):
        road.order(town, request_id)
    with pytest.raises(Conflict, match=r"state\.refused"), town.acting("apply.jyt") as work:
        letting_go.withdraw(work, request_id, reason="再撤一次")


def test_a_request_for_which_nothing_is_planned_is_not_set_on_its_way(town: World) -> None:
    """It would stay there for ever: no delivery comes of the order, and nothing else ends one."""
    request_id = road.submit(town)
    road.approve(town, request_id)
    road.assess(town, request_id)
    undone = text("UPDATE broker.resource SET state = 'undone' WHERE request_id = :r")
    with town.acting("deliver.jyt") as work:
        work.session.execute(undone, {"r": request_id})
        with pytest.raises(Conflict, match=r"hold\.gone"):
            delivery.order(work, request_id)
        work.session.rollback()
    assert town.request(request_id).state == "assessed"
    assert item_states(town, request_id) == {"held"}
    assert town.rows("SELECT FROM broker.delivery WHERE request_id = :r", r=request_id) == []
    with town.acting("apply.jyt") as work:
        letting_go.withdraw(work, request_id, reason="项目取消")


def test_a_request_on_its_way_cannot_be_withdrawn(town: World) -> None:
    """From the order on it is delivered or undone."""
    request_id = road.up_to_order(town)
    with pytest.raises(Conflict, match=r"state\.refused"), town.acting("apply.jyt") as work:
        letting_go.withdraw(work, request_id, reason="太晚了")
    road.walk(town)
    assert town.request(request_id).state == "delivered"
    town.clock.forward(hours=1)
    road.release(town, request_id)
    road.walk(town)


def test_a_decision_on_an_older_revision_is_refused(town: World) -> None:
    """Who decides names the revision that was seen: a corrected form is decided on as it is now (409)."""
    request_id = road.submit(town)
    seen = town.request(request_id).revision_id
    assert seen is not None
    with town.acting("approve.jyt") as work:
        approval.decide(work, request_id, Decision.RETURN, revision_id=seen, reason="请补充用途")
    with town.acting("apply.jyt") as work:
        requests.submit(work, road.form_now(town, purpose="学籍管理系统扩容，用于秋季招生"), request_id=request_id)
    with pytest.raises(Conflict) as refused, town.acting("approve.jyt") as work:
        approval.decide(work, request_id, Decision.APPROVE, revision_id=seen)
    assert (refused.value.code, refused.value.status) == ("revision.stale", 409)
    assert town.request(request_id).state == "submitted"
    road.approve(town, request_id)
    with pytest.raises(Conflict) as refused, town.acting("assess.jyt") as work:
        assessment.confirm(work, request_id, revision_id=seen, hold_days=1)
    assert refused.value.code == "revision.stale"


def at_once(act: Callable[[int], Any]) -> list[str]:
    """Eight threads do the same at the same moment; what each got: ``ok`` or the error's code."""
    start = Barrier(THREADS)

    def one(number: int) -> str:
        start.wait()
        try:
            act(number)
        except BrokerError as error:
            return error.code
        return "ok"

    with ThreadPoolExecutor(THREADS) as threads:
        return sorted(threads.map(one, range(THREADS)))


def test_of_eight_that_decide_at_once_one_wins_at_every_stage(town: World) -> None:
    """One approval, one assessment with one hold, one order, one release: the others are told that they came late."""
    request_id = road.submit(town)
    lost = ["state.refused"] * (THREADS - 1)
    for who in ("apply.jyt", "approve.jyt", "assess.jyt", "deliver.jyt"):
        town._token(who)
    assert at_once(lambda _: road.approve(town, request_id)) == ["ok", *lost]
    assert at_once(lambda _: road.assess(town, request_id)) == ["ok", *lost]
    assert town.scalar("SELECT count(*) FROM quotas.hold WHERE owner = :r", r=request_id) == 1
    assert at_once(lambda _: road.order(town, request_id)) == ["ok", *lost]
    assert town.scalar("SELECT count(*) FROM broker.delivery WHERE request_id = :r", r=request_id) == 1
    road.walk(town)
    town.clock.forward(hours=1)

    def ask(_: int) -> None:
        with town.acting("apply.jyt") as work:
            reclamation.ask(work, request_id, reason="不再需要")

    def confirm(_: int) -> None:
        release_id = town.scalar("SELECT id FROM broker.release WHERE request_id = :r", r=request_id)
        with town.acting("deliver.jyt") as work:
            reclamation.confirm(work, release_id)

    assert at_once(ask) == ["ok", *lost]
    assert at_once(confirm) == ["ok", *["release.not_asked"] * (THREADS - 1)]
    road.walk(town)
    assert town.request(request_id).state == "released"
    slate.check(town)


def test_of_eight_that_decide_one_case_one_wins(town: World) -> None:
    """A case is closed once, and the delivery runs once more, not eight times."""
    request_id = road.up_to_order(town)
    faults.inject(town.clouds_url, Fault("jyt", "create", Kind.NETWORK, Mode.REFUSE))
    road.walk(town)
    case_id = town.scalar("SELECT id FROM broker.desk_case WHERE request_id = :r", r=request_id)
    town._token("deliver.jyt")

    def decide(_: int) -> None:
        with town.acting("deliver.jyt") as work:
            reclamation.decide_case(work, case_id, Action.RETRY)

    assert at_once(decide) == [*["case.closed"] * (THREADS - 1), "ok"]
    assert town.scalar("SELECT run FROM broker.delivery WHERE request_id = :r", r=request_id) == 2
    road.walk(town)
    assert town.request(request_id).state == "delivered"
    town.clock.forward(hours=1)
    road.release(town, request_id)
    road.walk(town)


def test_a_case_is_not_decided_while_its_delivery_walks(town: World) -> None:
    """What lies on the desk may still change: wait until it stands."""
    request_id = road.up_to_order(town)
    faults.inject(town.clouds_url, Fault("jyt", "create", Kind.VOLUME, Mode.REFUSE, times=2))
    road.walk(town)
    rows = town.rows("SELECT id FROM broker.desk_case WHERE request_id = :r ORDER BY id", r=request_id)
    assert len(rows) == 2
    with town.acting("deliver.jyt") as work:
        reclamation.decide_case(work, rows[0].id, Action.RETRY)
    assert road.jobs(town) == [], "the other case is still open"
    with town.acting("deliver.jyt") as work:
        reclamation.decide_case(work, rows[1].id, Action.RETRY)
    [wanting] = road.jobs(town)
    tools = town.app.tools()
    begin.pin_hold(tools, wanting.job)
    faults.inject(town.clouds_url, Fault("jyt", "create", Kind.NETWORK, Mode.REFUSE))
    road.patiently(lambda pace: provision.create_project(tools, wanting.job, pace))
    road.patiently(lambda pace: provision.create(tools, wanting.job, "segment", pace))
    case_id = town.scalar("SELECT id FROM broker.desk_case WHERE request_id = :r AND closed_at IS NULL", r=request_id)
    with pytest.raises(Conflict, match="on_its_way"), town.acting("deliver.jyt") as work:
        reclamation.decide_case(work, case_id, Action.GIVE_UP, reason="不等了")
    road.walk(town)
    road.decide_all(town, request_id, Action.RETRY)
    road.walk(town)
    assert town.request(request_id).state == "delivered"
    town.clock.forward(hours=1)
    slate.check(town)
    road.release(town, request_id)
    road.walk(town)


def test_the_secret_is_shown_once_after_the_delivery(town: World) -> None:
    """Where the applicant gave no key, one is made before the first server, shown once, and erased."""
    request_id = road.up_to_order(town, ssh_public_key="")
    [wanting] = road.jobs(town)
    with pytest.raises(BrokerError, match=r"secret\.none"), town.acting("apply.jyt") as work:
        delivery.show_secret(work, wanting.job.id, town.app.settings)
    road.walk(town)
    with town.acting("apply.jyt") as work:
        assert "PRIVATE KEY" in delivery.show_secret(work, wanting.job.id, town.app.settings)
    with pytest.raises(Conflict, match=r"secret\.shown"), town.acting("apply.jyt") as work:
        delivery.show_secret(work, wanting.job.id, town.app.settings)
    assert town.scalar("SELECT secret FROM broker.delivery WHERE id = :d", d=wanting.job.id) is None
    town.clock.forward(hours=1)
    road.release(town, request_id)
    road.walk(town)


def test_a_secret_that_nobody_fetched_goes_with_its_servers(town: World) -> None:
    """After the release it opens nothing, and is neither kept nor shown any more."""
    request_id = road.up_to_order(town, ssh_public_key="")
    [wanting] = road.jobs(town)
    road.walk(town)
    town.clock.forward(hours=1)
    road.release(town, request_id)
    road.walk(town)
    assert town.request(request_id).state == "released"
    assert town.scalar("SELECT secret FROM broker.delivery WHERE id = :d", d=wanting.job.id) is None
    with pytest.raises(BrokerError, match=r"secret\.none"), town.acting("apply.jyt") as work:
        delivery.show_secret(work, wanting.job.id, town.app.settings)


def test_periods_follow_each_other_when_the_machines_clocks_disagree(town: World) -> None:
    """A release confirmed by a machine whose clock is behind still ends the metering, after it began."""
    request_id = road.up_to_order(town)
    road.walk(town)
    road.release(town, request_id)
    town.clock.now -= timedelta(seconds=5)
    road.walk(town)
    assert town.request(request_id).state == "released"
    slate.check(town)
