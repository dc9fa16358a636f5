"""Tables of information systems and resources.

Used by: ``inventory.service``. A resource's period is written in the same transaction as its state, and the database
forbids two periods of one resource to overlap: usage derives from periods and cannot be counted twice.
"""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, column, text
from sqlalchemy.dialects.postgresql import ARRAY, CIDR, INET, JSONB, ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, CreatedAt, During, Id, Moment
from broker.inventory.brought import BroughtFile
from broker.tenancy.models import Account, Person, Unit


class InformationSystem(Base):
    """What resources are requested for (Art. 26, 28)."""

    __tablename__ = "information_system"

    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id), index=True)
    name: Mapped[str]
    mlps_level: Mapped[int]
    function: Mapped[str]
    scope_of_use: Mapped[str]
    frequency_of_use: Mapped[str]
    approving_department: Mapped[str]
    approved_on: Mapped[date | None]
    funding_source: Mapped[str]
    owner_person_id: Mapped[UUID | None] = mapped_column(ForeignKey(Person.id))
    in_use_since: Mapped[date | None]
    monthly_users: Mapped[int | None]
    last_business_on: Mapped[date | None]
    business_stopped_on: Mapped[date | None]
    last_maintained_on: Mapped[date | None]
    maintenance_until: Mapped[date | None]
    replaceable_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("broker.information_system.id"))
    reported_on: Mapped[date | None]
    growth_reason: Mapped[str] = mapped_column(server_default="")
    registered_at: Mapped[Moment] = mapped_column(server_default=text("clock_timestamp()"))
    version: Mapped[int] = mapped_column(server_default="1")
    retired_at: Mapped[Moment | None]
    ended_kind: Mapped[str | None]
    ended_reason: Mapped[str | None]
    merged_into_id: Mapped[UUID | None] = mapped_column(ForeignKey("broker.information_system.id"), index=True)
    handed_to: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("mlps_level BETWEEN 1 AND 5", name="mlps_level"),
        CheckConstraint("monthly_users >= 0", name="monthly_users"),
        CheckConstraint("version > 0", name="version"),
        CheckConstraint("ended_kind IN ('merged', 'shut_down', 'handed_over')", name="ended_kind"),
        CheckConstraint("num_nonnulls(retired_at, ended_kind, ended_reason) IN (0, 3)", name="ended"),
        CheckConstraint("btrim(ended_reason) <> ''", name="ended_reason"),
        CheckConstraint("(ended_kind IS NOT DISTINCT FROM 'merged') = (merged_into_id IS NOT NULL)", name="merged"),
        CheckConstraint("(ended_kind IS NOT DISTINCT FROM 'handed_over') = (handed_to IS NOT NULL)", name="handed_to"),
        CheckConstraint("merged_into_id <> id AND replaceable_by_id <> id", name="not_itself"),
    )


class SystemRevision(Base):
    """What the register said of a system from an instant on, until the next one. Never changed."""

    __tablename__ = "system_revision"

    system_id: Mapped[UUID] = mapped_column(ForeignKey(InformationSystem.id), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[Moment]
    by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    source: Mapped[str]
    entry: Mapped[dict[str, Any]] = mapped_column(JSONB)

    __table_args__ = (
        CheckConstraint("source IN ('form', 'import', 'region', 'proposal', 'end', 'move')", name="source"),
        CheckConstraint("version > 0", name="version"),
    )


class SystemProposal(Base):
    """A new system without a merger: it comes into being when the Bureau approves its reason (Art. 29)."""

    __tablename__ = "system_proposal"

    id: Mapped[Id]
    code: Mapped[str]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id), index=True)
    entry: Mapped[dict[str, Any]] = mapped_column(JSONB)
    reason: Mapped[str]
    proposed_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    proposed_at: Mapped[Moment]
    decision: Mapped[str | None]
    answer: Mapped[str | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment | None]
    system_id: Mapped[UUID | None] = mapped_column(ForeignKey(InformationSystem.id))

    __table_args__ = (
        CheckConstraint("btrim(reason) <> ''", name="reason"),
        CheckConstraint("decision IN ('approved', 'refused')", name="decision"),
        CheckConstraint("num_nonnulls(decision, answer, decided_by, decided_at) IN (0, 4)", name="decided"),
        CheckConstraint("decided_by <> proposed_by", name="two_people"),
        CheckConstraint("(decision IS NOT DISTINCT FROM 'approved') = (system_id IS NOT NULL)", name="system"),
        Index("ux_system_proposal_open", "code", unique=True, postgresql_where=text("decision IS NULL")),
    )


class SystemImport(BroughtFile):
    """A file that somebody wants in the register."""

    __tablename__ = "system_import"

    lines: Mapped[int]

    __table_args__ = (CheckConstraint("lines >= 0", name="lines"),)


class Project(Base):
    """The home of one unit in one sub-cloud."""

    __tablename__ = "project"

    id: Mapped[Id]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    ref: Mapped[str | None]
    created_at: Mapped[CreatedAt]

    __table_args__ = (UniqueConstraint("unit_id", "sub_cloud_id"),)


class Resource(Base):
    """One server, volume or segment. ``item_id`` and ``delivery_id`` are empty for an adopted one.

    ``network_id`` is the segment a server stands on, ``server_id`` the server a volume is attached to.
    ``hold_id`` and ``prefix`` name what it took from ``quotas``.
    """

    __tablename__ = "resource"

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(
        unique=True, server_default=text("'ZY-' || lpad(nextval('broker.resource_number')::text, 8, '0')")
    )
    kind: Mapped[str]
    origin: Mapped[str]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id), index=True)
    system_id: Mapped[UUID | None] = mapped_column(ForeignKey(InformationSystem.id), index=True)
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    project_id: Mapped[UUID] = mapped_column(ForeignKey(Project.id))
    request_id: Mapped[UUID | None] = mapped_column(index=True)
    item_id: Mapped[UUID | None]
    delivery_id: Mapped[UUID | None] = mapped_column(index=True)
    hold_id: Mapped[UUID | None]
    name: Mapped[str]
    spec: Mapped[dict[str, Any]] = mapped_column(JSONB)
    network_id: Mapped[UUID | None] = mapped_column(ForeignKey("broker.resource.id"))
    server_id: Mapped[UUID | None] = mapped_column(ForeignKey("broker.resource.id"))
    prefix: Mapped[str | None] = mapped_column(CIDR)
    routing_domain: Mapped[str | None]
    state: Mapped[str]
    ref: Mapped[str | None]
    addresses: Mapped[list[str]] = mapped_column(ARRAY(INET), server_default="{}")
    error_code: Mapped[str | None]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("kind IN ('server', 'volume', 'segment')", name="kind"),
        CheckConstraint("origin IN ('delivered', 'adopted')", name="origin"),
        CheckConstraint("(origin = 'adopted') = (item_id IS NULL)", name="origin_item"),
        CheckConstraint(
            "state IN ('planned', 'building', 'ready', 'active', 'stopped', 'failed', 'undone', 'releasing',"
            " 'released')",
            name="state",
        ),
        Index("ix_resource_sub_cloud_id_state", "sub_cloud_id", "state"),
    )


class ResourceOwner(Base):
    """Which unit a resource belonged to, from when to when; only of one that ever went from a unit to another.

    Without rows it always belonged to ``resource.unit_id``; with rows they cover all time, and the open one is that
    unit (a trigger holds them together). Whole seconds, as usage is counted; none begins in a month that is closed.
    """

    __tablename__ = "resource_owner"

    id: Mapped[Id]
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id), index=True)
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint(
            "NOT isempty(during) AND date_trunc('second', lower(during), 'UTC') IS NOT DISTINCT FROM lower(during)"
            " AND date_trunc('second', upper(during), 'UTC') IS NOT DISTINCT FROM upper(during)",
            name="during",
        ),
        ExcludeConstraint(
            (column("resource_id"), "="), (column("during"), "&&"), using="gist", name="ex_resource_owner"
        ),
    )


class ResourcePeriod(Base):
    """The size and state a resource had over [from, to). Sizes in whole units: vCPU, GiB, segments (/64s)."""

    __tablename__ = "resource_period"

    id: Mapped[Id]
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    state: Mapped[str]
    cpu_arch: Mapped[str | None]
    vcpu: Mapped[int] = mapped_column(server_default="0")
    memory_gib: Mapped[int] = mapped_column(server_default="0")
    block_gib: Mapped[int] = mapped_column(server_default="0")
    block_class: Mapped[str | None]
    segments: Mapped[int] = mapped_column(server_default="0")
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint("state IN ('active', 'stopped')", name="state"),
        CheckConstraint("vcpu >= 0 AND memory_gib >= 0 AND block_gib >= 0 AND segments >= 0", name="sizes"),
        CheckConstraint("(block_gib > 0) <= (block_class IS NOT NULL)", name="block_class"),
        CheckConstraint("(vcpu > 0) <= (cpu_arch IS NOT NULL)", name="cpu_arch"),
        CheckConstraint("NOT isempty(during) AND NOT lower_inf(during)", name="during"),
        ExcludeConstraint(
            (column("resource_id"), "="), (column("during"), "&&"), using="gist", name="ex_resource_period"
        ),
    )


class ServerSnapshot(Base):
    """An image of a server, kept for something (``subject_id``: a reclaim case). Written before it is ordered."""

    __tablename__ = "server_snapshot"

    id: Mapped[Id]
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id), index=True)
    subject_id: Mapped[UUID]
    ordered_at: Mapped[Moment]
    taken_at: Mapped[Moment | None]
    removed_at: Mapped[Moment | None]

    __table_args__ = (
        Index(
            "ux_server_snapshot_there",
            "subject_id",
            "resource_id",
            unique=True,
            postgresql_where=column("removed_at").is_(None),
        ),
    )
