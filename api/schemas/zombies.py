"""Zombie systems as they go over HTTP: the five signs with their evidence, decisions.

Called by: ``api.routes.zombies``. Must not: hold rules.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from api.schemas.base import Reason, Schema, View


class ZombieEvidence(View):
    """One thing that is known: in words, where it comes from, what it counts and how sure it is (of 100)."""

    code: str
    text: str
    source: str
    points: int
    confidence: int
    params: dict[str, Any]


class ZombieSign(View):
    """One of the five signs. ``score``: what it adds, of ``weight``; not ``known``: nobody knows, it adds nothing."""

    sign: str
    name: str
    weight: int
    score: Decimal
    known: bool
    evidence: list[ZombieEvidence]


class ZombieCase(View):
    """A reclaim case over a system's resources; ``id`` only for who may open it."""

    id: UUID | None
    number: str
    state: str


class ZombieDecision(View):
    """A decision; ``cases``: numbers of the reclaim cases over its resources, ``reclaim``: where they stand."""

    id: UUID
    decision: str
    reason: str
    look_again_on: date | None
    decided_by: UUID
    decided_at: datetime
    cases: list[str]
    reclaim: list[ZombieCase]


class ZombieHead(View):
    """A system in the list. ``score`` of 100; ``known``: how many of the five signs anything is known of."""

    system_id: UUID
    code: str
    name: str
    unit_name: str
    ended: bool
    finding_id: UUID
    score: Decimal
    level: str
    known: int
    signs: dict[str, Decimal | None]
    decision: str | None
    look_again_on: date | None


class ZombieScan(View):
    """One look at all systems."""

    id: UUID
    at: datetime
    rules_version: str
    systems: int
    measured_until: date | None


class Zombies(View):
    """The last scan, and what it said, highest score first."""

    scan: ZombieScan | None
    data: list[ZombieHead]


class Zombie(ZombieHead):
    """One system with its five signs, the facts as they were, and everything decided."""

    scan: ZombieScan
    five: list[ZombieSign]
    cautions: list[str]
    facts: dict[str, Any]
    decisions: list[ZombieDecision]


class DecideZombie(Schema):
    """The Bureau's decision on the finding that was seen."""

    finding_id: UUID
    decision: Literal["confirmed", "not_zombie"]
    reason: Reason
    look_again_on: date | None = None
