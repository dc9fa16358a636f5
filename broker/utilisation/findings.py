"""What detection found: one row a resource and policy for as long as it lasts, read as frozen values.

Called by: the daily scan (writes), pages and the command line, and reclamation, which opens cases from open findings
and looks again before it acts (``current``). Must not: decide what is idle, or take anything back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from broker.db.base import new_id
from broker.errors import NotFound
from broker.tenancy.work import Work
from broker.utilisation.models import IdleFinding

log = structlog.get_logger(__name__)


class FindingKind(StrEnum):
    """In what way something is idle."""

    IDLE = "idle"
    """A server that hardly works, by what was measured."""
    OFF = "off"
    """A server that is off and still charged for."""
    UNATTACHED_VOLUME = "unattached_volume"
    EMPTY_SEGMENT = "empty_segment"
    """A segment on which no host stands."""
    UNBOUND_ADDRESS = "unbound_address"
    """An address of a segment that no host has."""
    UNUSED_SNAPSHOT = "unused_snapshot"
    """A snapshot of a server that nobody used."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why, as a code and its numbers; ``api.texts.utilisation.evidence_words`` puts it into words."""

    code: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One resource that one policy finds idle.

    ``policy_digest``: of the content that it was found by. ``last_day``: the last day seen so far; ``days``: how many
    of the days match. ``monthly_fen``: what a month of it costs by the tariff of the scan's day, None without a price.
    ``scanned_on``: the day of the last scan that saw it.
    ``cleared_at``: a later scan did not find it any more, because of ``cleared_because``: ``in_use``, ``not_measured``,
    ``exempted``, ``suspended`` (by us, in a case), ``gone`` (released), ``policy_gone``.
    """

    id: UUID
    resource_id: UUID
    kind: FindingKind
    policy: str
    policy_version: str
    policy_digest: str
    object_ref: str
    first_day: date
    last_day: date
    days: int
    evidence: tuple[Evidence, ...]
    monthly_fen: int | None
    scanned_on: date
    found_at: datetime
    cleared_at: datetime | None
    cleared_because: str | None

    @property
    def whole_resource(self) -> bool:
        """Whether the resource itself is what is idle, and not a snapshot or an address of it."""
        return not self.object_ref


def current(
    session: Session, *, resources: Collection[UUID] = (), kinds: Collection[FindingKind] = ()
) -> list[Finding]:
    """What the last scans found and have not cleared; of these resources and kinds, or of all. Oldest run first."""
    statement = (
        select(IdleFinding)
        .where(IdleFinding.found_at.is_not(None), IdleFinding.cleared_at.is_(None))
        .order_by(IdleFinding.first_day, IdleFinding.id)
    )
    if resources:
        statement = statement.where(IdleFinding.resource_id.in_(resources))
    if kinds:
        statement = statement.where(IdleFinding.kind.in_([kind.value for kind in kinds]))
    return [value_of(row) for row in session.scalars(statement)]


def finding(session: Session, finding_id: UUID) -> Finding:
    """One finding, cleared or not. Raises NotFound ``finding.not_found``, also for what is only watched."""
    row = session.get(IdleFinding, finding_id)
    if row is None or row.found_at is None:
        raise NotFound("finding.not_found")
    return value_of(row)


@dataclass(slots=True)
class Recorded:
    """What a scan changed: new findings, those that go on, those that ended, and what is only watched yet.

    ``left``: what could not be written down; it stops none of the others.
    """

    found: int = 0
    going_on: int = 0
    cleared: int = 0
    watched: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that is idle on a scan's day, as it goes into the table. ``ripe``: the policy's days are full."""

    resource_id: UUID
    kind: FindingKind
    policy: str
    object_ref: str
    first_day: date
    last_day: date
    days: int
    evidence: tuple[Evidence, ...]
    monthly_fen: int | None
    ripe: bool

    @property
    def key(self) -> Key:
        return self.resource_id, self.policy, self.object_ref


Key = tuple[UUID, str, str]
"""Resource, policy, and the cloud's own id of what is idle where it is not the resource itself."""


def still_open(session: Session) -> dict[Key, IdleFinding]:
    """Every row that has not ended, found or only watched."""
    rows = session.scalars(select(IdleFinding).where(IdleFinding.cleared_at.is_(None)))
    return {(row.resource_id, row.policy, row.object_ref): row for row in rows}


@dataclass(frozen=True, slots=True)
class Day:
    """The day of a scan and the version of the policies it went by. ``digests``: of each policy's content."""

    day: date
    policy_version: str
    digests: Mapping[str, str] = field(default_factory=dict)


def record(
    work: Work, on: Day, seen: Iterable[Seen], ended: Mapping[Key, str], rows: Mapping[Key, IdleFinding]
) -> Recorded:
    """Write down what a day's scan saw, and what has ended and why. The same scan again changes nothing more."""
    given = list(seen)
    try:
        with work.session.begin_nested():
            done = _record(work, on, given, rows)
    except SQLAlchemyError:  # one of them: which, is found by writing each for itself
        done = Recorded()
        for each in given:
            try:
                with work.session.begin_nested():
                    part = _record(work, on, [each], rows)
            except SQLAlchemyError as error:
                why = type(error).__name__
                log.warning("finding not written down", resource=str(each.resource_id), policy=each.policy, error=why)
                part = Recorded(left=1)
            done.found, done.going_on = done.found + part.found, done.going_on + part.going_on
            done.watched, done.left = done.watched + part.watched, done.left + part.left
    for key, why in ended.items():
        row = rows[key]
        row.cleared_at, row.cleared_because = work.now, why
        done.cleared += row.found_at is not None
    work.session.flush()
    return done


def _record(work: Work, on: Day, seen: Iterable[Seen], rows: Mapping[Key, IdleFinding]) -> Recorded:
    done = Recorded()
    for each in seen:
        row = rows.get(each.key)
        if row is None:
            row = IdleFinding(id=new_id(), resource_id=each.resource_id, policy=each.policy, object_ref=each.object_ref)
            work.session.add(row)
        known = row.found_at is not None
        row.kind, row.policy_version, row.scanned_on = each.kind.value, on.policy_version, on.day
        row.policy_digest = on.digests.get(each.policy, "")
        row.first_day, row.last_day, row.days = each.first_day, each.last_day, each.days
        row.evidence = [{"code": e.code, "params": dict(e.params)} for e in each.evidence]
        row.monthly_fen = each.monthly_fen
        if each.ripe and not known:
            row.found_at = work.now
        done.found += each.ripe and not known
        done.going_on += known
        done.watched += not known and not each.ripe
    work.session.flush()
    return done


def value_of(row: IdleFinding) -> Finding:
    """A row that has been found, as a value."""
    assert row.found_at is not None
    return Finding(
        id=row.id,
        resource_id=row.resource_id,
        kind=FindingKind(row.kind),
        policy=row.policy,
        policy_version=row.policy_version,
        policy_digest=row.policy_digest,
        object_ref=row.object_ref,
        first_day=row.first_day,
        last_day=row.last_day,
        days=row.days,
        evidence=tuple(Evidence(each["code"], each["params"]) for each in row.evidence),
        monthly_fen=row.monthly_fen,
        scanned_on=row.scanned_on,
        found_at=row.found_at,
        cleared_at=row.cleared_at,
        cleared_because=row.cleared_because,
    )
