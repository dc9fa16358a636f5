"""What is known of a system, and what the five signs say of it. Frozen values.

Called by: every module of this room, the API. Must not: read the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any


class Sign(StrEnum):
    """The five of Art. 2(5), in its order."""

    OUT_OF_STEP = "out_of_step"
    """Its use has long been out of step with the business."""
    REPLACEABLE = "replaceable"
    """Another system can do what it does."""
    IDLE = "idle"
    """The resources it holds have been idle for long."""
    UNMAINTAINED = "unmaintained"
    """Maintenance and updates have stopped."""
    RARE = "rare"
    """Its use is narrow and rare."""


class Level(StrEnum):
    """What the score says; nothing follows from it but an order."""

    LIKELY = "likely"
    SUSPECTED = "suspected"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One server of a system. ``idle_days``: of the run that reaches the last measured day; None: never measured.

    ``off_days``: how long the inventory has known it as stopped; None: it runs.
    """

    number: str
    idle_days: int | None = None
    off_days: int | None = None
    measured_until: date | None = None


@dataclass(frozen=True, slots=True)
class Similar:
    """A system of the same department whose function reads alike, by so many percent."""

    code: str
    name: str
    percent: int


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """What register, inventory, requests and utilisation knew of a system on a day. None is not known.

    Always known: the register's words, whether it has ended, its requests (None: there never was one), its servers.
    """

    today: date
    frequency: str
    scope: str
    ended: bool = False
    reported_on: date | None = None
    last_business_on: date | None = None
    business_stopped_on: date | None = None
    last_maintained_on: date | None = None
    maintenance_until: date | None = None
    monthly_users: int | None = None
    replaceable_by: str | None = None
    similar: Similar | None = None
    last_request_on: date | None = None
    servers: tuple[ServerFacts, ...] = ()
    mlps_level: int = 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that is known: a code with its numbers, its source, what it counts and how sure it is (of 100)."""

    code: str
    source: str
    points: int
    confidence: int
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mass(self) -> int:
        """Points by confidence, of 10,000."""
        return self.points * self.confidence


@dataclass(frozen=True, slots=True)
class SignFound:
    """What is known of one sign. Without evidence it is unknown; ``mass`` is 0 then, or where nothing speaks for it."""

    sign: Sign
    mass: int
    evidence: tuple[Evidence, ...]

    @property
    def known(self) -> bool:
        return bool(self.evidence)

    @property
    def strongest(self) -> Evidence | None:
        """The evidence that counts most."""
        return max(self.evidence, key=lambda e: (e.mass, e.points, e.code), default=None)


@dataclass(frozen=True, slots=True)
class Assessment:
    """The five signs together. ``score_hundredths``: of 10,000; ``cautions``: codes of what to bear in mind."""

    signs: tuple[SignFound, ...]
    score_hundredths: int
    level: Level
    cautions: tuple[str, ...]

    @property
    def known(self) -> int:
        """How many of the five signs anything is known of."""
        return sum(found.known for found in self.signs)


Steps = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Words of the register and the points they are worth."""

    words: tuple[str, ...]
    points: int


@dataclass(frozen=True, slots=True)
class ZombieRules:
    """Weights and thresholds, as ``data/rules.yaml`` explains them."""

    version: str
    weights: Mapping[Sign, int]
    likely: int
    suspected: int
    confidence: Mapping[str, int]
    fresh_days: int
    business_age: Steps
    maintenance_age: Steps
    contract_age: Steps
    idle_days: Steps
    users: Steps
    named_replacement: int
    similar_percent: int
    similar: int
    frequency: tuple[Words, ...]
    narrow: Words
    seasonal: tuple[str, ...]
