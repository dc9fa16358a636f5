"""A request whose parts lie in two clouds: two deliveries, one request, one hold for both."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from broker.assessment import letting_go
from broker.assessment import service as assessment
from broker.assessment.service import Changes
from broker.delivery.service import Action
from providers.contract import Kind
from providers.simulated import faults
from providers.simulated.faults import Fault, Mode
from tests.stories import road, slate
from tests.stories.world import World


def expire(world: World) -> int:
    """What dispatch does every twenty seconds about holds."""
    with world.app.works.begin() as work:
        return letting_go.expire_holds(work)


def in_two_clouds(world: World, **changes: Any) -> UUID:
    """A request whose spare disk goes to the main cloud, which for this once the same people are in charge of."""
    with world.app.sessions.begin() as session:
        session.execute(
            text(
                "UPDATE broker.sub_cloud_authority m SET unit_id = j.unit_id FROM broker.sub_cloud_authority j,"
                " broker.sub_cloud mc, broker.sub_cloud jc WHERE mc.tier = 'main' AND jc.code = 'jyt'"
                " AND m.sub_cloud_id = mc.id AND j.sub_cloud_id = jc.id AND m.duty = j.duty"
            )
        )
    main = world.scalar("SELECT code FROM broker.sub_cloud WHERE tier = 'main'")
    request_id = road.submit(world, **changes)
    road.approve(world, request_id)
    with world.acting("assess.jyt") as work:
        revision = world.request(request_id).revision_id
        assert revision is not None
        there = Changes(clouds={2: main}, sizes={})
        assessment.confirm(work, request_id, revision_id=revision, hold_days=road.HOLD_DAYS, changes=there)
    road.order(world, request_id)
    return request_id


def test_two_clouds_make_two_deliveries_and_one_request(world: World) -> None:
    """Each walks alone, the request is delivered when both are."""
    request_id = in_two_clouds(world)
    first, second = road.jobs(world)
    road.fulfil(world, first.job)
    assert world.request(request_id).state == "delivering"
    road.fulfil(world, second.job)
    assert world.request(request_id).state == "delivered"
    world.clock.forward(hours=1)
    slate.check(world)
    road.release(world, request_id)
    road.walk(world)
    assert world.request(request_id).state == "released"
    slate.check(world)


def test_a_delivery_whose_cloud_sleeps_does_not_expire_beside_one_that_has_begun(world: World) -> None:
    """The first to begin pins for both: what is made in one cloud is never left alone by the other."""
    request_id = in_two_clouds(world)
    first, second = road.jobs(world)
    road.fulfil(world, first.job)
    world.clock.forward(days=2 * road.HOLD_DAYS)
    assert expire(world) == 0
    road.fulfil(world, second.job)
    assert world.request(request_id).state == "delivered"
    slate.check(world)


def test_failures_in_two_clouds_are_decided_one_by_one(world: World) -> None:
    """While one delivery walks, the other's case can be decided; the request is whole when both are."""
    request_id = in_two_clouds(world)
    for code in slate.clouds(world):
        faults.inject(world.clouds_url, Fault(code, "create", Kind.VOLUME, Mode.REFUSE))
    road.walk(world)
    assert world.request(request_id).state == "needs_operator"
    assert road.decide_all(world, request_id, Action.RETRY) == 2
    assert len(road.jobs(world)) == 2
    road.walk(world)
    assert world.request(request_id).state == "delivered"
    world.clock.forward(hours=1)
    slate.check(world)
