"""Reclaim cases as they go over HTTP.

Called by: the routes. Must not: hold rules.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from api.schemas.base import Integer, Reason, Schema, View
from broker.reclamation.values import Decision

Number = Annotated[str, Field(min_length=1, max_length=40)]


class NewCase(Schema):
    """Which resources (by number) are to be taken back, and why; or what detection found, with its evidence."""

    resources: Annotated[list[Number], Field(default_factory=list, max_length=200)]
    finding: UUID | None = None
    reason: Reason = ""


class CaseReason(Schema):
    """Why."""

    reason: Reason = ""


class NewAnswer(Schema):
    """What the authority says: accept until a day (inclusive), refuse, or extend by working days."""

    decision: Decision
    reason: Reason = ""
    until: date | None = None
    workdays: Integer | None = None


class CaseLine(View):
    """One case in a list."""

    id: UUID
    number: str
    cause: str
    state: str
    version: int
    unit_id: UUID
    unit_name: str
    sub_cloud: str
    sub_cloud_name: str
    system_name: str
    resources: int
    reason: str
    opened_at: datetime
    noticed_at: datetime | None
    due_at: datetime | None
    due_provisional: bool
    waits_for: str | None
    look_at: datetime | None
    suspended_at: datetime | None
    keep_until: datetime | None
    trouble: str | None
    trouble_step: str | None
    exempt_until: datetime | None
    closed_at: datetime | None


class CaseResource(View):
    """What a case takes back. ``error_code``: ``resource.lost`` when its cloud does not have it any more."""

    id: UUID
    number: str
    kind: str
    name: str
    state: str
    error_code: str | None
    was_active: bool | None


class Objection(View):
    """What the owner said, and what was answered. ``renew_until``: it asks for a longer term, up to that instant."""

    id: UUID
    reason: str
    raised_by: UUID
    raised_at: datetime
    due_at: datetime
    renew_until: datetime | None
    decision: str | None
    answer: str | None
    until: datetime | None
    workdays: int | None
    answered_by: UUID | None
    answered_at: datetime | None


class CaseSibling(View):
    """Another part of the whole that a case was opened as: it was parted for a share, or for what was lost."""

    id: UUID
    number: str
    state: str


class CaseAct(View):
    """One thing that happened."""

    event: str
    state: str
    note: str
    actor_id: UUID | None
    at: datetime


class Case(CaseLine):
    """A case with everything that belongs to it. ``offers``: what the caller may do now.

    ``grounds``: its evidence in words; ``basis``: the article of its policy, empty when that is ours.
    """

    policy: str
    policy_version: str
    evidence: dict[str, Any]
    grounds: list[str]
    basis: str | None
    finding_id: UUID | None
    grace_workdays: int
    run: int
    proposed_by: UUID | None
    proposed_at: datetime | None
    confirmed_by: UUID | None
    confirmed_at: datetime | None
    parts: list[CaseResource]
    objections: list[Objection]
    acts: list[CaseAct]
    siblings: list[CaseSibling]
    watched: list[str]
    offers: list[str]


class CaseOnDesk(View):
    """A case that a person has to see to (``trouble``) or should know of (``watched``)."""

    id: UUID
    number: str
    state: str
    trouble: str | None
    trouble_step: str | None
    watched: list[str]


class LostResource(View):
    """What its cloud does not have any more and no case holds: not charged since ``lost_at``, still the unit's."""

    id: UUID
    number: str
    kind: str
    name: str
    unit_name: str
    sub_cloud: str
    sub_cloud_name: str
    error_code: str
    lost_at: datetime | None


class CasePage(View):
    """A page of cases."""

    data: list[CaseLine]
    next: str | None


class NewRenewal(Schema):
    """Until which day (inclusive) the unit wants to go on, and why."""

    until: date
    reason: Reason = ""


class DryRun(View):
    """What a policy's content would have done when it was run."""

    id: UUID
    policy_id: UUID
    result: dict[str, Any]
    run_by: UUID
    run_at: datetime


class Policy(View):
    """A policy as the file has it now. ``on``: this content opens cases. ``changed``: another one was switched on."""

    name: str
    title: str
    version: str
    digest: str
    basis: str
    days: int
    grace: dict[int, int]
    kind: str
    condition: str
    exemptions: list[str]
    on: bool
    on_since: datetime | None
    on_by: UUID | None
    changed: bool
    dry_run: DryRun | None


class PolicyVersion(View):
    """A content that a policy has had, and who switched it on and off. ``digest``: SHA-256 of the content."""

    id: UUID
    version: str
    digest: str
    created_by: UUID
    created_at: datetime
    dry_runs: int
    last_run_at: datetime | None
    dry_run_id: UUID | None
    switched_on_by: UUID | None
    switched_on_at: datetime | None
    switched_off_by: UUID | None
    switched_off_at: datetime | None


class SwitchOn(Schema):
    """Which dry run was seen."""

    dry_run: UUID


class TakenBack(View):
    """What reclaiming took back in a month from a unit in a cloud. ``monthly_fen``: a month of it, by its prices."""

    month: str
    unit_id: UUID
    unit_name: str
    sub_cloud: str
    sub_cloud_name: str
    cases: int
    resources: int
    vcpu: int
    memory_gib: int
    block_gib: int
    segments: int
    monthly_fen: int
