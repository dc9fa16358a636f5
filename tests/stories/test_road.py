"""The whole road once, and its turnings."""

from __future__ import annotations

from sqlalchemy import event

from tests.stories import road
from tests.stories.world import World, form

MOST_STATEMENTS = 59
"""What the benchmark's request may cost, from its people's signing in to the machine's last step; one of them makes the
unit's first project in the cloud, one holds the system so that it goes to no other unit meanwhile. Dispatch and sealing
serve many at once and come on top. It may only become less."""


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


def test_a_request_costs_no_more_statements_than_it_did(world: World) -> None:
    """A segment and a server with a data disk, from submission to delivery: no statement more slips in unseen."""
    segment, server = form()["items"][:2]
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    for login in ("apply.jyt", "approve.jyt", "assess.jyt", "deliver.jyt"):
        with world.acting(login):
            """His token is made."""
    world.ask_health()  # as every worker does first: it has an adapter for each cloud from then on
    event.listen(world.app.engine, "before_cursor_execute", note)
    request_id = road.submit(world, items=[segment, server | {"count": 1}])
    road.approve(world, request_id)
    road.assess(world, request_id)
    road.order(world, request_id)
    road.walk(world)
    event.remove(world.app.engine, "before_cursor_execute", note)
    looked_up_by_the_test, dispatch = 2, 2  # dispatch looks for deliveries and for reclaim cases
    assert len(sent) - looked_up_by_the_test - dispatch <= MOST_STATEMENTS, sent
    assert world.request(request_id).state == "delivered"
