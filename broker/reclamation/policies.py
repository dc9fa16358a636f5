"""Policies that open cases by themselves: switching on and off, their versions, and taking up what detection found.

Called by: the API, the console; ``dry_runs``; dispatch (``take_up``). Must not: detect anything (``utilisation`` does).

A policy acts only while a person has switched on the very content it has now, after a dry run of that content: change a
word in the file and it is off until somebody has looked again. The database holds a version and its dry run together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select

from broker.catalog.models import SubCloud, SubCloudAuthority
from broker.errors import BrokerError, Conflict, Forbidden, NotFound
from broker.lifecycle import CaseState, Role
from broker.reclamation import opening, protection, rules
from broker.reclamation.models import CaseResource, ReclaimCase, ReclaimDryRun, ReclaimPolicy
from broker.settings import Settings
from broker.tenancy.rules import one_of
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work
from broker.utilisation import findings, policy_words, service
from broker.utilisation.findings import Finding
from broker.utilisation.models import IdleFinding
from broker.utilisation.values import Exemption, Policy, PolicySet

log = structlog.get_logger(__name__)

_AT_ONCE = 200
SEEN_WITHIN = timedelta(days=7)
"""A dry run that is older says nothing of what the policy would do today (ours)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A policy as the file has it now. ``on``: this very content acts; ``was_on``: another content was switched on.

    ``unknown``: what the file's exemptions name and nobody has.
    """

    policy: Policy
    exemptions: Sequence[Exemption]
    version: str
    digest: str
    on: ReclaimPolicy | None
    was_on: ReclaimPolicy | None
    dry_run: ReclaimDryRun | None
    unknown: frozenset[str]


def standings(work: Work, settings: Settings) -> list[Standing]:
    """Every policy of the file, with the version that acts and the last dry run of the present content."""
    whole = service.policies_of(settings)
    rows = list(work.session.scalars(select(ReclaimPolicy).order_by(ReclaimPolicy.id)))
    runs = {r.policy_id: r for r in work.session.scalars(select(ReclaimDryRun).order_by(ReclaimDryRun.id))}
    unknown = protection.unknown(work, whole.exemptions.values())
    out = []
    for policy in whole.policies:
        digest = policy_words.digest(policy, whole)
        on = [r for r in rows if r.name == policy.name and r.switched_on_at and not r.switched_off_at]
        present = next((r for r in rows if (r.name, r.digest) == (policy.name, digest)), None)
        out.append(
            Standing(
                policy,
                _exemptions(whole, policy.exempt),
                whole.version,
                digest,
                on=next((r for r in on if r.digest == digest), None),
                was_on=next((r for r in on if r.digest != digest), None),
                dry_run=runs.get(present.id) if present else None,
                unknown=unknown,
            )
        )
    return out


def _exemptions(whole: PolicySet, names: Sequence[str]) -> list[Exemption]:
    """These and what they include, but for those that do nothing else than include."""
    every = protection.with_included(whole, names).values()
    return [e for e in every if not e.includes or any((e.resources, e.systems, e.units, e.newer_than_days))]


@dataclass(frozen=True, slots=True)
class Version:
    """A content that a policy has had, as far as somebody has tried it, with its dry runs: how many, the last."""

    row: ReclaimPolicy
    dry_runs: int
    last_run_at: datetime | None


def versions(work: Work, name: str) -> list[Version]:
    """What a policy has been, the newest first: who tried it, who switched it on and off, and when."""
    runs = (
        select(ReclaimDryRun.policy_id, func.count().label("runs"), func.max(ReclaimDryRun.run_at).label("last"))
        .group_by(ReclaimDryRun.policy_id)
        .subquery()
    )
    statement = (
        select(ReclaimPolicy, func.coalesce(runs.c.runs, 0), runs.c.last)
        .outerjoin(runs, runs.c.policy_id == ReclaimPolicy.id)
        .where(ReclaimPolicy.name == name)
        .order_by(ReclaimPolicy.id.desc())
    )
    return [Version(*row) for row in work.session.execute(statement)]


def acting(work: Work) -> list[ReclaimPolicy]:
    """What is switched on, whether or not the file still says it (or can be read)."""
    return list(work.session.scalars(_acting().order_by(ReclaimPolicy.name)))


def may_switch(work: Work) -> bool:
    """Whether the actor may run policies dry and switch them."""
    try:
        center(work)
    except Forbidden:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Heard:
    """The runs of which a case was dropped: a person said no, or it was in use again.

    The same run is not taken up again by itself, or whatever a person undoes would be back in five minutes. It is told
    by its days, not by its finding: one that ended for want of samples is found anew when these come late.
    """

    last_days: Mapping[tuple[UUID, str], date]
    """The last day that was heard about, by resource and policy; what is idle anew began later."""

    def __contains__(self, found: Finding) -> bool:
        return found.first_day <= self.last_days.get((found.resource_id, found.policy), date.min)


def heard(work: Work) -> Heard:
    """What cases that were dropped had been about."""
    ended = (
        select(IdleFinding.resource_id, IdleFinding.policy, func.max(IdleFinding.last_day))
        .join(ReclaimCase, ReclaimCase.finding_id == IdleFinding.id)
        .where(ReclaimCase.state == CaseState.DROPPED.value)
        .group_by(IdleFinding.resource_id, IdleFinding.policy)
    )
    return Heard({(row[0], row[1]): row[2] for row in work.session.execute(ended)})


def switch_on(work: Work, settings: Settings, name: str, dry_run_id: UUID) -> ReclaimPolicy:
    """A person lets the policy act, having seen a dry run of the very content it has now.

    Raises NotFound, Forbidden, Conflict ``reclaim.dry_run_stale`` (of another content), ``reclaim.dry_run_old``,
    ``reclaim.already_on``.
    """
    by = center(work)
    _, digest, _ = present(settings, name)
    run = work.session.get(ReclaimDryRun, dry_run_id)
    row = None if run is None else work.session.get(ReclaimPolicy, run.policy_id, with_for_update=True)
    if row is None or (row.name, row.digest) != (name, digest):
        raise Conflict("reclaim.dry_run_stale")
    assert run is not None
    if run.run_at < work.now - SEEN_WITHIN:
        raise Conflict("reclaim.dry_run_old", days=SEEN_WITHIN.days)
    if row.switched_on_at is not None and row.switched_off_at is None:
        raise Conflict("reclaim.already_on")
    _off(work, name, by)
    row.dry_run_id, row.switched_on_by, row.switched_on_at = dry_run_id, by.account_id, work.now
    row.switched_off_at = row.switched_off_by = None
    data = {"policy": name, "digest": digest[:16], "dry_run": str(dry_run_id)}
    work.record("reclaim.policy_on", "reclaim_policy", row.id, mandate=by, article="Art. 14", data=data)
    return row


def switch_off(work: Work, name: str) -> None:
    """The policy opens no more cases; those that are open go on. Raises Conflict ``reclaim.not_on``."""
    by = center(work)
    off = _off(work, name, by)
    if not off:
        raise Conflict("reclaim.not_on")
    for row in off:
        work.record("reclaim.policy_off", "reclaim_policy", row.id, mandate=by, data={"policy": name})


def _off(work: Work, name: str, by: Mandate) -> Sequence[ReclaimPolicy]:
    on = _acting().where(ReclaimPolicy.name == name).with_for_update()
    rows = work.session.scalars(on).all()
    for row in rows:
        row.switched_off_at, row.switched_off_by = work.now, by.account_id
    work.session.flush()
    return rows


def _acting() -> Any:
    return select(ReclaimPolicy).where(
        ReclaimPolicy.switched_on_at.is_not(None), ReclaimPolicy.switched_off_at.is_(None)
    )


def take_up(work: Work, settings: Settings) -> int:
    """Open a case for what detection found lately by a policy that is on; returns how many. One refusal stops none.

    While the operator's file cannot be read no policy acts; other dates come all the same.
    """
    on = {row.name: row.digest for row in acting(work)}
    if not on:
        return 0
    try:
        whole = service.policies_of(settings)
    except BrokerError as error:
        log.warning("policies not read", code=error.code)
        return 0
    digests = policy_words.digests(whole)
    policies = {p.name: p.days for p in whole.policies if on.get(p.name) == digests[p.name]}
    today = work.now.astimezone(work.calendar.zone).date()
    ended = heard(work)
    in_cases = set(work.session.scalars(select(CaseResource.resource_id).where(CaseResource.closed_at.is_(None))))
    opened = 0
    for found in findings.current(work.session):
        fresh = today - found.scanned_on <= timedelta(days=rules.FRESH_DAYS)
        if found.days < policies.get(found.policy, found.days + 1) or not fresh:
            continue
        if found.resource_id in in_cases or found in ended:
            continue
        try:
            with work.session.begin_nested():
                opening.open_case(work, opening.of_finding(found, whole))
        except BrokerError:  # of another content, exempt, being given back, gone: nothing to do, no reason to stop
            continue
        opened += 1
        if opened == _AT_ONCE:
            break
    return opened


def present(settings: Settings, name: str) -> tuple[Policy, str, PolicySet]:
    """A policy as the file has it now, its digest, and the whole file. Raises NotFound ``policy.not_found``."""
    whole = service.policies_of(settings)
    policy = next((p for p in whole.policies if p.name == name), None)
    if policy is None:
        raise NotFound("policy.not_found")
    return policy, policy_words.digest(policy, whole), whole


def center(work: Work) -> Mandate:
    """Who delivers for the main cloud, or decides for it: a policy acts in the whole region (Art. 14)."""
    rows = work.session.execute(
        select(SubCloudAuthority.duty, SubCloudAuthority.unit_id)
        .join(SubCloud, SubCloud.id == SubCloudAuthority.sub_cloud_id)
        .where(SubCloud.tier == "main", SubCloudAuthority.during.contains(work.now))
    )
    units = {row.duty: row.unit_id for row in rows}
    duties = [(Role.APPROVER, units.get("decide")), (Role.OPERATOR, units.get("deliver"))]
    return one_of(work.actor, duties)[0]
