"""The whole road once, and its turnings."""

from __future__ import annotations

from tests.stories import road
from tests.stories.world import World


def test_a_request_travels_from_submission_to_release(world: World) -> None:
    """Art. 17: applied for, approved, assessed, delivered, metered; in the end taken back (Art. 14)."""
    request_id = road.submit(world)
    assert world.request(request_id).state == "submitted"
    road.approve(world, request_id)
    assert world.request(request_id).state == "approved"
    road.assess(world, request_id)
    assert world.request(request_id).state == "assessed"
    road.order(world, request_id)
    world.clock.forward(hours=1)
    road.walk(world)
    request = world.request(request_id)
    assert request.state == "delivered", world.rows("SELECT step, code FROM broker.desk_case")
    assert world.scalar("SELECT count(*) FROM broker.resource WHERE state = 'active'") == 6

    world.clock.forward(days=30)
    road.release(world, request_id)
    road.walk(world)
    assert world.request(request_id).state == "released"
    assert world.scalar("SELECT count(*) FROM broker.resource WHERE state <> 'released'") == 0
    assert world.scalar("SELECT sum(used) FROM quotas.inventory") == 0
