"""Looks at what is to be taken back before it is: at its samples before the suspension, at its cloud before deleting.

Called by: the steps of a case. Must not: change anything, or keep a transaction open meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from broker.delivery.provision import again as try_again
from broker.delivery.specs import key_of_resource
from broker.delivery.tools import Pace, Tools
from broker.inventory.models import Resource
from broker.reclamation import rules
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import Again, CaseJob, Cause, Verdict
from broker.settings import Settings
from broker.tenancy.work import Work
from broker.utilisation import again, findings, service
from broker.utilisation.findings import FindingKind
from broker.utilisation.values import Policy
from providers.contract import Kind, Status
from providers.errors import ProviderError

_OVER = {"in_use", "exempted", "gone"}
"""Why detection clears a finding that is none any more. Not measured, or its policy gone, says nothing of its use."""
_RUNNING = {Status.ACTIVE, Status.BUILDING}


@dataclass(frozen=True, slots=True)
class Question:
    """Which resources, by all names a sample may bear, since which local day, by which policy.

    ``known``: what detection says by itself; with it no sample is read.
    """

    names: tuple[tuple[str, ...], ...]
    policy: str
    since: date
    zone: ZoneInfo
    now: datetime
    known: Again | None


def question(work: Work, case: ReclaimCase, resources: Sequence[Resource]) -> Question | None:
    """What to measure; None when it is not idleness that the case is about, or a person has vouched for it."""
    if case.cause != Cause.IDLE.value or case.waived_by is not None:
        return None
    assert case.noticed_at is not None
    zone = work.calendar.zone
    names = tuple(tuple(n for n in (str(r.id), r.number, r.ref) if n) for r in resources if r.kind == "server")
    first = case.noticed_at.astimezone(zone).date() + timedelta(days=1)  # the first whole day that the owner knew
    return Question(names, case.policy, first, zone, work.now, _detected(work, case))


def _detected(work: Work, case: ReclaimCase) -> Again | None:
    """What detection said last of what it watches itself; None: samples have to tell (or it said that it is idle)."""
    if case.finding_id is None:
        return None
    found = findings.finding(work.session, case.finding_id)
    if found.cleared_because in _OVER:
        return Again(Verdict.IN_USE)
    if found.kind is FindingKind.IDLE:
        return None
    today = work.now.astimezone(work.calendar.zone).date()
    fresh = found.cleared_at is None and (today - found.scanned_on).days <= rules.FRESH_DAYS
    return Again(Verdict.IDLE if fresh else Verdict.UNMEASURED)


def measure(settings: Settings, asked: Question) -> Again:
    """Read the samples since the notice: one server in use keeps the whole case; one unmeasured makes it wait."""
    if asked.known is not None:
        return asked.known
    policy = _policy(settings, asked.policy)
    if policy is None or not asked.names:
        return Again(Verdict.UNMEASURED)
    today = asked.now.astimezone(asked.zone).date()
    found = [_one(settings, names, policy, asked, today) for names in asked.names]
    measured, matching = sum(a.measured for a in found), sum(a.matching for a in found)
    for verdict in (Verdict.IN_USE, Verdict.UNMEASURED):
        if any(a.verdict is verdict for a in found):
            return Again(verdict, measured, matching)
    return Again(Verdict.IDLE, measured, matching)


def _one(settings: Settings, names: tuple[str, ...], policy: Policy, asked: Question, today: date) -> Again:
    seen = again.since(settings, names, policy, asked.since, (asked.zone, asked.now))
    return rules.judge(seen.measured, seen.matching, seen.newest, today)


def _policy(settings: Settings, name: str) -> Policy | None:
    return next((p for p in service.policies_of(settings).policies if p.name == name), None)


def used_in_cloud(tools: Tools, job: CaseJob, resources: Sequence[Resource], pace: Pace) -> list[str]:
    """Numbers of servers that run, and of disks that hang on a server which stays.

    Raises TryAgainError when the cloud does not answer: without a look nothing is deleted.
    """
    ours = {r.id for r in resources}
    numbers = {key_of_resource(r): r.number for r in resources}
    used = []
    try:
        provider = tools.providers(job.sub_cloud)
        for project_id in sorted({r.project_id for r in resources}):
            running = [o.key for o in provider.list(Kind.SERVER, project_id) if o.status in _RUNNING]
            used += [numbers[key] for key in running if key in numbers]
            attached = [o for o in provider.list(Kind.ATTACHMENT, project_id) if o.server_id not in ours]
            used += [r.number for r in resources for o in attached if o.key.id == r.id]
    except ProviderError as error:
        pace.beat()
        raise try_again(error) from error
    return used
