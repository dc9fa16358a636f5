"""Tables of releases, of reclaim cases with their resources, objections and history, and of reclaim policies.

Used by: the services and steps of this room. A case waits as a row with dates; each act of it is a short workflow.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, column, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, Id, Moment
from broker.inventory.models import InformationSystem, Resource
from broker.lifecycle import CASE_MACHINE, CaseState
from broker.request.models import ServiceRequest
from broker.tenancy.models import Account, Unit
from broker.utilisation.models import IdleFinding


class Release(Base):
    """Asked for by the unit, confirmed by the delivering authority, carried by a workflow whose id is this row's."""

    __tablename__ = "release"

    id: Mapped[Id]
    request_id: Mapped[UUID] = mapped_column(ForeignKey(ServiceRequest.id), index=True)
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    delivering_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    state: Mapped[str]
    run: Mapped[int] = mapped_column(server_default="1")
    reason: Mapped[str]
    asked_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    asked_at: Mapped[Moment]
    confirmed_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    confirmed_at: Mapped[Moment | None]
    finished_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('asked', 'queued', 'running', 'needs_operator', 'released', 'declined')", name="state"
        ),
        CheckConstraint("confirmed_by <> asked_by", name="two_people"),
        CheckConstraint(
            "state IN ('asked', 'declined') OR num_nonnulls(confirmed_by, confirmed_at) = 2", name="confirmed"
        ),
        Index("ix_release_open", "confirmed_at", postgresql_where=column("state").in_(["queued", "running"])),
    )


class ReleaseResource(Base):
    """A resource a release takes back."""

    __tablename__ = "release_resource"

    id: Mapped[Id]
    release_id: Mapped[UUID] = mapped_column(ForeignKey(Release.id))
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))

    __table_args__ = (UniqueConstraint("release_id", "resource_id"),)


_STATES = ", ".join(f"'{state.value}'" for state in CaseState)
_IRREVERSIBLE = "state NOT IN ('releasing', 'released')"


class ReclaimCase(Base):
    """Taking back resources of one unit in one sub-cloud: a resource with its disks, or those of a system.

    ``run`` counts the machine's orders: a workflow is named by it. ``due_at`` is the end of the objection window,
    ``look_at`` when a case that could not go on (``waits_for``) is looked at again. ``trouble`` is what stopped the
    machine: an operator's desk. ``ending`` is how a case that is being resumed will end. ``policy_content`` is the
    policy as it was when the case was opened: by it, and no other, the resources are measured again.
    ``split_from``: the case that it was first a part of.
    ``admitted_at`` and the two shares: when it was admitted to its suspension, and by how much might be suspended at
    once; a trigger counts again. Another one sees to it that who proposes and who confirms are not one person.
    """

    __tablename__ = "reclaim_case"

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(
        unique=True, server_default=text("'HS-' || lpad(nextval('broker.case_number')::text, 6, '0')")
    )
    cause: Mapped[str]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id), index=True)
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id), index=True)
    system_id: Mapped[UUID | None] = mapped_column(ForeignKey(InformationSystem.id))
    deciding_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    delivering_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    reason: Mapped[str]
    policy: Mapped[str] = mapped_column(server_default="")
    policy_version: Mapped[str] = mapped_column(server_default="")
    policy_content: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    evidence: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    finding_id: Mapped[UUID | None] = mapped_column(ForeignKey(IdleFinding.id))
    split_from: Mapped[UUID | None] = mapped_column(ForeignKey("broker.reclaim_case.id"), index=True)
    state: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    run: Mapped[int] = mapped_column(server_default="0")
    ordered_at: Mapped[Moment | None]
    opened_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    opened_at: Mapped[Moment]
    grace_workdays: Mapped[int]
    noticed_at: Mapped[Moment | None]
    due_at: Mapped[Moment | None]
    due_provisional: Mapped[bool] = mapped_column(server_default="false")
    calendar_version: Mapped[str] = mapped_column(server_default="")
    waits_for: Mapped[str | None]
    look_at: Mapped[Moment | None]
    waived_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    waived_at: Mapped[Moment | None]
    admitted_at: Mapped[Moment | None]
    share_unit_percent: Mapped[int | None]
    share_cloud_percent: Mapped[int | None]
    suspended_at: Mapped[Moment | None]
    keep_until: Mapped[Moment | None]
    proposed_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    proposed_at: Mapped[Moment | None]
    confirmed_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    confirmed_at: Mapped[Moment | None]
    trouble: Mapped[str | None]
    trouble_step: Mapped[str | None]
    ending: Mapped[str | None]
    exempt_until: Mapped[Moment | None]
    closed_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint(f"state IN ({_STATES})", name="state"),
        CheckConstraint("cause IN ('idle', 'zombie', 'term', 'person')", name="cause"),
        CheckConstraint("btrim(reason) <> ''", name="reason"),
        CheckConstraint("grace_workdays BETWEEN 0 AND 250", name="grace_workdays"),
        CheckConstraint("confirmed_by <> proposed_by", name="two_people"),
        CheckConstraint(
            f"{_IRREVERSIBLE} OR num_nonnulls(proposed_by, confirmed_by, suspended_at) = 3", name="confirmed"
        ),
        CheckConstraint(f"{_IRREVERSIBLE} OR confirmed_at >= keep_until", name="kept"),
        CheckConstraint(
            "num_nonnulls(admitted_at, share_unit_percent, share_cloud_percent) IN (0, 3)", name="admitted"
        ),
        CheckConstraint("share_unit_percent BETWEEN 1 AND 100 AND share_cloud_percent BETWEEN 1 AND 100", name="share"),
        CheckConstraint("(waived_by IS NULL) = (waived_at IS NULL)", name="waived"),
        CheckConstraint("(trouble IS NULL) = (trouble_step IS NULL)", name="trouble"),
        CheckConstraint("ending IN ('dropped', 'exempted', 'renewed', 'noticed')", name="ending"),
        Index(
            "ix_reclaim_case_machine",
            "ordered_at",
            postgresql_where=column("state").in_(sorted(s.value for s in CASE_MACHINE)),
        ),
        Index("ix_reclaim_case_state", "state", "due_at"),
    )


class CaseResource(Base):
    """A resource that a case takes back; in one open case at most. ``was_active``: to be started again on resuming."""

    __tablename__ = "reclaim_case_resource"

    id: Mapped[Id]
    case_id: Mapped[UUID] = mapped_column(ForeignKey(ReclaimCase.id))
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    was_active: Mapped[bool | None]
    closed_at: Mapped[Moment | None]

    __table_args__ = (
        UniqueConstraint("case_id", "resource_id"),
        Index(
            "ux_reclaim_case_resource_open", "resource_id", unique=True, postgresql_where=column("closed_at").is_(None)
        ),
    )


class CaseObjection(Base):
    """What the owner says against a case (or its wish to renew the term), and what the authority answered.

    ``due_at``: by when the answer is due. Nothing happens by itself then: it is late, and seen to be.
    """

    __tablename__ = "reclaim_objection"

    id: Mapped[Id]
    case_id: Mapped[UUID] = mapped_column(ForeignKey(ReclaimCase.id))
    renew_until: Mapped[Moment | None]
    reason: Mapped[str]
    raised_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    raised_at: Mapped[Moment]
    due_at: Mapped[Moment]
    decision: Mapped[str | None]
    answer: Mapped[str | None]
    until: Mapped[Moment | None]
    workdays: Mapped[int | None]
    answered_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    answered_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("btrim(reason) <> '' AND btrim(answer) <> ''", name="reason"),
        CheckConstraint("decision IN ('accept', 'refuse', 'extend')", name="decision"),
        CheckConstraint("answered_by <> raised_by", name="two_people"),
        CheckConstraint("num_nonnulls(decision, answer, answered_by, answered_at) IN (0, 4)", name="answered"),
        CheckConstraint("decision IS DISTINCT FROM 'accept' OR until IS NOT NULL", name="until"),
        CheckConstraint("(decision IS NOT DISTINCT FROM 'extend') = (workdays IS NOT NULL)", name="workdays"),
        Index("ux_reclaim_objection_open", "case_id", unique=True, postgresql_where=text("answered_at IS NULL")),
    )


class CaseAct(Base):
    """One arrow that a case has gone: its history. Rows are only added."""

    __tablename__ = "reclaim_act"

    id: Mapped[Id]
    case_id: Mapped[UUID] = mapped_column(ForeignKey(ReclaimCase.id), index=True)
    event: Mapped[str]
    state: Mapped[str]
    note: Mapped[str] = mapped_column(server_default="")
    actor_id: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    at: Mapped[Moment]


class ReclaimPolicy(Base):
    """One version of a policy by which resources are taken up. ``digest``: SHA-256 of its content.

    Switched on only by a person, and only with a dry run of this very version: the composite foreign key says so.
    """

    __tablename__ = "reclaim_policy"

    id: Mapped[Id]
    name: Mapped[str]
    version: Mapped[str]
    digest: Mapped[str]
    content: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    created_at: Mapped[Moment]
    dry_run_id: Mapped[UUID | None]
    switched_on_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    switched_on_at: Mapped[Moment | None]
    switched_off_at: Mapped[Moment | None]
    switched_off_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))

    __table_args__ = (
        UniqueConstraint("name", "digest"),
        CheckConstraint("num_nonnulls(dry_run_id, switched_on_by, switched_on_at) IN (0, 3)", name="switched_on"),
        CheckConstraint("switched_off_at IS NULL OR switched_on_at IS NOT NULL", name="switched_off"),
        CheckConstraint("switched_off_by IS NULL OR switched_off_at IS NOT NULL", name="switched_off_by"),
        ForeignKeyConstraint(
            ["dry_run_id", "id"],
            ["broker.reclaim_dry_run.id", "broker.reclaim_dry_run.policy_id"],
            name="fk_reclaim_policy_dry_run",
            use_alter=True,
        ),
        Index(
            "ux_reclaim_policy_on",
            "name",
            unique=True,
            postgresql_where=text("switched_on_at IS NOT NULL AND switched_off_at IS NULL"),
        ),
    )


class ReclaimDryRun(Base):
    """What a policy's version would have done at an instant. Rows are only added."""

    __tablename__ = "reclaim_dry_run"

    id: Mapped[Id]
    policy_id: Mapped[UUID] = mapped_column(ForeignKey(ReclaimPolicy.id))
    result: Mapped[dict[str, Any]] = mapped_column(JSONB)
    run_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    run_at: Mapped[Moment]

    __table_args__ = (UniqueConstraint("id", "policy_id"),)
