"""Tables of dedicated networks: the list with its revisions, plans, dates, steps, what they rest on, stopped funds.

Used by: the services of this room. The database keeps the steps in their order: a step's row names the row before it,
none can be written twice, none changed. What waits is a row with a day: a step (``network_date``), a report to finance
(``funds_stop.report_at``).
"""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    String,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Id, Moment
from broker.inventory.brought import BroughtFile
from broker.inventory.models import InformationSystem, Resource
from broker.request.models import NetworkException
from broker.tenancy.models import Account, Unit


class DedicatedNetwork(Base):
    """One dedicated network as it is said to be now. ``exception_id``: to Art. 10, of a new one."""

    __tablename__ = "dedicated_network"

    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id), index=True)
    name: Mapped[str]
    purpose: Mapped[str]
    level: Mapped[str]
    coverage: Mapped[str]
    built_on: Mapped[date | None]
    grounds: Mapped[str]
    links: Mapped[int]
    carrier: Mapped[str]
    funding_source: Mapped[str]
    yearly_cost_fen: Mapped[int] = mapped_column(BigInteger)
    responsible_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    exception_id: Mapped[UUID | None] = mapped_column(ForeignKey(NetworkException.id))
    registered_at: Mapped[Moment]
    version: Mapped[int] = mapped_column(server_default="1")

    __table_args__ = (
        CheckConstraint("level IN ('region', 'city', 'county', 'township', 'village')", name="level"),
        CheckConstraint("links >= 0 AND yearly_cost_fen >= 0 AND version > 0", name="amounts"),
        CheckConstraint(
            "(built_on IS NOT NULL AND built_on < DATE '2019-09-11') OR exception_id IS NOT NULL", name="none_new"
        ),
    )


class NetworkRevision(Base):
    """What was said of a network from an instant on, until the next one. Never changed."""

    __tablename__ = "network_revision"

    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[Moment]
    by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    source: Mapped[str]
    entry: Mapped[dict[str, Any]] = mapped_column(JSONB)

    __table_args__ = (CheckConstraint("source IN ('form', 'import', 'move')", name="source"),)


class NetworkSystem(Base):
    """An information system that a network carries, until it was taken off (``dropped_at``)."""

    __tablename__ = "network_system"

    id: Mapped[Id]
    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id))
    system_id: Mapped[UUID] = mapped_column(ForeignKey(InformationSystem.id), index=True)
    added_at: Mapped[Moment]
    dropped_at: Mapped[Moment | None]

    __table_args__ = (
        Index("ux_network_system", "network_id", "system_id", unique=True, postgresql_where=text("dropped_at IS NULL")),
    )


class NetworkPlan(Base):
    """What Art. 11(1) asks of a plan, as it was reported; its days are ``network_date``."""

    __tablename__ = "network_plan"

    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), primary_key=True)
    scope: Mapped[str]
    content: Mapped[str]
    zone: Mapped[str]
    leader_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    office: Mapped[str]
    liaison_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    document_number: Mapped[str]

    __table_args__ = (CheckConstraint("zone IN ('shared', 'private', 'internet')", name="zone"),)


class NetworkDate(Base):
    """Until when a step is to be done, and by whom; the highest version holds. A later one has a reason."""

    __tablename__ = "network_date"

    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    due_on: Mapped[date]
    owner_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    reason: Mapped[str] = mapped_column(server_default="")
    set_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    set_at: Mapped[Moment]

    __table_args__ = (
        CheckConstraint("position BETWEEN 1 AND 4", name="position"),
        CheckConstraint("version > 0 AND (version = 1 OR btrim(reason) <> '')", name="reason"),
    )


class NetworkStep(Base):
    """A step that is done. It names the one before it, so that none is out of order; four, each once, never changed.

    The last one cannot be undone: who reported it (``done_by``) is not who confirmed it.
    """

    __tablename__ = "network_step"

    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    previous: Mapped[int | None] = mapped_column(SmallInteger, Computed("NULLIF(position - 1, 0)", persisted=True))
    done_on: Mapped[date]
    evidence: Mapped[str]
    outcome: Mapped[str | None]
    done_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    confirmed_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    at: Mapped[Moment]

    __table_args__ = (
        ForeignKeyConstraint(
            ["network_id", "previous"],
            ["broker.network_step.network_id", "broker.network_step.position"],
            name="fk_network_step_previous",
        ),
        CheckConstraint("position BETWEEN 1 AND 4", name="position"),
        CheckConstraint("btrim(evidence) <> ''", name="evidence"),
        CheckConstraint("outcome IN ('removed', 'merged', 'converted')", name="outcome"),
        CheckConstraint("(position = 4) = (outcome IS NOT NULL AND confirmed_by IS NOT NULL)", name="last"),
        CheckConstraint("confirmed_by <> done_by", name="two_people"),
    )


class NetworkSegment(Base):
    """A segment of the extranet that a step rests on."""

    __tablename__ = "network_segment"

    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), primary_key=True)
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger)
    tied_at: Mapped[Moment]

    __table_args__ = (
        ForeignKeyConstraint(
            ["network_id", "position"],
            ["broker.network_step.network_id", "broker.network_step.position"],
            name="fk_network_segment_step",
        ),
        Index("ix_network_segment_resource_id", "resource_id"),
    )


class NetworkProbe(Base):
    """A reported connection on the day: probes are sent to its segments, and the step is written with their answer.

    ``code``: what came of it, empty when all answered at home and nowhere else. ``tries``: looks that said nothing.
    """

    __tablename__ = "network_probe"

    id: Mapped[Id]
    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), index=True)
    segments: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    done_on: Mapped[date]
    evidence: Mapped[str]
    asked_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    asked_at: Mapped[Moment]
    tries: Mapped[int]
    answered_at: Mapped[Moment | None]
    code: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("cardinality(segments) > 0", name="segments"),
        CheckConstraint("btrim(evidence) <> ''", name="evidence"),
        CheckConstraint("num_nonnulls(answered_at, code) IN (0, 2)", name="answered"),
        Index("ux_network_probe_open", "network_id", unique=True, postgresql_where=text("answered_at IS NULL")),
    )


class NetworkClosing(Base):
    """The word of a first person that a network is shut down; a second confirms it, or declines with a sentence."""

    __tablename__ = "network_closing"

    id: Mapped[Id]
    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id))
    outcome: Mapped[str]
    done_on: Mapped[date]
    evidence: Mapped[str]
    proposed_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    proposed_at: Mapped[Moment]
    decision: Mapped[str | None]
    answer: Mapped[str | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("outcome IN ('removed', 'merged', 'converted')", name="outcome"),
        CheckConstraint("decision IN ('confirmed', 'declined')", name="decision"),
        CheckConstraint("num_nonnulls(decision, answer, decided_by, decided_at) IN (0, 4)", name="decided"),
        CheckConstraint("decided_by <> proposed_by", name="two_people"),
        Index("ux_network_closing_open", "network_id", unique=True, postgresql_where=text("decision IS NULL")),
    )


class NetworkStay(Base):
    """The Bureau's recorded word that a network may stay until the end of a day ("in principle", Art. 6, 10)."""

    __tablename__ = "network_stay"

    id: Mapped[Id]
    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), index=True)
    until: Mapped[date]
    document_number: Mapped[str]
    reason: Mapped[str]
    granted_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    granted_at: Mapped[Moment]

    __table_args__ = (CheckConstraint("btrim(document_number) <> '' AND btrim(reason) <> ''", name="reason"),)


class NetworkRuling(Base):
    """The Bureau's word on what a network carries: systems (codes) off its list; with none, that it carries none."""

    __tablename__ = "network_ruling"

    id: Mapped[Id]
    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), index=True)
    dropped: Mapped[list[str]] = mapped_column(ARRAY(String))
    reason: Mapped[str]
    ruled_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    ruled_at: Mapped[Moment]

    __table_args__ = (CheckConstraint("btrim(reason) <> ''", name="reason"),)


class FundsStop(Base):
    """A network that is behind its plan: its owner was told, then finance (Art. 10); lifted when it no longer is.

    ``position``, ``due_on``: what was late then. ``report_at``: when finance is told, unless it is lifted before.
    """

    __tablename__ = "funds_stop"

    id: Mapped[Id]
    network_id: Mapped[UUID] = mapped_column(ForeignKey(DedicatedNetwork.id), index=True)
    position: Mapped[int] = mapped_column(SmallInteger)
    due_on: Mapped[date]
    noticed_at: Mapped[Moment]
    report_at: Mapped[Moment]
    stopped_at: Mapped[Moment | None]
    lifted_at: Mapped[Moment | None]
    lifted_why: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("position BETWEEN 1 AND 4", name="position"),
        CheckConstraint("lifted_why IN ('done', 'dated', 'stays')", name="lifted_why"),
        CheckConstraint("num_nonnulls(lifted_at, lifted_why) IN (0, 2)", name="lifted"),
        CheckConstraint("stopped_at >= report_at", name="not_before_its_day"),
        Index("ux_funds_stop_open", "network_id", unique=True, postgresql_where=text("lifted_at IS NULL")),
    )


class NetworkImport(BroughtFile):
    """A file that somebody wants on the list."""

    __tablename__ = "network_import"
