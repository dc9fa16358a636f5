"""Several workers at once, and a region that grows while they run."""

from __future__ import annotations

from sqlalchemy import text

from tests.stories import road, slate
from tests.workflows.conftest import Workshops
from tests.workflows.harness import Workshop, prepare

REQUESTS = 6


def test_two_workers_deliver_everything_once(workshops: Workshops) -> None:
    """Both dispatch, both carry; one of them dies in the middle, and nothing is twice."""
    workshop = workshops()
    workshop.start_workers(2)
    requests = [prepare(workshop) for _ in range(REQUESTS)]
    workshop.plan_kill(requests[2], "create_servers", "acted_once")
    for request_id in requests:
        road.order(workshop.world, request_id)
    workshop.settle(requests)
    assert workshop.met(requests[2], "create_servers", "acted_once")
    assert workshop.states() == {"delivered": REQUESTS}
    slate.check(workshop.world)
    for request_id in requests:
        road.release(workshop.world, request_id)
    workshop.until(lambda: workshop.states() == {"released": REQUESTS})
    workshop.stop_workers()
    slate.check(workshop.world)


def test_a_cloud_that_appears_later_is_served_without_a_restart(workshops: Workshops) -> None:
    """The worker looks at the region again: it asks the new cloud how it feels, and delivers there."""
    workshop = workshops()
    request_id = prepare(workshop)
    in_service(workshop, "jyt", yes=False)
    asked = "SELECT checked_at FROM broker.sub_cloud_status s JOIN broker.sub_cloud c ON c.id = sub_cloud_id {}"
    before = workshop.world.scalar(asked.format("WHERE c.code = 'jyt'"))
    workshop.start_workers()
    workshop.until(lambda: workshop.world.scalar(asked.format("WHERE c.code = 'main'")) > before)
    road.order(workshop.world, request_id)
    in_service(workshop, "jyt", yes=True)
    workshop.settle([request_id])
    assert workshop.states() == {"delivered": 1}
    assert workshop.world.scalar(asked.format("WHERE c.code = 'jyt'")) > before
    workshop.stop_workers()


def in_service(workshop: Workshop, code: str, *, yes: bool) -> None:
    """To a worker a cloud that is not in service is one that has not been loaded yet."""
    with workshop.world.app.sessions.begin() as session:
        statement = (
            "UPDATE broker.sub_cloud SET retired_at = CASE WHEN :yes THEN NULL ELSE now() END WHERE code = :code"
        )
        session.execute(text(statement), {"yes": yes, "code": code})
