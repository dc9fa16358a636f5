"""What a policy would do if it were on: which cases, which not and why, and how far the shares would let it go at once.

Called by: the API, the console. Must not: open a case, or switch anything on.

Three steps: what is known is read (``ask``), the stored samples are scanned by the very content of the policy with no
transaction open (``look``), and what it would do with that is written down (``run``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from broker.catalog.models import SubCloud
from broker.db.base import new_id
from broker.errors import BrokerError, Conflict, Invalid
from broker.inventory.models import Resource
from broker.reclamation import opening, policies, rules, share
from broker.reclamation.models import ReclaimDryRun, ReclaimPolicy
from broker.reclamation.rules import Scope
from broker.reclamation.values import Room
from broker.settings import Settings
from broker.tenancy.repository import unit_names
from broker.tenancy.work import Work
from broker.utilisation import detection, findings, looking, policy_words, sightings
from broker.utilisation.findings import Finding
from broker.utilisation.looking import CURRENT, Known
from broker.utilisation.sightings import Sighting
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A policy as the file has it, what is known before it is tried, and what was last seen of what has no samples."""

    policy: Policy
    digest: str
    whole: PolicySet
    known: Known
    last_seen: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """What this very content finds idle today, and how much it leaves alone."""

    idle: tuple[Sighting, ...]
    exempted: int


def ask(work: Work, settings: Settings, name: str) -> Asked:
    """What a dry run has to know. Raises NotFound ``policy.not_found``, Forbidden ``duty.missing``."""
    policies.center(work)
    policy, digest, whole = policies.present(settings, name)
    # A run that begins where reading began was found by another content: all that is kept is read then.
    known = replace(detection.known_now(work), going_on={})
    return Asked(policy, digest, whole, known, tuple(_last_seen(work, policy, known)) if policy.seen else ())


def _last_seen(work: Work, policy: Policy, known: Known) -> Iterator[Sighting]:
    """What the last detections saw of this kind, by whatever policy: clouds are asked at night, not by a page."""
    rows = [
        row
        for row in findings.still_open(work.session).values()
        if row.kind == sightings.KINDS[policy.seen].value and row.scanned_on >= known.day - CURRENT
    ]
    once = {(row.resource_id, row.object_ref): row for row in sorted(rows, key=lambda row: row.days)}
    for row in once.values():
        if row.resource_id in known.things and not known.things[row.resource_id].suspended:
            said = tuple(findings.Evidence(each["code"], each["params"]) for each in row.evidence)
            kind = sightings.KINDS[policy.seen]
            yield Sighting(row.resource_id, kind, policy, said, row.last_day, row.first_day, object_ref=row.object_ref)


def look(settings: Settings, asked: Asked) -> Looked:
    """Scan the stored samples by the policy as it is now; no transaction is open."""
    alone = PolicySet(asked.whole.version, (asked.policy,), asked.whole.exemptions)
    if not asked.policy.seen:
        idle, exempted = looking.measured(settings, asked.known, alone)
        return Looked(tuple(looking.once(idle).values()), len(exempted))
    left = [each for each in asked.last_seen if looking.exempt(each, asked.known.things[each.resource_id], alone)]
    return Looked(tuple(each for each in asked.last_seen if each not in left), len(left))


def run(work: Work, settings: Settings, asked: Asked, looked: Looked) -> ReclaimDryRun:
    """What the policy would do now: which cases it would open, which not and why, and how full the shares would be.

    Nothing is opened. Raises Forbidden ``duty.missing``, Conflict ``reclaim.dry_run_stale``: the file has changed.
    """
    by = policies.center(work)
    name = asked.policy.name
    policy, digest, whole = policies.present(settings, name)
    if digest != asked.digest:
        raise Conflict("reclaim.dry_run_stale")
    row = work.session.scalar(select(ReclaimPolicy).where(ReclaimPolicy.name == name, ReclaimPolicy.digest == digest))
    if row is None:
        row = ReclaimPolicy(
            id=new_id(), name=name, version=whole.version, digest=digest,
            content=policy_words.content(policy), created_by=by.account_id,
            created_at=work.now,
        )  # fmt: skip
        work.session.add(row)
        work.session.flush()
    result = _would_do(work, settings, _found(work, asked, looked), whole)
    if looked.exempted:
        result["refused"]["policy.exempted"] = looked.exempted
    made = ReclaimDryRun(id=new_id(), policy_id=row.id, result=result, run_by=by.account_id, run_at=work.now)
    work.session.add(made)
    work.session.flush()
    data = {"policy": name, "digest": digest[:16], "cases": result["cases"]}
    work.record("reclaim.dry_run", "reclaim_policy", row.id, mandate=by, data=data)
    return made


def _found(work: Work, asked: Asked, looked: Looked) -> list[Finding]:
    """The findings that the next detection would have of it; one that goes on keeps its id."""
    rows = findings.still_open(work.session)
    day = asked.known.day
    return [
        Finding(
            id=rows[each.key].id if each.key in rows else new_id(),
            resource_id=each.resource_id, kind=each.kind, policy=each.policy, policy_version=asked.whole.version,
            policy_digest=asked.digest,
            object_ref=each.object_ref, first_day=each.first_day, last_day=each.last_day, days=each.days,
            evidence=each.evidence, monthly_fen=each.monthly_fen, scanned_on=day, found_at=work.now,
            cleared_at=None, cleared_because=None,
        )
        for each in detection.valued(work, looked.idle, rows, (day, asked.known.things))
        if each.ripe
    ]  # fmt: skip


def _would_do(work: Work, settings: Settings, found: Sequence[Finding], whole: PolicySet) -> dict[str, Any]:
    heard = policies.heard(work)
    refused: Counter[str] = Counter()
    going = []
    for each in found:
        why = "reclaim.heard" if each in heard else _refusal(work, whole, each)
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
