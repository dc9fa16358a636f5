"""A request's road as a timeline: each stop of Art. 17 with who, when, how long, and how its clocks stand. Pure.

Called by: ``api.console.request``. Must not: read the database; it takes the rows that the services gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from broker.approval.models import Approval
from broker.assessment.models import Assessment
from broker.reclamation.models import Release
from broker.request.models import RequestRevision, ServiceRequest, StageClock
from broker.tenancy.people import Named

ARTICLES = {
    "request": "Art. 17(1)",
    "approval": "Art. 17(2)",
    "assessment": "Art. 17(3)",
    "delivery": "Art. 17(4)",
    "reclamation": "Art. 14",
}
_ORDER = ("request", "approval", "assessment", "delivery", "use", "reclamation")
_AT = {
    "draft": "request",
    "returned": "request",
    "submitted": "approval",
    "approved": "assessment",
    "assessed": "delivery",
    "delivering": "delivery",
    "needs_operator": "delivery",
    "delivered": "use",
    "partly_delivered": "use",
    "releasing": "reclamation",
}
"""At which stop a request stands in each state; in the others it has come to its end."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a stop. ``word`` names it (``texts.console.MARKS``)."""

    at: datetime
    word: str
    who: Named | None = None
    for_whom: Named | None = None
    reason: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class Dial:
    """One clock of a stop. ``stops`` are stretches in which it stood still; ``standing``: it does now."""

    workdays: int
    received_at: datetime
    due_at: datetime
    finished_at: datetime | None
    provisional: bool
    late: bool
    standing: bool
    stops: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop of the road. ``state``: done, here, waiting (the applicant's turn), ahead or never."""

    name: str
    state: str
    article: str
    marks: tuple[Mark, ...]
    dials: tuple[Dial, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Past:
    """What the services know of a request's past."""

    revisions: Sequence[RequestRevision]
    approvals: Sequence[Approval]
    assessments: Sequence[Assessment]
    clocks: Sequence[tuple[StageClock, Any]]
    orders: Sequence[tuple[datetime, UUID]]
    handed_over: Sequence[datetime]
    releases: Sequence[Release]


def accounts_in(past: Past) -> Iterable[UUID | None]:
    """Every account that the timeline names."""
    for revision in past.revisions:
        yield revision.submitted_by
    for decided in past.approvals:
        yield from (decided.decided_by, decided.on_behalf_of)
    for assessed in past.assessments:
        yield from (assessed.decided_by, assessed.on_behalf_of)
    for _, ordered_by in past.orders:
        yield ordered_by
    for release in past.releases:
        yield release.asked_by
        yield release.confirmed_by


def stops(request: ServiceRequest, past: Past, who: Mapping[UUID, Named], now: datetime) -> list[Stop]:
    """The six stops in order."""
    marks = _marks(past, who)
    here = _AT.get(request.state)
    reached = max((_ORDER.index(name) for name, found in marks.items() if found), default=0)
    out = []
    for position, name in enumerate(_ORDER):
        dials = tuple(_dial(clock, stood, now) for clock, stood in past.clocks if clock.stage == name)
        state = _state(name, position, here, reached, ended=here is None)
        out.append(Stop(name, state, ARTICLES.get(name, ""), tuple(sorted(marks[name], key=_at)), dials))
    return out


def _at(mark: Mark) -> datetime:
    return mark.at


def _state(name: str, position: int, here: str | None, reached: int, *, ended: bool) -> str:
    if name == here:
        return "here"
    if ended:
        return "done" if position <= reached else "never"
    assert here is not None
    return "done" if position < _ORDER.index(here) else "ahead"


def _marks(past: Past, who: Mapping[UUID, Named]) -> dict[str, list[Mark]]:
    found: dict[str, list[Mark]] = {name: [] for name in _ORDER}
    for revision in past.revisions:
        event = "submit" if revision.ordinal == 1 else "resubmit"
        found["request"].append(Mark(revision.submitted_at, event, who.get(revision.submitted_by)))
    for decided in past.approvals:
        found["approval"].append(_decision(decided, decided.decision, who))
    for assessed in past.assessments:
        found["assessment"].append(_decision(assessed, assessed.outcome, who))
    for at, ordered_by in past.orders:
        found["delivery"].append(Mark(at, "deliver", who.get(ordered_by)))
    for at in past.handed_over:
        found["delivery"].append(Mark(at, "hand_over"))
        found["use"].append(Mark(at, "metering"))
    for release in past.releases:
        found["reclamation"].append(Mark(release.asked_at, "release", who.get(release.asked_by), reason=release.reason))
        if release.confirmed_at is not None and release.confirmed_by is not None:
            found["reclamation"].append(Mark(release.confirmed_at, "confirm_release", who.get(release.confirmed_by)))
        if release.finished_at is not None and release.state == "released":
            found["reclamation"].append(Mark(release.finished_at, "close"))
    return found


def _decision(row: Approval | Assessment, word: str, who: Mapping[UUID, Named]) -> Mark:
    principal = who.get(row.on_behalf_of) if row.on_behalf_of else None
    return Mark(row.decided_at, word, who.get(row.decided_by), principal, row.reason, row.late)


def _dial(clock: StageClock, stood: Any, now: datetime) -> Dial:
    stretches = tuple(stood or ())
    standing = any(s.upper is None for s in stretches) and clock.finished_at is None
    late = not standing and (clock.finished_at or now) > clock.due_at
    return Dial(
        clock.workdays,
        clock.received_at,
        clock.due_at,
        clock.finished_at,
        clock.provisional,
        late,
        standing,
        stretches,
    )
