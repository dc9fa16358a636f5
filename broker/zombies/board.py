"""What the last scan said of each system, with what was decided since: lists, one system.

Called by: the API, the console, the command line, ``zombies.service``. Must not: change anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import or_, select

from broker.db.base import AnyRow, AnySelect
from broker.errors import NotFound
from broker.inventory import systems
from broker.inventory.models import InformationSystem, Resource
from broker.lifecycle import CaseState
from broker.reclamation import board as reclaim
from broker.reclamation import opening
from broker.reclamation.models import ReclaimCase
from broker.tenancy.models import UnitPeriod
from broker.tenancy.repository import holds
from broker.tenancy.work import Work
from broker.zombies.facts import LOCAL
from broker.zombies.models import ZombieDecision, ZombieFinding, ZombieScan

_TAKEN = {CaseState.RELEASED.value, CaseState.GIVEN_BACK.value}


@dataclass(frozen=True, slots=True)
class Listed:
    """A system of the list. ``decision``: the one that stands today; None: nobody has decided, or it is over."""

    finding: ZombieFinding
    system: InformationSystem
    unit_name: str
    decision: ZombieDecision | None


def last_scan(work: Work) -> ZombieScan | None:
    """The newest scan."""
    return work.session.scalar(select(ZombieScan).order_by(ZombieScan.id.desc()).limit(1))


def listing(work: Work, *, decided: bool = False, limit: int = 200) -> list[Listed]:
    """Systems the actor may see by what the last scan said, highest score first.

    ``decided``: with those on which a decision stands.
    """
    scan = last_scan(work)
    if scan is None:
        return []
    statement: AnySelect = (
        select(ZombieFinding, InformationSystem, UnitPeriod.name.label("unit_name"))
        .join(InformationSystem, InformationSystem.id == ZombieFinding.system_id)
        .outerjoin(UnitPeriod, (UnitPeriod.unit_id == InformationSystem.unit_id) & holds(UnitPeriod.during, work.now))
        .where(ZombieFinding.scan_id == scan.id, systems.visible(work, InformationSystem.unit_id))
        .order_by(ZombieFinding.score_hundredths.desc(), InformationSystem.code)
    )
    rows = work.session.execute(statement).all()
    standing = _standing(work, [row[1].id for row in rows])
    found = [Listed(row[0], row[1], row.unit_name or "", standing.get(row[1].id)) for row in rows]
    return [each for each in found if decided or each.decision is None][:limit]


def _standing(work: Work, ids: Sequence[UUID]) -> dict[UUID, ZombieDecision]:
    today = work.now.astimezone(LOCAL).date()
    statement = select(ZombieDecision).where(ZombieDecision.system_id.in_(ids)).order_by(ZombieDecision.id)
    newest = {each.system_id: each for each in work.session.scalars(statement)}  # the last one written wins
    over = _over(work, newest.values())
    return {key: each for key, each in newest.items() if stands(each, today) and each.id not in over}


def stands(decision: ZombieDecision, today: date) -> bool:
    """Whether a decision's day has not come: what is no zombie is looked at again then."""
    return decision.look_again_on is None or today < decision.look_again_on


def _over(work: Work, decisions: Iterable[ZombieDecision]) -> set[UUID]:
    """Decisions whose cases have all ended, one of them with the resources left to the unit: they may be taken anew.

    One that an accepted objection ended stands as long as the exemption; one that found nothing to take back, until
    the system has something.
    """
    decisions = list(decisions)
    bare = {d.system_id: d.id for d in decisions if d.look_again_on is None and not d.case_ids}
    has = select(Resource.system_id).where(Resource.system_id.in_(bare), Resource.state.in_(opening.LIVE)).distinct()
    over = {bare[i] for i in work.session.scalars(has) if i is not None} if bare else set[UUID]()
    named = {case_id for each in decisions for case_id in each.case_ids}
    if not named:
        return over
    these = or_(ReclaimCase.id.in_(named), ReclaimCase.split_from.in_(named))
    cases = work.session.scalars(select(ReclaimCase).where(these)).all()
    for each in decisions:
        its = [c for c in cases if c.id in each.case_ids or c.split_from in each.case_ids]
        left = any(c.closed_at is not None and c.state not in _TAKEN for c in its)
        if left and not any(_stands(c, work.now) for c in its):
            over.add(each.id)
    return over


def _stands(case: ReclaimCase, now: datetime) -> bool:
    return case.closed_at is None or (case.exempt_until is not None and case.exempt_until > now)


def newest_finding(work: Work, system_id: UUID) -> ZombieFinding | None:
    """What the newest scan that saw the system said of it."""
    statement = select(ZombieFinding).where(ZombieFinding.system_id == system_id)
    return work.session.scalar(statement.order_by(ZombieFinding.id.desc()).limit(1))


def decision_on(work: Work, system_id: UUID) -> ZombieDecision | None:
    """The decision that stands today."""
    return _standing(work, [system_id]).get(system_id)


def decisions(work: Work, system_id: UUID) -> Sequence[ZombieDecision]:
    """All that was ever decided of a system, newest first."""
    statement = select(ZombieDecision).where(ZombieDecision.system_id == system_id)
    return work.session.scalars(statement.order_by(ZombieDecision.id.desc())).all()


def one(work: Work, system: str) -> tuple[AnyRow, ZombieFinding, ZombieScan]:
    """A system (id or code) with its newest finding and scan.

    Raises NotFound ``system.not_found``, ``zombie.not_scanned``.
    """
    row = systems.one(work, system)
    finding = newest_finding(work, row[0].id)
    if finding is None:
        raise NotFound("zombie.not_scanned")
    return row, finding, work.session.get_one(ZombieScan, finding.scan_id)


def cases_of(work: Work, made: Sequence[ZombieDecision]) -> dict[UUID, list[tuple[ReclaimCase, bool]]]:
    """By decision: its reclaim cases with what was parted from them, each with whether the actor may see it."""
    named = {case_id for each in made for case_id in each.case_ids}
    if not named:
        return {}
    these = or_(ReclaimCase.id.in_(named), ReclaimCase.split_from.in_(named))
    mine = reclaim.seen(work).label("mine")
    rows = work.session.execute(select(ReclaimCase, mine).where(these).order_by(ReclaimCase.id)).all()
    return {
        each.id: [(c, sees) for c, sees in rows if c.id in each.case_ids or c.split_from in each.case_ids]
        for each in made
    }
