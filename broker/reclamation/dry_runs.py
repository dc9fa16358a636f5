"""What a policy would do if it were on: which cases, which not and why, and how far the shares would let it go at once.

Called by: the API, the console. Must not: open a case, or switch anything on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from broker.catalog.models import SubCloud
from broker.db.base import new_id
from broker.errors import BrokerError, Invalid
from broker.inventory.models import Resource
from broker.reclamation import opening, policies, rules, share
from broker.reclamation.models import ReclaimDryRun, ReclaimPolicy
from broker.reclamation.rules import Scope
from broker.reclamation.values import Room
from broker.settings import Settings
from broker.tenancy.repository import unit_names
from broker.tenancy.work import Work
from broker.utilisation import findings
from broker.utilisation.findings import Finding
from broker.utilisation.values import Policy, PolicySet

_LISTED = 500
"""How many resources a dry run names; all are counted."""


@dataclass(frozen=True, slots=True)
class _Take:
    """A case that would be opened: over how many resources, disks included, and the scopes it counts in."""

    found: Finding
    resource: Resource
    parts: int
    scopes: tuple[Scope, ...]


def run(work: Work, settings: Settings, name: str) -> ReclaimDryRun:
    """What the policy would do now: which cases it would open, which not and why, and how full the shares would be.

    Nothing is opened. Raises NotFound ``policy.not_found``, Forbidden ``duty.missing``.
    """
    by = policies.center(work)
    policy, digest, whole = policies.present(settings, name)
    row = work.session.scalar(select(ReclaimPolicy).where(ReclaimPolicy.name == name, ReclaimPolicy.digest == digest))
    if row is None:
        row = ReclaimPolicy(
            id=new_id(), name=name, version=whole.version, digest=digest,
            content=policies.content(policy), created_by=by.account_id,
            created_at=work.now,
        )  # fmt: skip
        work.session.add(row)
        work.session.flush()
    result = _would_do(work, settings, policy, whole)
    made = ReclaimDryRun(id=new_id(), policy_id=row.id, result=result, run_by=by.account_id, run_at=work.now)
    work.session.add(made)
    work.session.flush()
    data = {"policy": name, "digest": digest[:16], "cases": result["cases"]}
    work.record("reclaim.dry_run", "reclaim_policy", row.id, mandate=by, data=data)
    return made


def _would_do(work: Work, settings: Settings, policy: Policy, whole: PolicySet) -> dict[str, Any]:
    found = [f for f in findings.current(work.session) if f.policy == policy.name]
    heard = policies.heard(work)
    refused: Counter[str] = Counter()
    going = []
    for each in found:
        why = "reclaim.heard" if each.id in heard else _refusal(work, whole, each)
        if why:
            refused[why] += 1
        else:
            going.append(each)
    takes, rooms = _counted(work, settings, going)
    wave = rules.first_wave([(take.parts, take.scopes) for take in takes], rooms)
    names = unit_names(
        work.session, {t.resource.unit_id for t in takes} | {i for s, i in rooms if s == "unit"}, work.now
    )
    listed = [
        {"number": t.resource.number, "unit": names.get(t.resource.unit_id, ""), "days": t.found.days,
         "monthly_fen": t.found.monthly_fen, "resources": t.parts, "at_once": at_once}
        for t, at_once in zip(takes, wave, strict=True)
    ]  # fmt: skip
    return {
        "cases": len(takes),
        "at_once": sum(wave),
        "resources": sum(take.parts for take in takes),
        "monthly_fen": sum(take.found.monthly_fen or 0 for take in takes),
        "takes": listed[:_LISTED],
        "refused": dict(refused),
        "shares": _shares(work, takes, wave, rooms, names),
    }


def _refusal(work: Work, whole: PolicySet, found: Finding) -> str:
    """Why no case would be opened, as the very code that opening it gives; empty: it would. Nothing is left of it."""
    try:
        with work.session.begin_nested() as attempt:
            opening.check(work, opening.of_finding(found, whole))
            attempt.rollback()
    except BrokerError as error:
        return error.problems[0].code if isinstance(error, Invalid) else error.code
    return ""


def _counted(work: Work, settings: Settings, going: Iterable[Finding]) -> tuple[list[_Take], dict[Scope, Room]]:
    """The cases with what they count, and every share that they count in."""
    of = {found.resource_id: found for found in going}
    resources = work.session.scalars(select(Resource).where(Resource.id.in_(of)).order_by(Resource.id)).all()
    disks = _disks(work, of)
    rooms: dict[Scope, Room] = {}
    scopes: dict[tuple[UUID, UUID], tuple[Scope, ...]] = {}
    takes = []
    for resource in resources:
        where = (resource.unit_id, resource.sub_cloud_id)
        if where not in scopes:
            found = share.rooms(work, settings, *where)
            rooms |= {room.key: room for room in found}
            scopes[where] = tuple(room.key for room in found)
        takes.append(_Take(of[resource.id], resource, 1 + disks.get(resource.id, 0), scopes[where]))
    return takes, rooms


def _disks(work: Work, ids: Iterable[UUID]) -> dict[UUID, int]:
    """How many live disks come along with each server."""
    statement = (
        select(Resource.server_id, func.count())
        .where(Resource.server_id.in_(list(ids)), Resource.state.in_(opening.LIVE))
        .group_by(Resource.server_id)
    )
    return {server_id: count for server_id, count in work.session.execute(statement) if server_id is not None}


def _shares(
    work: Work,
    takes: Sequence[_Take],
    wave: Sequence[bool],
    rooms: Mapping[Scope, Room],
    names: Mapping[UUID, str],
) -> list[dict[str, Any]]:
    """Each share that would be touched, the fullest first: what is live, held, allowed, would come, and comes first."""
    would, at_once = Counter[Scope](), Counter[Scope]()
    for take, goes in zip(takes, wave, strict=True):
        for scope in take.scopes:
            would[scope] += take.parts
            at_once[scope] += take.parts if goes else 0
    ids = [scope_id for scope, scope_id in rooms if scope == "cloud"]
    clouds = {c.id: c.name for c in work.session.scalars(select(SubCloud).where(SubCloud.id.in_(ids)))}
    rows = [
        {"scope": scope, "unit": (names if scope == "unit" else clouds).get(scope_id, ""), "live": room.live,
         "held": room.held, "allowed": room.allowed, "percent": room.percent, "would": would[scope, scope_id],
         "at_once": at_once[scope, scope_id]}
        for (scope, scope_id), room in rooms.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda r: (-(r["held"] + r["would"]) / max(r["live"], 1), r["scope"], r["unit"]))
