"""The road in the people's hands: submit, approve, assess, order; and the machine's steps without the engine.

Called by: the stories. The steps are called in the order of ``workflows.fulfil``; other tests use the real engine.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from broker.approval import service as approval
from broker.approval.service import Decision
from broker.assessment import service as assessment
from broker.delivery import begin, handover, provision, routing
from broker.delivery import service as delivery
from broker.delivery.provision import TryAgainError
from broker.delivery.service import Action
from broker.delivery.tools import Pace, Tools
from broker.delivery.values import Job
from broker.reclamation import case_steps
from broker.reclamation import service as reclamation
from broker.reclamation import steps as release_steps
from broker.reclamation.values import CaseJob
from broker.request import service as requests
from broker.workflows.dispatch import CaseWanting, Wanting, cases_wanting, wanting
from broker.workflows.orders import ATTEMPTS
from tests.stories.world import World, form

HOLD_DAYS = 10
LOOKS = 5
"""How often an attempt looks whether something is there or gone."""


def form_now(world: World, **changes: Any) -> dict[str, Any]:
    """A complete form whose dates are right on this day of the world."""
    today = world.clock().date()
    start, end = (str(today + timedelta(days=days)) for days in (8, 372))
    return form(**{"start_date": start, "end_date": end} | changes)


def submit(world: World, who: str = "apply.jyt", **changes: Any) -> UUID:
    with world.acting(who) as work:
        return requests.submit(work, form_now(world, **changes)).id


def approve(world: World, request_id: UUID, who: str = "approve.jyt") -> None:
    with world.acting(who) as work:
        revision = world.request(request_id).revision_id
        assert revision is not None
        approval.decide(work, request_id, Decision.APPROVE, revision_id=revision)


def assess(world: World, request_id: UUID, who: str = "assess.jyt") -> None:
    with world.acting(who) as work:
        revision = world.request(request_id).revision_id
        assert revision is not None
        assessment.confirm(work, request_id, revision_id=revision, hold_days=HOLD_DAYS)


def order(world: World, request_id: UUID, who: str = "deliver.jyt") -> None:
    with world.acting(who) as work:
        delivery.order(work, request_id)


def up_to_order(world: World, **changes: Any) -> UUID:
    """A request of the education department whose delivery has been ordered."""
    request_id = submit(world, **changes)
    approve(world, request_id)
    assess(world, request_id)
    order(world, request_id)
    return request_id


def walk(world: World) -> None:
    """Carry every row that wants acting on, as the workflows would, each step tried until it is through."""
    for row in jobs(world):
        if row.kind == "fulfil":
            fulfil(world, row.job)
        else:
            give_back(world, row.job)
    for case in case_jobs(world):
        CASE_ACTS[case.kind](world, case.job)


def jobs(world: World) -> list[Wanting]:
    """What dispatch would start now."""
    with world.app.sessions() as session:
        return wanting(session)


def case_jobs(world: World) -> list[CaseWanting]:
    """The reclaim cases that dispatch would carry on now."""
    with world.app.sessions() as session:
        return cases_wanting(session)


def patiently(step: Any, *args: Any) -> Any:
    """A step as the engine would try it: a look in place, again while it asks, a decision on the last attempt."""
    for attempt in range(ATTEMPTS + 1):
        try:
            return step(*args, Looks(in_place=attempt == 0, last=attempt == ATTEMPTS))
        except TryAgainError:
            continue
    raise AssertionError("the last attempt asked for another")


class Looks(Pace):
    """Patience that is counted in looks, without a clock: what a test finds does not hang on how busy its machine is.

    That a look in place is over after its time is the workflows' to test, on the real engine.
    """

    def __init__(self, *, in_place: bool, last: bool) -> None:
        super().__init__(beat=lambda: None, in_place=in_place, last=last)
        self._left = LOOKS

    @property
    def over(self) -> bool:
        return False

    def wait(self) -> bool:
        self._left -= 1
        return self._left > 0


def fulfil(world: World, job: Job) -> str:
    tools = world.app.tools()
    plan = begin.pin_hold(tools, job)
    if plan.ended:
        return plan.ended
    if plan.undo:
        return str(patiently(handover.undo, tools, job))
    job = replace(job, routes=plan.routes)
    good = patiently(provision.create_project, tools, job)
    for kind in ("segment", "volume", "server"):
        good &= patiently(lambda t, d, p, kind=kind: provision.create(t, d, kind, p), tools, job)
        if kind == "segment" and plan.routes:
            good &= patiently(routing.route, tools, job)
            good &= patiently(routing.verify, tools, job)
    good &= patiently(provision.attach_volumes, tools, job)
    if not good:
        patiently(handover.undo_failed, tools, job)
    return handover.hand_over(tools, job)


def give_back(world: World, job: Job) -> str:
    tools = world.app.tools()
    if not release_steps.last_reading(tools, job):
        return "ended"
    if not patiently(release_steps.delete, tools, job):
        return "needs_operator"
    return release_steps.give_back(tools, job)


def suspend(world: World, job: CaseJob, given: Tools | None = None) -> str:
    """The steps of ``workflows.reclaim.Suspend``."""
    tools = given or world.app.tools()
    for step in (case_steps.measure_again, case_steps.stop_servers, case_steps.keep_snapshots):
        if not patiently(step, tools, job):
            return "ended"
    return case_steps.suspended(tools, job)


def resume(world: World, job: CaseJob, given: Tools | None = None) -> str:
    """The steps of ``workflows.reclaim.Resume``."""
    tools = given or world.app.tools()
    for step in (case_steps.start_servers, case_steps.drop_snapshots):
        if not patiently(step, tools, job):
            return "needs_operator"
    return case_steps.resumed(tools, job)


def take_back(world: World, job: CaseJob, given: Tools | None = None) -> str:
    """The steps of ``workflows.reclaim.TakeBack``."""
    tools = given or world.app.tools()
    if not patiently(case_steps.look_before_deleting, tools, job) or not case_steps.last_reading(tools, job):
        return "ended"
    for step in (case_steps.delete, case_steps.drop_snapshots):
        if not patiently(step, tools, job):
            return "needs_operator"
    return case_steps.give_back(tools, job)


CASE_ACTS = {"suspend": suspend, "resume": resume, "take_back": take_back}


def release(world: World, request_id: UUID, who: str = "apply.jyt", by: str = "deliver.jyt") -> None:
    """Ask for a release and confirm it."""
    with world.acting(who) as work:
        asked = [r.id for r in reclamation.ask(work, request_id, reason="系统已下线")]
    for release_id in asked:
        with world.acting(by) as work:
            reclamation.confirm(work, release_id)


def decide_all(world: World, request_id: UUID, action: Action, who: str = "deliver.jyt") -> int:
    """The operator decides every open case of a request the same way; returns how many there were."""
    rows = world.rows(
        "SELECT id FROM broker.desk_case WHERE request_id = :id AND closed_at IS NULL ORDER BY id", id=request_id
    )
    for row in rows:
        with world.acting(who) as work:
            reclamation.decide_case(work, row.id, action, reason="已核实")
    return len(rows)
