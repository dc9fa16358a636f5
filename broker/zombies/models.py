"""Tables of scans, what each said of each system, and what people decided. Insert-only, all three.

Used by: ``zombies.service``, ``zombies.board``.
"""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Id, Moment
from broker.inventory.models import InformationSystem
from broker.tenancy.models import Account


class ZombieScan(Base):
    """One look at all systems, by one version of the rules.

    ``measured_until``: the last day with samples. ``night``: the day of a scan that nobody asked for, one at most.
    """

    __tablename__ = "zombie_scan"

    id: Mapped[Id]
    at: Mapped[Moment]
    by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    rules_version: Mapped[str]
    systems: Mapped[int]
    measured_until: Mapped[date | None]
    night: Mapped[date | None] = mapped_column(unique=True)


class ZombieFinding(Base):
    """What a scan said of a system: the facts as they were, the signs with their evidence, the score of 10,000."""

    __tablename__ = "zombie_finding"

    id: Mapped[Id]
    scan_id: Mapped[UUID] = mapped_column(ForeignKey(ZombieScan.id))
    system_id: Mapped[UUID] = mapped_column(ForeignKey(InformationSystem.id), index=True)
    score_hundredths: Mapped[int]
    level: Mapped[str]
    known: Mapped[int]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    signs: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    cautions: Mapped[list[str]] = mapped_column(JSONB)

    __table_args__ = (
        CheckConstraint("score_hundredths BETWEEN 0 AND 10000", name="score_hundredths"),
        CheckConstraint("level IN ('likely', 'suspected', 'none')", name="level"),
        CheckConstraint("known BETWEEN 0 AND 5", name="known"),
        UniqueConstraint("scan_id", "system_id"),
    )


class ZombieDecision(Base):
    """A person's decision on what a scan said: a zombie (with the reclaim cases opened), or not, until a day."""

    __tablename__ = "zombie_decision"

    id: Mapped[Id]
    system_id: Mapped[UUID] = mapped_column(ForeignKey(InformationSystem.id))
    finding_id: Mapped[UUID] = mapped_column(ForeignKey(ZombieFinding.id))
    decision: Mapped[str]
    reason: Mapped[str]
    look_again_on: Mapped[date | None]
    decided_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment]
    case_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))

    __table_args__ = (
        CheckConstraint("decision IN ('confirmed', 'not_zombie')", name="decision"),
        CheckConstraint("btrim(reason) <> ''", name="reason"),
        CheckConstraint("(decision = 'not_zombie') = (look_again_on IS NOT NULL)", name="look_again_on"),
        CheckConstraint("decision = 'confirmed' OR case_ids = '{}'", name="case_ids"),
        Index("ix_zombie_decision_system_id_decided_at", "system_id", "decided_at"),
    )
