"""Kill -9 of the worker at every step of every act of a reclaim case: it comes to its end, nothing is done twice.

Takes three minutes: `make test-kills`. One worker process, which is started anew when it dies; the cases of an act are
on their way together, so that each death also meets the others wherever they are. What runs again between two steps:
``tests/stories/test_reclaim_in_use``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import NullPool, create_engine, text

from broker.reclamation import cases
from broker.reclamation.values import Cause
from broker.workflows.case_steps import CaseSteps
from tests.stories import reclaim, road, slate
from tests.workflows.conftest import Workshops
from tests.workflows.harness import Workshop
from tests.workflows.killable_worker import IN_DATABASE

pytestmark = pytest.mark.kills

IN_CLOUD_POINTS = ("before", "acted_once", "acted", "done")
DATABASE_POINTS = ("before", "uncommitted", "done")
LOOKING = {"measure_again", "look_before_deleting"}
"""Steps that change nothing in a cloud."""
PATIENCE_S = 600
"""Seventeen deaths and restarts take a minute on two free cores, and several beside other work: a workflow that several
of them met is missed by the engine only after twelve seconds each time."""
Point = tuple[str, str]


def points(*steps: str) -> list[Point]:
    in_database = IN_DATABASE | LOOKING
    return [(step, point) for step in steps for point in (DATABASE_POINTS if step in in_database else IN_CLOUD_POINTS)]


TELLING: list[Point] = [("tell", "uncommitted")]
SUSPENDING = points("measure_again", "stop_servers", "keep_snapshots", "suspended")
RESUMING = points("start_servers", "drop_snapshots", "resumed")
RELEASING = points("look_before_deleting", "case_last_reading", "case_delete", "drop_snapshots", "case_give_back")
SHARES: dict[str, str] = {"GUIYUN_RECLAIM_UNIT_PERCENT": "100", "GUIYUN_RECLAIM_CLOUD_PERCENT": "100"}


@dataclass
class Aftermath:
    """What became of the cases, each of which met its kill."""

    workshop: Workshop
    suspended: Mapping[Point, UUID]
    resumed: Mapping[Point, UUID]
    released: Mapping[Point, UUID]
    servers: Mapping[UUID, UUID]
    stopped: Counter[UUID]
    started: Counter[UUID]
    """How often the cloud stopped and started each server, by its own book."""


@pytest.fixture(scope="module")
def aftermath(workshops: Workshops) -> Aftermath:
    """Seventeen servers: all are stopped, some of them started again, taken up anew, and all taken back."""
    workshop = workshops()
    world = workshop.world
    world.ask_health()
    items: list[Any] = [reclaim.ITEMS[0], {**reclaim.ITEMS[1], "count": len(RELEASING)}]
    request_id = road.up_to_order(world, items=items)
    road.walk(world)
    servers = [server.id for server in reclaim.servers(world, request_id)]
    named = {row.ref: row.tag for row in in_the_cloud(workshop, "SELECT ref, tag FROM simulated.object")}
    of = {reclaim.open_case(world, server, cause=Cause.PERSON): server for server in servers}
    told = next(iter(of))
    workshop.only("jyt")
    workshop.plan_kill(told, *TELLING[0])
    workshop.start_workers(1, **SHARES)
    come_to(workshop, of, "noticed")
    have_met(workshop, {TELLING[0]: told})

    suspended = dict(zip(SUSPENDING, of, strict=False))
    plan(workshop, suspended)
    pass_the_window(workshop, of)
    come_to(workshop, of, "suspended")
    have_met(workshop, suspended)
    slate.check(world)

    resumed = dict(zip(RESUMING, of, strict=False))
    plan(workshop, resumed)
    for case_id in resumed.values():
        with world.acting("approve.jyt") as work:
            cases.resume(work, case_id, reason="业务恢复")
    come_to(workshop, resumed.values(), "dropped")
    have_met(workshop, resumed)
    slate.check(world)

    once_more = {reclaim.open_case(world, of[c], cause=Cause.PERSON): of[c] for c in resumed.values()}
    come_to(workshop, once_more, "noticed")  # by the worker's look, every twenty seconds
    pass_the_window(workshop, once_more)
    come_to(workshop, once_more, "suspended")
    going = {c: s for c, s in of.items() if c not in resumed.values()} | once_more
    released = dict(zip(RELEASING, going, strict=True))
    plan(workshop, released)
    for case_id in going:
        with world.app.sessions.begin() as session:
            kept = "UPDATE broker.reclaim_case SET keep_until = suspended_at WHERE id = :c"
            session.execute(text(kept), {"c": case_id})
        with world.acting("deliver.jyt") as work:
            cases.propose(work, case_id, reason="期满无异议")
        reclaim.confirm(world, case_id)
    come_to(workshop, going, "released")
    have_met(workshop, released)
    workshop.stop_workers()
    slate.check(world)
    offs = [(named[row.ref], row.end_at) for row in in_the_cloud(workshop, "SELECT ref, end_at FROM simulated.off")]
    stopped, started = Counter(s for s, _ in offs), Counter(s for s, ended in offs if ended is not None)
    return Aftermath(workshop, suspended, resumed, released, of | once_more, stopped, started)


def in_the_cloud(workshop: Workshop, sql: str) -> list[Any]:
    engine = create_engine(workshop.world.clouds_url, poolclass=NullPool)
    with engine.connect() as connection:
        return list(connection.execute(text(sql)))


def plan(workshop: Workshop, kills: Mapping[Point, UUID]) -> None:
    for (step, point), case_id in kills.items():
        workshop.plan_kill(case_id, step, point)


def pass_the_window(workshop: Workshop, of: Mapping[UUID, UUID]) -> None:
    """The window is over by the workers' clock, which runs; they are nudged as when a date comes."""
    world = workshop.world
    with world.app.sessions.begin() as session:
        over = "UPDATE broker.reclaim_case SET due_at = :now WHERE id = ANY(:c)"
        session.execute(text(over), {"now": world.clock(), "c": list(of)})
    reclaim.days_come(world)


def come_to(workshop: Workshop, case_ids: Iterable[UUID], state: str) -> None:
    """Until every one of them is there."""
    ids = list(case_ids)
    count = "SELECT count(*) FROM broker.reclaim_case WHERE id = ANY(:c) AND state = :s AND trouble IS NULL"
    workshop.until(lambda: workshop.world.scalar(count, c=ids, s=state) == len(ids), timeout_s=PATIENCE_S)


def have_met(workshop: Workshop, kills: Mapping[Point, UUID]) -> None:
    """Until each has met its kill.

    The state is committed a moment before ``done``, and if another's plan ends the worker in that moment, the step
    comes again only when the engine has noticed.
    """

    def unmet() -> list[Point]:
        return [point for point, case in kills.items() if not workshop.met(case, *point)]

    try:
        workshop.until(lambda: not unmet(), timeout_s=PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"nobody died at {unmet()}") from error


def acts(workshop: Workshop, case_id: UUID) -> list[str]:
    found = workshop.world.rows("SELECT event FROM broker.reclaim_act WHERE case_id = :c ORDER BY id", c=case_id)
    return [row.event for row in found]


def test_the_owner_is_told_once(aftermath: Aftermath) -> None:
    """A death before the commit has told nobody, and each notice is there once for each who is to know."""
    twice = (
        "SELECT subject_id, code, role FROM broker.notice WHERE subject_type = 'reclaim_case'"
        " GROUP BY subject_id, code, role HAVING count(*) > 1"
    )
    assert aftermath.workshop.world.rows(twice) == []


@pytest.mark.parametrize("case", SUSPENDING, ids="-".join)
def test_a_kill_while_suspending_stops_once(case: Point, aftermath: Aftermath) -> None:
    """The server was told to stop once, one snapshot was kept, the history says each act once."""
    case_id = aftermath.suspended[case]
    assert aftermath.workshop.met(case_id, *case)
    assert acts(aftermath.workshop, case_id)[:5] == ["open", "notify", "fall_due", "admit", "stop"]
    kept = "SELECT count(*) FROM broker.server_snapshot WHERE subject_id = :c"
    assert aftermath.workshop.world.scalar(kept, c=case_id) == 1


@pytest.mark.parametrize("case", RESUMING, ids="-".join)
def test_a_kill_while_resuming_starts_once(case: Point, aftermath: Aftermath) -> None:
    """It ran again, told to start once."""
    case_id = aftermath.resumed[case]
    assert aftermath.workshop.met(case_id, *case)
    assert acts(aftermath.workshop, case_id)[5:] == ["resume", "start"]
    server = aftermath.servers[case_id]
    assert aftermath.started[server] == 1
    assert aftermath.workshop.switched()[server, "on"] <= 1, (
        "a worker that died of another's plan may not have noted it"
    )


@pytest.mark.parametrize("case", RELEASING, ids="-".join)
def test_a_kill_while_taking_back_ends_released(case: Point, aftermath: Aftermath) -> None:
    """Deleted and given back once; nothing is charged after its last reading, which was before the deletion."""
    workshop, case_id = aftermath.workshop, aftermath.released[case]
    assert workshop.met(case_id, *case)
    assert acts(workshop, case_id)[5:] == ["propose", "confirm", "release"]
    started_again = {aftermath.servers[c] for c in aftermath.resumed.values()}
    server = aftermath.servers[case_id]
    assert aftermath.stopped[server] == 1 + (server in started_again), "once for each suspension"
    assert workshop.switched()[server, "off"] <= aftermath.stopped[server]
    late = (
        "SELECT FROM broker.resource_period p JOIN broker.reclaim_case_resource cr ON cr.resource_id = p.resource_id"
        " JOIN broker.reclaim_case c ON c.id = cr.case_id"
        " WHERE c.id = :c AND (upper_inf(p.during) OR upper(p.during) > c.closed_at)"
    )
    assert workshop.world.rows(late, c=case_id) == []


def test_the_table_holds_every_step() -> None:
    """No step of a case without its kills."""
    steps = {step for step, _ in SUSPENDING + RESUMING + RELEASING}
    all_steps = {n for n in vars(CaseSteps) if hasattr(getattr(CaseSteps, n), "__temporal_activity_definition")}
    assert steps == all_steps - {"break_case_off"}
