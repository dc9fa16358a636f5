"""Looks at what is to be taken back before it is: at its samples before the suspension, at its cloud before deleting.

Called by: the steps of a case. Must not: change anything, or keep a transaction open meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select

from broker.delivery.provision import again as try_again
from broker.delivery.specs import key_of_resource
from broker.delivery.tools import Pace, Tools
from broker.inventory import service as inventory
from broker.inventory.models import Resource
from broker.lifecycle import CaseEvent
from broker.reclamation import rules
from broker.reclamation.models import CaseAct, ReclaimCase
from broker.reclamation.power import AT_REST
from broker.reclamation.values import Again, CaseJob, Cause, Verdict
from broker.settings import Settings
from broker.tenancy.work import Work
from broker.utilisation import again, findings, policy_words, service
from broker.utilisation.findings import FindingKind
from broker.utilisation.values import AnyOf, Condition, Daily, MissingDay, Policy
from providers.contract import Kind, Status
from providers.errors import ProviderError

_OVER = {"in_use", "exempted", "gone"}
"""Why detection clears a finding that is none any more. Not measured, or its policy gone, says nothing of its use."""
_DECIDED = "in-use"
"""What is measured where no policy found anything: a system or a server that a person named, a term."""
_AT_A_STAND = Condition("cpu_avg_pct", Daily.MAX, below=Decimal(1))


@dataclass(frozen=True, slots=True)
class Question:
    """Which resources, by all names a sample may bear, since which local day, by which policy.

    ``content``: the policy as the case keeps it. ``known``: what detection says by itself; with it no sample is read.
    ``vouched``: a person has said that what nobody measures is not in use; a measurement says more.
    """

    names: tuple[tuple[str, ...], ...]
    policy: str
    content: Mapping[str, Any]
    since: date
    zone: ZoneInfo
    now: datetime
    known: Again | None
    vouched: bool = False
    morning_passed: bool = False
    """It has waited for a day to be over already: the next one, as far as it has come, says nothing any more."""
    stopped: bool = False
    """It has been stopped meanwhile: a day on which it did nothing is idle, whatever else the policy asks."""


def question(work: Work, case: ReclaimCase, resources: Sequence[Resource]) -> Question | None:
    """What to measure; None for a term that has ended: it is, however much it is used, until it is suspended.

    Since the notice; once it is suspended since then, for what was started behind our back and stopped again. What a
    person decided to take back has been vouched for with the decision: without samples it goes on, in use it does not.
    """
    decided = case.cause != Cause.IDLE.value
    if case.cause == Cause.TERM.value and case.suspended_at is None:
        return None
    assert case.noticed_at is not None
    began = case.suspended_at or case.noticed_at
    zone = work.calendar.zone
    here = [r for r in resources if r.kind == "server" and r.error_code != inventory.LOST]
    names = tuple(tuple(n for n in (str(r.id), r.number, r.ref) if n) for r in here)
    first = began.astimezone(zone).date() + timedelta(days=1)  # the first whole day that the owner knew
    detected = _detected(work, case) if case.suspended_at is None else _seen_since(work, case)
    if _all_lost(resources):
        detected = Again(Verdict.IDLE)
    vouch_ends = None if case.waived_at is None else case.waived_at + timedelta(days=rules.FRESH_DAYS)
    return Question(
        names,
        _DECIDED if decided else case.policy,
        {} if decided else case.policy_content,
        first,
        zone,
        work.now,
        detected,
        vouched=decided or (vouch_ends is not None and work.now <= vouch_ends),
        morning_passed=case.suspended_at is None and _waited_for(work, case) == Verdict.TODAY.value,
        stopped=case.suspended_at is not None,
    )


def _all_lost(resources: Sequence[Resource]) -> bool:
    """Whether the cloud has none of its servers, or of what it is about where there are none: nobody can use them."""
    heads = [r for r in resources if r.kind == "server"] or resources
    return all(r.error_code == inventory.LOST for r in heads)


def _waited_for(work: Work, case: ReclaimCase) -> str | None:
    """What a case waited for when it last did, since its notice."""
    waits = select(CaseAct.note).where(
        CaseAct.case_id == case.id, CaseAct.event == CaseEvent.WAIT.value, CaseAct.at >= case.noticed_at
    )
    return work.session.scalar(waits.order_by(CaseAct.id.desc()).limit(1))


def _detected(work: Work, case: ReclaimCase) -> Again | None:
    """What detection said last of what it watches itself; None: samples have to tell (or it said that it is idle)."""
    if case.finding_id is None:
        return None
    found = findings.finding(work.session, case.finding_id)
    if found.kind is FindingKind.IDLE and found.cleared_because == "in_use":
        return None  # of days before or since the notice: the samples tell
    if found.cleared_because in _OVER:
        return Again(Verdict.IN_USE)
    if found.kind is FindingKind.IDLE:
        return None
    today = work.now.astimezone(work.calendar.zone).date()
    fresh = found.cleared_at is None and (today - found.scanned_on).days <= rules.FRESH_DAYS
    return Again(Verdict.IDLE if fresh else Verdict.UNMEASURED)


WATCHED = {FindingKind.UNATTACHED_VOLUME, FindingKind.EMPTY_SEGMENT}
"""What detection goes on watching while it is suspended: of what it stopped itself it says nothing."""


def _seen_since(work: Work, case: ReclaimCase) -> Again | None:
    """Whether detection has seen a volume or a segment in use since it was suspended."""
    if case.finding_id is None or case.suspended_at is None:
        return None
    found = findings.finding(work.session, case.finding_id)
    used = found.kind in WATCHED and found.cleared_because == "in_use"
    after = found.cleared_at is not None and found.cleared_at > case.suspended_at
    return Again(Verdict.IN_USE) if used and after else None


def measure(settings: Settings, asked: Question) -> Again:
    """Read the samples: one server in use keeps the whole case; one unmeasured makes it wait, unless vouched for."""
    found = _measured(settings, asked)
    if asked.vouched and found.verdict is Verdict.UNMEASURED:
        return replace(found, verdict=Verdict.IDLE)
    return found


def _measured(settings: Settings, asked: Question) -> Again:
    if asked.known is not None:
        return asked.known
    policy = _policy(settings, asked)
    if policy is None or policy.seen or not asked.names:
        return Again(Verdict.UNMEASURED)
    if asked.stopped:
        policy = replace(policy, when=AnyOf((policy.when, _AT_A_STAND)))
    today = asked.now.astimezone(asked.zone).date()
    found = [_one(settings, names, policy, asked, today) for names in asked.names]
    measured, matching = sum(a.measured for a in found), sum(a.matching for a in found)
    for verdict in (Verdict.IN_USE, Verdict.TODAY, Verdict.UNMEASURED):
        if any(a.verdict is verdict for a in found):
            return Again(verdict, measured, matching)
    return Again(Verdict.IDLE, measured, matching)


def _one(settings: Settings, names: tuple[str, ...], policy: Policy, asked: Question, today: date) -> Again:
    seen = again.since(settings, names, policy, asked.since, (asked.zone, asked.now))
    busy = seen.today is False and not asked.morning_passed
    so_far = Again(Verdict.TODAY if busy else Verdict.IDLE, seen.measured, seen.matching)
    return rules.judge(so_far, seen.newest, asked.since, today)


def _policy(settings: Settings, asked: Question) -> Policy | None:
    """The policy that the case was opened by, whatever the file says today; ours where none was.

    Ours too for a server that was stopped because it was seen to be off: by its own it may only be off, and is.
    """
    below = Condition("cpu_avg_pct", Daily.MEAN, below=Decimal(settings.reclaim_in_use_cpu_percent))
    decided = Policy(_DECIDED, "", "server", below, days=1, min_samples_per_day=1, missing_day=MissingDay.SKIP)
    if asked.policy == _DECIDED:
        return decided
    found: Policy | None
    if asked.content:
        found = policy_words.read_back(dict(asked.content))
    else:
        found = next((p for p in service.policies_of(settings).policies if p.name == asked.policy), None)
    return decided if asked.stopped and found is not None and found.seen else found


@dataclass(frozen=True, slots=True)
class InCloud:
    """Numbers of what is in use: servers at work, disks on a server that stays. ``there``: what it has, and will have.

    ``running``: the servers that run, and nothing less.
    """

    used: list[str]
    there: frozenset[UUID]
    running: frozenset[UUID]


def in_cloud(tools: Tools, job: CaseJob, resources: Sequence[Resource], pace: Pace) -> InCloud:
    """How what is to be deleted stands in its cloud now.

    Raises TryAgainError when the cloud does not answer: without a look nothing is deleted.
    """
    ours = {r.id for r in resources}
    numbers = {key_of_resource(r): r.number for r in resources}
    used, there, running = list[str](), set[UUID](), set[UUID]()
    try:
        provider = tools.providers(job.sub_cloud)
        for project_id in sorted({r.project_id for r in resources}):
            for kind in sorted({key.kind for key in numbers}):
                listed = provider.list(kind, project_id)
                there |= {o.key.id for o in listed if o.status is not Status.DELETING}
                if kind is Kind.SERVER:
                    at_work = [o.key for o in listed if o.status not in AT_REST]
                    used += [numbers[key] for key in at_work if key in numbers]
                    running |= {o.key.id for o in listed if o.status is Status.ACTIVE}
            attached = [o for o in provider.list(Kind.ATTACHMENT, project_id) if o.server_id not in ours]
            used += [r.number for r in resources for o in attached if o.key.id == r.id]
    except ProviderError as error:
        pace.beat()
        raise try_again(error) from error
    return InCloud(used, frozenset(ours & there), frozenset(ours & running))
