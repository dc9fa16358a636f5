"""The four steps of a dedicated network, what is given for each, and what is known of one. Frozen values.

Called by: every module of this room, the API. Must not: read the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from uuid import UUID


class Step(StrEnum):
    """The steps of Art. 11, in their order; the third item names two: systems move, then the network goes."""

    PLAN = "plan"
    """Self-check and plan (Art. 11(1)), reported to the Bureau."""
    CONNECT = "connect"
    """Joined to the extranet (Art. 11(2))."""
    MIGRATE = "migrate"
    """Its systems are on the cloud (Art. 11(3))."""
    SHUT_DOWN = "shut_down"
    """Removed, merged or converted (Art. 11(3)); cannot be undone."""

    @property
    def position(self) -> int:
        """1 to 4, as rows have it."""
        return STEPS.index(self) + 1

    @property
    def article(self) -> str:
        return f"Art. 11({min(self.position, 3)})"


STEPS: Sequence[Step] = tuple(Step)

LEVELS = ("region", "city", "county", "township", "village")
"""How far down a network reaches: the five of Art. 8."""
OUTCOMES = ("removed", "merged", "converted")
"""撤、并、改: how a network ends (Art. 11(3))."""
ZONES = ("shared", "private", "internet")
"""Where in the extranet it goes (Art. 2(3))."""


@dataclass(frozen=True, slots=True)
class Date:
    """When a step is to be done, and by whom (a login)."""

    due_on: date
    owner: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of Art. 11(1): scope, content, dates, the leader, the office and the liaison responsible (logins).

    ``zone``: where in the extranet the network's systems will stand.
    """

    scope: str
    content: str
    zone: str
    leader: str
    office: str
    liaison: str
    document_number: str
    dates: Mapping[Step, Date]


@dataclass(frozen=True, slots=True)
class Done:
    """That a step is done: the day, what shows it, the extranet segments (numbers) it rests on."""

    done_on: date
    evidence: str
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Closing:
    """How a network is shut down: ``outcome`` is one of ``OUTCOMES``."""

    outcome: str
    done_on: date
    evidence: str


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A segment that somebody named: is it one, delivered, in which zone, and when did the probes last see it."""

    id: UUID
    number: str
    zone: str
    mine: bool
    delivered: bool
    verified: bool


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """A system that a network carries: has it ended, does a server of it stand on one of the network's segments."""

    id: UUID
    code: str
    name: str
    ended: bool
    attached: bool

    @property
    def migrated(self) -> bool:
        return self.ended or self.attached


@dataclass(frozen=True, slots=True)
class Progress:
    """Which steps are done (with the day), and which day each has."""

    done: Mapping[Step, date] = field(default_factory=dict)
    due: Mapping[Step, date] = field(default_factory=dict)

    @property
    def next(self) -> Step | None:
        """The step that is to be done now; None: all are."""
        return next((step for step in STEPS if step not in self.done), None)
