"""The machine steps of a reclaim case: look again, stop, keep a snapshot; start again; delete, give back.

Called by: ``workflows.case_steps``. Must not: keep a transaction open across a call to a cloud or a look at samples.

Each may run any number of times. What is about to be done is committed first (the case's state, which servers were
running, a snapshot's row), so that it can be undone; what fails for good leaves its code on the case, which is the
operator's desk: try again, or start the servers again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select

from broker.delivery.remove import remove
from broker.delivery.tools import Pace, Tools
from broker.inventory import service as inventory
from broker.lifecycle import CASE_MACHINE, CaseEvent, CaseState, ResourceState
from broker.metering import service as metering
from broker.reclamation import (
    dates,
    disks,
    giving_back,
    history,
    look_again,
    lost,
    objections,
    parting,
    share,
    snapshots,
)
from broker.reclamation.models import CaseResource, ReclaimCase
from broker.reclamation.power import running, switch
from broker.reclamation.spared import keep, resources_of, spared
from broker.reclamation.values import Again, CaseJob, Cause, Verdict
from broker.tenancy.work import Work

STEP_FAILED = "step_failed"
"""A step that broke on its last attempt, without an answer that would say why."""

_A_DAY, _AN_HOUR = timedelta(days=1), timedelta(hours=1)
_USED = {Verdict.IN_USE, Verdict.TODAY}
_END = {
    CaseState.DROPPED.value: CaseEvent.START,
    CaseState.EXEMPTED.value: CaseEvent.ACCEPT,
    CaseState.RENEWED.value: CaseEvent.RENEW,
}


def mine(work: Work, job: CaseJob, *states: CaseState) -> ReclaimCase | None:
    """The case, locked, if it is still this run's and in one of these states."""
    case = history.lock(work, job.id)
    return case if case.run == job.run and case.trouble is None and CaseState(case.state) in states else None


def measure_again(tools: Tools, job: CaseJob, _pace: Pace) -> bool:
    """Is it still not in use, and is there room in the share? True: the case is admitted to its suspension."""
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.MEASURING, CaseState.SUSPENDING)
        if case is None:
            return False
        asked = look_again.question(work, case, resources_of(work, case.id))
    again = Again(Verdict.IDLE) if asked is None else look_again.measure(tools.settings, asked)
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.MEASURING, CaseState.SUSPENDING)
        if case is None:
            return False
        if case.state == CaseState.SUSPENDING.value:
            return _still(work, case, again)
        return _admit(tools, work, case, again)


def _still(work: Work, case: ReclaimCase, again: Again) -> bool:
    """Admitted long ago, tried again only now: whether its suspension goes on.

    What is in use meanwhile runs on, what was stopped is started. While nothing stands still, what nobody measures any
    more waits as it would have before.
    """
    if again.verdict is Verdict.IN_USE:
        case.ending = CaseState.DROPPED.value
        history.go(work, case, CaseEvent.FIND_IN_USE, note=f"{again.matching}/{again.measured}")
        history.tell_operators(work, case, "reclaim.in_use")
        return False
    if again.verdict is Verdict.IDLE or _stands_still(work, case):
        return True
    _wait(work, case, again.verdict.value, _A_DAY)
    return False


def _stands_still(work: Work, case: ReclaimCase) -> bool:
    """Whether a server that ran has been stopped, or has vanished meanwhile."""
    ran = {row.resource_id for row in _rows(work, case.id) if row.was_active}
    return any(r.id in ran and r.state != ResourceState.ACTIVE.value for r in resources_of(work, case.id))


def _admit(tools: Tools, work: Work, case: ReclaimCase, again: Again) -> bool:
    note = f"{again.matching}/{again.measured}" if again.measured or case.cause == Cause.IDLE.value else ""
    if again.verdict is Verdict.IN_USE:
        history.go(work, case, CaseEvent.FIND_IN_USE, note=note)
        history.tell_owner(work, case, "reclaim.in_use")
        history.tell_operators(work, case, "reclaim.in_use")
        return False
    if again.verdict in {Verdict.UNMEASURED, Verdict.TODAY}:
        _wait(work, case, again.verdict.value, _A_DAY)
        return False
    things = parting.things(resources_of(work, case.id))
    count, full = share.first_part(work, tools.settings, case, [len(thing) for thing in things])
    if not count:
        _wait(work, case, f"share_{full}", _AN_HOUR)
        return False
    if full:
        rest = parting.part(work, case, [r.id for thing in things[count:] for r in thing], CaseState.NOTICED)
        history.wait(work, rest, f"share_{full}", _AN_HOUR)
        history.tell_owner(work, case, "reclaim.split", other=rest.number)
        history.tell_operators(work, case, "reclaim.split", other=rest.number)
    share.admit(work, tools.settings, case)
    for row in _rows(work, case.id):
        row.was_active = None
    history.go(work, case, CaseEvent.ADMIT, note=note)
    return True


def _wait(work: Work, case: ReclaimCase, what: str, pause: timedelta) -> None:
    """Back to its notice until there is an answer or room; written once for as long as it is the same thing."""
    history.go(work, case, CaseEvent.WAIT, note=what, quietly=history.last(work, case) == (CaseEvent.WAIT.value, what))
    history.wait(work, case, what, pause)


def _rows(work: Work, case_id: UUID) -> Sequence[CaseResource]:
    return work.session.scalars(select(CaseResource).where(CaseResource.case_id == case_id)).all()


def _remember_running(tools: Tools, job: CaseJob, pace: Pace) -> bool:
    """Which of them run now, written down before anything is stopped: resuming starts these and no others.

    As their cloud says, once; of what it does not have our own word counts.
    """
    with tools.works.begin() as work:
        if mine(work, job, CaseState.SUSPENDING) is None:
            return False
        known = {row.resource_id for row in _rows(work, job.id) if row.was_active is not None}
        resources = [r for r in resources_of(work, job.id) if r.id not in known]
    seen, stuck = running(tools, job, [r for r in resources if r.kind == "server"], pace)
    ours = {r.id: r.state == ResourceState.ACTIVE.value or r.error_code == inventory.LOST for r in resources}
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.SUSPENDING)
        if case is None or _stuck(work, case, "stop_servers", stuck.values()):
            return False
        for row in _rows(work, job.id):
            if row.was_active is None:
                row.was_active = seen.get(row.resource_id, ours.get(row.resource_id))
        return True


def stop_servers(tools: Tools, job: CaseJob, pace: Pace) -> bool:
    """Stop the servers; from the instant they stand still their compute is not charged.

    What is not there any more stands still as well, and is not charged for at all.
    """
    if not _remember_running(tools, job, pace):
        return False
    with tools.works.begin() as work:
        if mine(work, job, CaseState.SUSPENDING) is None:
            return False
        servers = [r for r in resources_of(work, job.id) if r.kind == "server"]
    stuck = switch(tools, job, servers, pace, on=False)
    missing = lost.among(stuck)
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.SUSPENDING)
        if case is None:
            return False
        stopped = [s.id for s in servers if s.id not in stuck]
        lost.found(work, stopped)
        inventory.move(work, stopped, ResourceState.STOPPED)
        lost.mark(work, case, missing)
        return not _stuck(work, case, "stop_servers", [code for i, code in stuck.items() if i not in missing])


def keep_snapshots(tools: Tools, job: CaseJob, pace: Pace) -> bool:
    """An image of each stopped server, by ids that are written down before they are ordered."""
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.SUSPENDING)
        if case is None:
            return False
        there = [r for r in resources_of(work, job.id) if r.state != ResourceState.RELEASING.value]
        wanted = snapshots.plan(work, case, [r for r in there if r.kind == "server"])
    taken, stuck = snapshots.take(tools, job, wanted, pace)
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.SUSPENDING)
        if case is None:
            return False
        snapshots.taken(work, taken)
        return not _stuck(work, case, "keep_snapshots", stuck)


def suspended(tools: Tools, job: CaseJob) -> str:
    """All of them stand still: the owner is told until when they are kept."""
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.SUSPENDING)
        if case is not None:
            case.suspended_at = work.now
            case.keep_until = work.now + timedelta(days=tools.settings.reclaim_keep_days)
            history.go(work, case, CaseEvent.STOP)
            history.tell_owner(work, case, "reclaim.suspended", due_at=case.keep_until.isoformat())
        return history.lock(work, job.id).state


def start_servers(tools: Tools, job: CaseJob, pace: Pace) -> bool:
    """Start what was running before the suspension, with its disks; it is charged in full again.

    What is not there keeps nothing else from running, nor does a disk that cannot be attached again (the desk's).
    """
    with tools.works.begin() as work:
        if mine(work, job, CaseState.RESUMING) is None:
            return False
        ours = resources_of(work, job.id)
        ran = select(CaseResource.resource_id).where(CaseResource.case_id == job.id, CaseResource.was_active.is_(True))
        again = set(work.session.scalars(ran))
        again |= {r.id for r in ours if r.state == ResourceState.RELEASING.value}
        servers = [r for r in ours if r.kind == "server" and r.id in again]
    loose = disks.attach(tools, job, ours, pace)
    stuck = switch(tools, job, servers, pace, on=True)
    missing = lost.among(stuck)
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.RESUMING)
        if case is None:
            return False
        started = [s.id for s in servers if s.id not in stuck]
        lost.found(work, started, ResourceState.ACTIVE)
        inventory.move(work, started, ResourceState.ACTIVE)
        unstarted = [code for i, code in stuck.items() if i not in missing]
        if _stuck(work, case, "start_servers", unstarted) or _stuck(work, case, "attach_disks", loose.values()):
            return False
        if missing:
            lost.mark(work, case, missing)
            lost.leave_behind(work, case, missing, [r.id for r in ours if r.id not in missing])
        return not missing


def drop_snapshots(tools: Tools, job: CaseJob, pace: Pace) -> bool:
    """The images that were kept are not needed any more."""
    with tools.works.begin() as work:
        if mine(work, job, CaseState.RESUMING, CaseState.RELEASING) is None:
            return False
        there = snapshots.there(work, job.id)
    gone, stuck = snapshots.remove(tools, job, there, pace)
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.RESUMING, CaseState.RELEASING)
        if case is None:
            return False
        snapshots.removed(work, gone)
        return not _stuck(work, case, "drop_snapshots", stuck)


def resumed(tools: Tools, job: CaseJob) -> str:
    """They run again: the case ends as it was decided, or is heard.

    Anew if somebody else has started them; on the objection that came while they were being stopped, which may have
    been answered while they were being started.
    """
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.RESUMING)
        if case is not None:
            if case.ending == CaseState.NOTICED.value:
                dates.hear_again(work, case)
            elif case.ending is None and objections.open_one(work, case) is not None:
                history.go(work, case, CaseEvent.OBJECT)
            elif case.ending is None and objections.answered_meanwhile(work, case):
                history.go(work, case, CaseEvent.NOTIFY)
                dates.set_window(work, case)
            else:
                history.go(work, case, _END[case.ending or CaseState.DROPPED.value])
                history.tell_owner(work, case, "reclaim.resumed")
        return history.lock(work, job.id).state


def look_before_deleting(tools: Tools, job: CaseJob, pace: Pace) -> bool:
    """Nothing that is in use again may be deleted: servers that run, disks that hang on something else.

    Nor what was used since the suspension and stands still again: its samples say so, or detection of volumes.
    """
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.RELEASING)
        if case is None:
            return False
        resources = resources_of(work, job.id)
        used = inventory.standing_on(work, [r.id for r in resources])
        asked = look_again.question(work, case, resources)
    found = look_again.in_cloud(tools, job, resources, pace)
    used += found.used
    if not used and asked is not None and look_again.measure(tools.settings, asked).verdict in _USED:
        used = [r.number for r in resources if r.kind == "server"] or [r.number for r in resources]
    if used or any(r.error_code == inventory.LOST and r.id in found.there for r in resources):
        disks.attach(tools, job, [r for r in resources if r.id in found.there], pace)
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.RELEASING)
        if case is None or spared(work, case, used, found):
            return False
        back = [r.id for r in resources_of(work, job.id) if r.error_code == inventory.LOST and r.id in found.there]
        if back:
            keep(work, case, found)
            lost.turn_up(work, case, back, work.now + timedelta(days=tools.settings.reclaim_keep_days))
        return not back


def last_reading(tools: Tools, job: CaseJob) -> bool:
    """Metering ends here: the periods are closed at this instant, before anything is deleted."""
    with tools.works.begin() as work:
        if mine(work, job, CaseState.RELEASING) is None:
            return False
        metering.end(work, inventory.move(work, [r.id for r in resources_of(work, job.id)], ResourceState.RELEASING))
        return True


def delete(tools: Tools, job: CaseJob, pace: Pace) -> bool:
    """Delete everything in the cloud. True: all is gone.

    It is looked at right before, at every attempt: since the last look the worker may have been down for a week.
    """
    with tools.works.begin() as work:
        if mine(work, job, CaseState.RELEASING) is None:
            return False
        going = [r for r in resources_of(work, job.id) if r.state == ResourceState.RELEASING.value]
        used = inventory.standing_on(work, [r.id for r in going])
    found = look_again.in_cloud(tools, job, going, pace)
    if used + found.used:
        disks.attach(tools, job, [r for r in going if r.id in found.there], pace)
        with tools.works.begin() as work:
            case = mine(work, job, CaseState.RELEASING)
            return case is not None and not spared(work, case, used + found.used, found)
    stuck = remove(tools, job.sub_cloud, going, pace, with_servers=True)
    with tools.works.begin() as work:
        case = mine(work, job, CaseState.RELEASING)
        return case is not None and not _stuck(work, case, "delete", stuck.values())


def give_back(tools: Tools, job: CaseJob) -> str:
    """Quota and prefixes go back, the resources are released, the case and what it leaves empty are closed."""
    with tools.works.begin() as work:
        brought = [r.request_id for r in resources_of(work, job.id)]
        requests = giving_back.lock_requests(work, brought)
        case = mine(work, job, CaseState.RELEASING)
        if case is None:
            return history.lock(work, job.id).state
        going = [r for r in resources_of(work, job.id) if r.state == ResourceState.RELEASING.value]
        days = tools.settings.quarantine_days
        giving_back.give_back(work, case.id, case.sub_cloud_id, going, quarantine_days=days)
        work.session.flush()
        giving_back.settle(work, requests)
        history.go(work, case, CaseEvent.RELEASE)
        history.tell_owner(work, case, "reclaim.released")
        history.tell_operators(work, case, "reclaim.released")
        return case.state


def break_off(tools: Tools, job: CaseJob, step: str) -> None:
    """A step broke on its last attempt, and nothing says why."""
    with tools.works.begin() as work:
        case = history.lock(work, job.id)
        if case.run == job.run and case.trouble is None and CaseState(case.state) in CASE_MACHINE:
            _stuck(work, case, step, [STEP_FAILED])


def _stuck(work: Work, case: ReclaimCase, step: str, codes: Iterable[str]) -> bool:
    """Whether something could not be done: then it lies on the operators' desk, told once."""
    found = " ".join(sorted(set(codes)))
    if not found:
        return False
    case.trouble, case.trouble_step = found[:500], step
    history.write(work, case, "stall", note=f"{step}: {found}")
    history.tell_operators(work, case, "reclaim.needs_operator")
    return True
