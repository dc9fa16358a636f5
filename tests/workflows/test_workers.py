"""Several workers at once, and a region that grows while they run."""

from __future__ import annotations

import socket
from datetime import datetime

import httpx
from sqlalchemy import text

from broker.settings import Settings
from broker.workflows.worker import show_metrics
from tests.ports import free_port
from tests.stories import road, slate
from tests.workflows.conftest import Workshops
from tests.workflows.harness import PATIENCE_S, Workshop, prepare

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
    """It looks at the region again, asks the new cloud how it feels and delivers there; its metrics say so."""
    port = free_port()
    workshop = workshops()
    request_id = prepare(workshop)
    in_service(workshop, "jyt", yes=False)
    before = asked_at(workshop, "main"), asked_at(workshop, "jyt")
    workshop.start_workers(GUIYUN_WORKER_METRICS_PORT=str(port))
    workshop.until(lambda: asked_at(workshop, "main") > before[0])
    road.order(workshop.world, request_id)
    in_service(workshop, "jyt", yes=True)
    workshop.settle([request_id])
    assert workshop.states() == {"delivered": 1}
    workshop.until(lambda: asked_at(workshop, "jyt") > before[1])
    read = (
        "SELECT read_until FROM broker.collector r JOIN broker.sub_cloud c ON c.id = r.sub_cloud_id"
        " WHERE c.code = 'main'"
    )
    assert collector_due(workshop, "main")
    workshop.until(lambda: workshop.world.scalar(read) is not None)

    def measured() -> bool:
        """A step is counted a moment after its rows are there."""
        said = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S).text
        return all(line in said for line in COUNTED)

    workshop.until(measured)
    workshop.stop_workers()


COUNTED = (
    'guiyun_steps_total{outcome="done",step="collect"}',
    'guiyun_sub_cloud_healthy{sub_cloud="jyt"} 1.0',
    'guiyun_steps_total{outcome="done",step="create_servers"} 1.0',
    'guiyun_step_seconds_count{step="hand_over"} 1.0',
)


def asked_at(workshop: Workshop, code: str) -> datetime:
    """When a cloud was last asked how it feels."""
    asked = "SELECT checked_at FROM broker.sub_cloud_status s JOIN broker.sub_cloud c ON c.id = sub_cloud_id"
    found: datetime = workshop.world.scalar(f"{asked} WHERE c.code = :code", code=code)
    return found


def test_a_port_that_is_taken_costs_the_metrics_and_nothing_else() -> None:
    """Two workers of one machine with one setting: the second works on without."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        show_metrics(Settings(worker_metrics_port=taken.getsockname()[1]))


def collector_due(workshop: Workshop, code: str) -> bool:
    """The date of a cloud's collector comes now; whether it has one."""
    with workshop.world.app.sessions.begin() as session:
        due = text(
            "UPDATE broker.collector r SET due_at = :now FROM broker.sub_cloud c"
            " WHERE c.id = r.sub_cloud_id AND c.code = :code RETURNING r.id"
        )
        return session.execute(due, {"now": workshop.world.clock(), "code": code}).first() is not None


def in_service(workshop: Workshop, code: str, *, yes: bool) -> None:
    """To a worker a cloud that is not in service is one that has not been loaded yet."""
    with workshop.world.app.sessions.begin() as session:
        statement = (
            "UPDATE broker.sub_cloud SET retired_at = CASE WHEN :yes THEN NULL ELSE now() END WHERE code = :code"
        )
        session.execute(text(statement), {"yes": yes, "code": code})
