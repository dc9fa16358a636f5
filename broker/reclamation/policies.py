"""Policies that open cases by themselves: dry runs, switching on and off, and taking up what detection found.

Called by: the API, the console; dispatch (``take_up``). Must not: detect anything (``utilisation`` does).

A policy acts only while a person has switched on the very content it has now, after a dry run of that content: change a
word in the file and it is off until somebody has looked again. The database holds a version and its dry run together.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select

from broker.catalog.models import SubCloud, SubCloudAuthority
from broker.db.base import new_id
from broker.errors import BrokerError, Conflict, Invalid, NotFound
from broker.inventory.models import Resource
from broker.lifecycle import CaseState, Role
from broker.reclamation import opening, rules, share
from broker.reclamation.models import CaseResource, ReclaimCase, ReclaimDryRun, ReclaimPolicy
from broker.settings import Settings
from broker.tenancy.repository import unit_names
from broker.tenancy.rules import mandate
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work
from broker.utilisation import findings, service
from broker.utilisation.findings import Finding
from broker.utilisation.values import Policy, PolicySet

log = structlog.get_logger(__name__)

_AT_ONCE = 200
_LISTED = 500
"""How many resources a dry run names; all are counted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A policy as the file has it now. ``on``: this very content acts; ``was_on``: another content was switched on."""

    name: str
    title: str
    version: str
    digest: str
    basis: str
    days: int
    grace: Mapping[int, int]
    on: ReclaimPolicy | None
    was_on: ReclaimPolicy | None
    dry_run: ReclaimDryRun | None


def digest_of(policy: Policy, whole: PolicySet) -> str:
    """SHA-256 of what a policy says, its exemptions included."""
    content = {"policy": _content(policy), "exemptions": {n: asdict(e) for n, e in whole.exemptions.items()}}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=_plain).encode()).hexdigest()


def _content(policy: Policy) -> dict[str, Any]:
    """What a policy says, as plain data; its condition in words that tell ``all`` from ``any``."""
    said: dict[str, Any] = json.loads(json.dumps(asdict(policy), default=_plain))
    return said | {"when": repr(policy.when)}


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def standings(work: Work, settings: Settings) -> list[Standing]:
    """Every policy of the file, with the version that acts and the last dry run of the present content."""
    whole = service.policies_of(settings)
    rows = list(work.session.scalars(select(ReclaimPolicy).order_by(ReclaimPolicy.id)))
    runs = {r.policy_id: r for r in work.session.scalars(select(ReclaimDryRun).order_by(ReclaimDryRun.id))}
    out = []
    for policy in whole.policies:
        digest = digest_of(policy, whole)
        acting = [r for r in rows if r.name == policy.name and r.switched_on_at and not r.switched_off_at]
        present = next((r for r in rows if (r.name, r.digest) == (policy.name, digest)), None)
        out.append(
            Standing(
                policy.name,
                policy.title,
                whole.version,
                digest,
                policy.basis,
                policy.days,
                policy.grace_working_days,
                on=next((r for r in acting if r.digest == digest), None),
                was_on=next((r for r in acting if r.digest != digest), None),
                dry_run=runs.get(present.id) if present else None,
            )
        )
    return out


def dry_run(work: Work, settings: Settings, name: str) -> ReclaimDryRun:
    """What the policy would do now: which cases it would open, which not and why, and how full the shares would be.

    Nothing is opened. Raises NotFound ``policy.not_found``, Forbidden ``duty.missing``.
    """
    by = _center(work)
    policy, digest, whole = _present(settings, name)
    row = work.session.scalar(select(ReclaimPolicy).where(ReclaimPolicy.name == name, ReclaimPolicy.digest == digest))
    if row is None:
        row = ReclaimPolicy(
            id=new_id(), name=name, version=whole.version, digest=digest,
            content=_content(policy), created_by=by.account_id,
            created_at=work.now,
        )  # fmt: skip
        work.session.add(row)
        work.session.flush()
    result = _would_do(work, settings, policy, whole)
    run = ReclaimDryRun(id=new_id(), policy_id=row.id, result=result, run_by=by.account_id, run_at=work.now)
    work.session.add(run)
    work.session.flush()
    data = {"policy": name, "digest": digest[:16], "cases": result["cases"]}
    work.record("reclaim.dry_run", "reclaim_policy", row.id, mandate=by, data=data)
    return run


def _would_do(work: Work, settings: Settings, policy: Policy, whole: PolicySet) -> dict[str, Any]:
    found = [f for f in findings.current(work.session) if f.policy == policy.name]
    heard = _heard(work)
    refused: Counter[str] = Counter()
    takes, monthly_fen = [], 0
    by_unit: Counter[tuple[UUID, UUID]] = Counter()
    ids = [f.resource_id for f in found]
    resources = {r.id: r for r in work.session.scalars(select(Resource).where(Resource.id.in_(ids)))}
    names = unit_names(work.session, {r.unit_id for r in resources.values()}, work.now)
    for each in found:
        resource = resources[each.resource_id]
        why = "reclaim.heard" if each.id in heard else _refusal(work, whole, each)
        if why:
            refused[why] += 1
            continue
        monthly_fen += each.monthly_fen or 0
        by_unit[resource.unit_id, resource.sub_cloud_id] += 1
        takes.append({"number": resource.number, "unit": names.get(resource.unit_id, ""), "days": each.days,
                      "monthly_fen": each.monthly_fen})  # fmt: skip
    shares = [
        {"unit": names.get(unit, ""), "scope": room.scope, "live": room.live, "held": room.held,
         "allowed": room.allowed, "would": count}
        for (unit, cloud), count in sorted(by_unit.items())
        for room in share.rooms(work, settings, unit, cloud)
    ]  # fmt: skip
    return {"cases": len(takes), "monthly_fen": monthly_fen, "takes": takes[:_LISTED], "refused": dict(refused),
            "shares": shares}  # fmt: skip


def _refusal(work: Work, whole: PolicySet, found: Finding) -> str:
    """Why no case would be opened, as the very code that opening it gives; empty: it would. Nothing is left of it."""
    try:
        with work.session.begin_nested() as attempt:
            opening.check(work, opening.of_finding(found, whole))
            attempt.rollback()
    except BrokerError as error:
        return error.problems[0].code if isinstance(error, Invalid) else error.code
    return ""


def _heard(work: Work) -> set[UUID]:
    """Findings of which a case was dropped: a person said no, or it was in use again.

    The same run is not taken up again by itself, or whatever a person undoes would be back in five minutes; what is
    idle anew is another finding.
    """
    ended = select(ReclaimCase.finding_id).where(
        ReclaimCase.finding_id.is_not(None), ReclaimCase.state == CaseState.DROPPED.value
    )
    return set(work.session.scalars(ended))


def switch_on(work: Work, settings: Settings, name: str, dry_run_id: UUID) -> ReclaimPolicy:
    """A person lets the policy act, having seen a dry run of the very content it has now.

    Raises NotFound, Forbidden, Conflict ``reclaim.dry_run_stale`` (of another content), ``reclaim.already_on``.
    """
    by = _center(work)
    _, digest, _ = _present(settings, name)
    run = work.session.get(ReclaimDryRun, dry_run_id)
    row = None if run is None else work.session.get(ReclaimPolicy, run.policy_id, with_for_update=True)
    if row is None or (row.name, row.digest) != (name, digest):
        raise Conflict("reclaim.dry_run_stale")
    if row.switched_on_at is not None and row.switched_off_at is None:
        raise Conflict("reclaim.already_on")
    _off(work, name)
    row.dry_run_id, row.switched_on_by, row.switched_on_at = dry_run_id, by.account_id, work.now
    row.switched_off_at = None
    data = {"policy": name, "digest": digest[:16], "dry_run": str(dry_run_id)}
    work.record("reclaim.policy_on", "reclaim_policy", row.id, mandate=by, article="Art. 14", data=data)
    return row


def switch_off(work: Work, name: str) -> None:
    """The policy opens no more cases; those that are open go on. Raises Conflict ``reclaim.not_on``."""
    by = _center(work)
    off = _off(work, name)
    if not off:
        raise Conflict("reclaim.not_on")
    for row in off:
        work.record("reclaim.policy_off", "reclaim_policy", row.id, mandate=by, data={"policy": name})


def _off(work: Work, name: str) -> Sequence[ReclaimPolicy]:
    on = _acting().where(ReclaimPolicy.name == name).with_for_update()
    rows = work.session.scalars(on).all()
    for row in rows:
        row.switched_off_at = work.now
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
    acting = {row.name: row.digest for row in work.session.scalars(_acting())}
    if not acting:
        return 0
    try:
        whole = service.policies_of(settings)
    except BrokerError as error:
        log.warning("policies not read", code=error.code)
        return 0
    policies = {p.name for p in whole.policies if acting.get(p.name) == digest_of(p, whole)}
    today = work.now.astimezone(work.calendar.zone).date()
    heard = _heard(work)
    in_cases = set(work.session.scalars(select(CaseResource.resource_id).where(CaseResource.closed_at.is_(None))))
    opened = 0
    for found in findings.current(work.session):
        fresh = today - found.scanned_on <= timedelta(days=rules.FRESH_DAYS) and found.policy_version == whole.version
        if found.policy not in policies or not fresh or found.resource_id in in_cases or found.id in heard:
            continue
        try:
            with work.session.begin_nested():
                opening.open_case(work, opening.of_finding(found, whole))
        except BrokerError:  # a snapshot, exempt, being given back, gone: nothing to do, no reason to stop
            continue
        opened += 1
        if opened == _AT_ONCE:
            break
    return opened


def _present(settings: Settings, name: str) -> tuple[Policy, str, PolicySet]:
    whole = service.policies_of(settings)
    policy = next((p for p in whole.policies if p.name == name), None)
    if policy is None:
        raise NotFound("policy.not_found")
    return policy, digest_of(policy, whole), whole


def _center(work: Work) -> Mandate:
    """Who delivers for the main cloud, or decides for it: a policy acts in the whole region (Art. 14)."""
    duty = "decide" if Role.APPROVER in work.actor.roles else "deliver"
    unit_id = work.session.scalar(
        select(SubCloudAuthority.unit_id)
        .join(SubCloud, SubCloud.id == SubCloudAuthority.sub_cloud_id)
        .where(SubCloud.tier == "main", SubCloudAuthority.duty == duty, SubCloudAuthority.during.contains(work.now))
    )
    return mandate(work.actor, Role.APPROVER if duty == "decide" else Role.OPERATOR, unit_id)
