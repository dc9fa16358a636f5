"""The order of the steps, their dates, when one is late, what each demands. Pure.

Called by: ``steps``, ``dates``, ``stops``, ``board``. Must not: import SQL, or read the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time

from broker.dedicated.values import (
    OUTCOMES,
    STEPS,
    ZONES,
    Closing,
    Done,
    Plan,
    Progress,
    SegmentFacts,
    Step,
    SystemFacts,
)
from broker.errors import Problem
from broker.workdays import WorkCalendar

LAST_DAY = date(2100, 1, 1)
"""No plan reaches further; a typing error does."""


def refused(progress: Progress, step: Step) -> Problem | None:
    """Why a step cannot be done now: it is done, or another comes first. None: it can."""
    if step in progress.done:
        return Problem("network.step_done", "", step.article, {"network_step": step.value})
    first = progress.next
    if first is not step:
        assert first is not None
        return Problem("network.step_order", "", "Art. 11", {"network_step": first.value})
    return None


def due_at(calendar: WorkCalendar, due_on: date) -> datetime:
    """When a day is over for a step: its close of business, or that of the next working day."""
    return calendar.deadline(datetime.combine(due_on, time.min, calendar.zone), 0).at


def late(calendar: WorkCalendar, progress: Progress, now: datetime) -> Step | None:
    """The step that is overdue: the next one, when its day is over. Later ones cannot be before it."""
    step = progress.next
    if step is None or step not in progress.due:
        return None
    return step if due_at(calendar, progress.due[step]) < now else None


def plan_problems(plan: Plan, today: date, people: Iterable[str]) -> list[Problem]:
    """Everything that Art. 11(1) misses in a plan, or that cannot be. ``people``: logins that are known."""
    found = [
        Problem("field.missing", name, Step.PLAN.article)
        for name in ("scope", "content", "office", "document_number")
        if not getattr(plan, name).strip()
    ]
    if plan.zone not in ZONES:
        found.append(Problem("network.zone", "zone", "Art. 2(3)"))
    named = {"leader": plan.leader, "liaison": plan.liaison}
    named |= {f"dates.{step.value}.owner": each.owner for step, each in plan.dates.items()}
    known = set(people)
    found += [
        Problem("network.person_unknown", where, Step.PLAN.article, {"login": login})
        for where, login in named.items()
        if login not in known
    ]
    wanted = STEPS[1:]
    found += [
        Problem("field.missing", f"dates.{step.value}.due_on", Step.PLAN.article)
        for step in wanted
        if step not in plan.dates
    ]
    return found + order_problems({s: d.due_on for s, d in plan.dates.items()}, plan.dates, today)


def order_problems(dates: Mapping[Step, date], changed: Iterable[Step], today: date) -> list[Problem]:
    """Days that lie in the past (of those ``changed``) or before those of an earlier step."""
    found = [
        Problem("network.date_range", f"dates.{step.value}.due_on") for step in changed
        if not today <= dates[step] <= LAST_DAY
    ]  # fmt: skip
    before: date | None = None
    for step in STEPS:
        if step not in dates:
            continue
        if before is not None and dates[step] < before:
            found.append(Problem("network.date_order", f"dates.{step.value}.due_on", "Art. 11"))
        before = dates[step]
    return found


def done_problems(given: Done | Closing, progress: Progress, today: date) -> list[Problem]:
    """A day that is not yet, or before the step before it; evidence that is missing."""
    found = []
    last = max(progress.done.values(), default=None)
    if given.done_on > today:
        found.append(Problem("system.future", "done_on"))
    elif last is not None and given.done_on < last:
        found.append(Problem("network.done_order", "done_on", "Art. 11", {"day": last.isoformat()}))
    if not given.evidence.strip():
        found.append(Problem("network.evidence", "evidence"))
    if isinstance(given, Closing) and given.outcome not in OUTCOMES:
        found.append(Problem("network.outcome", "outcome", Step.SHUT_DOWN.article))
    return found


def segment_problems(named: Sequence[str], found: Mapping[str, SegmentFacts], zone: str) -> list[Problem]:
    """What is wrong with the segments named: each has to be delivered, in the zone, and seen by the probes."""
    out = []
    for number in named:
        facts = found.get(number)
        if facts is None or not facts.mine:
            code = "network.segment_unknown"
        elif not facts.delivered:
            code = "network.segment_not_delivered"
        elif facts.zone != zone:
            code = "network.segment_zone"
        elif not facts.verified:
            code = "network.segment_not_verified"
        else:
            continue
        out.append(Problem(code, "segments", Step.CONNECT.article, {"segment": number, "zone": zone}))
    return out


def system_problems(systems: Sequence[SystemFacts], *, none: bool) -> list[Problem]:
    """The systems that are not on the cloud yet. A network that lists none cannot show that any moved.

    ``none``: unless the Bureau has confirmed that it carries none.
    """
    if not systems and not none:
        return [Problem("network.no_systems", "systems", Step.MIGRATE.article)]
    return [
        Problem("network.system_waiting", "systems", Step.MIGRATE.article, {"code": each.code, "name": each.name})
        for each in systems
        if not each.migrated
    ]
