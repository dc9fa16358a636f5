"""Several workers at once: together they do what one does, and when one dies the others go on."""

from __future__ import annotations

from tests.stories import road, slate
from tests.workflows.conftest import Workshops
from tests.workflows.harness import prepare

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
