"""Scans all systems for the five signs, and takes a person's decision: a zombie, or not for now.

Called by: the API, the console, the command line. Must not: decide by itself, or open a reclaim case that nobody
confirmed (Art. 28: the Bureau leads; Art. 14: the Center takes back).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from broker.catalog import repository as catalog
from broker.db.base import new_id
from broker.errors import Conflict, Invalid, NotFound, Problem
from broker.inventory.models import InformationSystem, Resource
from broker.lifecycle import Role
from broker.reclamation import opening, protection
from broker.reclamation.models import CaseResource
from broker.reclamation.values import Cause, Opening
from broker.settings import Settings
from broker.tenancy.rules import mandate
from broker.tenancy.values import SYSTEM
from broker.tenancy.work import Work
from broker.utilisation import service
from broker.zombies import board
from broker.zombies.facts import LOCAL, Known, Measured, freeze
from broker.zombies.models import ZombieDecision, ZombieFinding, ZombieScan
from broker.zombies.rules import assess
from broker.zombies.values import Assessment, SignFound, ZombieRules

CONFIRMED, NOT_ZOMBIE = DECISIONS = ("confirmed", "not_zombie")
MOST_WAIT = timedelta(days=366)
"""Who is not a zombie is looked at again within a year (ours)."""


@dataclass(frozen=True, slots=True)
class Given:
    """A decision on one finding. ``look_again_on``: from when a system that is no zombie is listed again."""

    decision: str
    reason: str
    look_again_on: date | None = None


def record(
    work: Work, known: Known, measured: Measured, rules: ZombieRules, *, night: date | None = None
) -> ZombieScan:
    """Score every system by what was gathered and measured, and keep it: one scan, a finding each.

    ``night``: the day of a scan that the machine makes.
    """
    frozen = freeze(known, measured)
    scan = ZombieScan(
        id=new_id(),
        at=work.now,
        by=work.actor.account_id,
        rules_version=rules.version,
        systems=len(frozen),
        measured_until=max(measured.until.values(), default=None),
        night=night,
    )
    work.session.add(scan)
    work.session.flush()
    found = {system_id: assess(facts, rules) for system_id, facts in frozen.items()}
    work.session.add_all(
        ZombieFinding(
            id=new_id(),
            scan_id=scan.id,
            system_id=system_id,
            score_hundredths=each.score_hundredths,
            level=each.level.value,
            known=each.known,
            facts=_json(asdict(frozen[system_id])),
            signs=[_sign(sign, rules) for sign in each.signs],
            cautions=list(each.cautions),
        )
        for system_id, each in found.items()
    )
    levels = _levels(found)
    work.record("zombie.scanned", "zombie_scan", scan.id, article="Art. 28", data={"version": rules.version, **levels})
    return scan


def _levels(found: dict[UUID, Assessment]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for each in found.values():
        counts[each.level.value] += 1
    return dict(counts)


def _sign(found: SignFound, rules: ZombieRules) -> dict[str, Any]:
    return {
        "sign": found.sign.value,
        "weight": rules.weights[found.sign],
        "known": found.known,
        "mass": found.mass,
        "evidence": [_json(asdict(each)) for each in found.evidence],
    }


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value


def decide(work: Work, settings: Settings, system_id: UUID, finding_id: UUID, given: Given) -> ZombieDecision:
    """The Bureau decides on what the last scan said of a system, as it was seen.

    Confirmed, a reclaim case is opened for its resources in each cloud; what is in a case already stays there, and the
    decision names that one too: it stands as long as any of them.
    Raises NotFound ``system.not_found``, ``zombie.not_scanned``; Forbidden (``tenancy.rules.mandate``); Conflict
    ``zombie.seen_older`` (another scan since), ``zombie.confirmed``; what ``reclamation.opening`` refuses; Invalid
    ``reason.missing``, ``zombie.decision``, ``zombie.look_again``.
    """
    system = work.session.get(InformationSystem, system_id, with_for_update=True)
    if system is None:
        raise NotFound("system.not_found")
    bureau = catalog.main_authority(work.session, "decide", work.now)
    by = mandate(work.actor, Role.APPROVER, bureau)
    newest = board.newest_finding(work, system_id)
    if newest is None:
        raise NotFound("zombie.not_scanned")
    if newest.id != finding_id:
        raise Conflict("zombie.seen_older")
    standing = board.decision_on(work, system_id)
    if standing is not None and standing.decision == CONFIRMED:
        raise Conflict("zombie.confirmed")
    if problems := _problems(given, work.now.astimezone(LOCAL).date()):
        raise Invalid(problems)
    cases = list[UUID]()
    if given.decision == CONFIRMED:
        cases = _held(work, system) + _open_cases(work, settings, system, newest, given.reason)
    made = ZombieDecision(
        id=new_id(),
        system_id=system_id,
        finding_id=finding_id,
        decision=given.decision,
        reason=given.reason.strip(),
        look_again_on=given.look_again_on if given.decision == NOT_ZOMBIE else None,
        decided_by=by.account_id,
        decided_at=work.now,
        case_ids=cases,
    )
    work.session.add(made)
    data = {"score_hundredths": newest.score_hundredths, "cases": [str(each) for each in cases]}
    work.record(f"zombie.{given.decision}", "system", system_id, mandate=by, article="Art. 28", data=data)
    return made


def _problems(given: Given, today: date) -> list[Problem]:
    out = []
    if given.decision not in DECISIONS:
        out.append(Problem("zombie.decision", "decision"))
    if not given.reason.strip():
        out.append(Problem("reason.missing", "reason"))
    if given.decision == NOT_ZOMBIE and (
        given.look_again_on is None or not today < given.look_again_on <= today + MOST_WAIT
    ):
        out.append(Problem("zombie.look_again", "look_again_on"))
    return out


def _held(work: Work, system: InformationSystem) -> list[UUID]:
    """Cases that have something of the system already."""
    statement = (
        select(CaseResource.case_id)
        .join(Resource, Resource.id == CaseResource.resource_id)
        .where(Resource.system_id == system.id, CaseResource.closed_at.is_(None))
    )
    return sorted(set(work.session.scalars(statement)))


def _open_cases(
    work: Work, settings: Settings, system: InformationSystem, finding: ZombieFinding, reason: str
) -> list[UUID]:
    """A case for each unit and cloud in which the system has resources that are in none yet.

    Raises Conflict ``reclaim.protected`` when the policies' exemptions name something of it.
    """
    held = select(CaseResource.resource_id).where(CaseResource.closed_at.is_(None))
    rows = work.session.scalars(
        select(Resource)
        .where(
            Resource.system_id == system.id,
            Resource.state.in_(("active", "stopped")),
            Resource.id.not_in(held),
            # A disk comes along with its server.
            Resource.server_id.is_(None),
        )
        .order_by(Resource.id)
    ).all()
    groups: dict[tuple[UUID, UUID], list[UUID]] = defaultdict(list)
    for row in rows:
        groups[row.unit_id, row.sub_cloud_id].append(row.id)
    evidence = {"score_hundredths": finding.score_hundredths, "signs": finding.signs, "finding": str(finding.id)}
    protected = protection.of_all(service.policies_of(settings))
    made = [
        Opening(Cause.ZOMBIE, tuple(ids), reason, evidence=evidence, system_id=system.id, protected=protected)
        for _, ids in sorted(groups.items())
    ]
    machine = replace(work, actor=SYSTEM)
    return [opening.open_case(machine, each).id for each in made]
