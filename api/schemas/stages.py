"""Approvals, assessments, deliveries, the desk, handovers and releases, as they go over HTTP.

Called by: the routes of these stages. Must not: hold rules.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from api.schemas.base import Integer, Reason, Schema, View
from broker.approval.service import Decision
from broker.delivery.service import Action

Ordinal = Annotated[int, Field(ge=0, le=99)]
"""An item's place in the form, from 0."""


class NewApproval(Schema):
    """A decision on the revision that the decider saw."""

    decision: Decision
    revision: UUID
    reason: Reason = ""
    article: Annotated[str, Field(max_length=40)] = ""


class Approval(View):
    """A decision."""

    id: UUID
    revision_id: UUID
    decision: str
    reason: str
    article: str
    decided_by: UUID
    on_behalf_of: UUID | None
    decided_at: datetime
    late: bool


class Changes(Schema):
    """What the assessor changes, by the item's place in the form: its cloud (by code), its sizes."""

    clouds: Annotated[dict[Ordinal, Annotated[str, Field(max_length=40)]], Field(default_factory=dict, max_length=100)]
    sizes: Annotated[dict[Ordinal, dict[str, Integer]], Field(default_factory=dict, max_length=100)]


class NewAssessment(Changes):
    """The assessor confirms (with changes, if any) or returns the revision that was seen."""

    decision: Annotated[str, Field(pattern="^(confirm|return)$")]
    revision: UUID
    reason: Reason = ""


class Verdict(View):
    """What one filter says of one sub-cloud."""

    filter: str
    passed: bool
    code: str
    message: str
    article: str


class Candidate(View):
    """A sub-cloud that was considered, with every verdict: why it was or was not chosen."""

    sub_cloud: str
    name: str
    chosen: bool
    passed: bool
    weight: int
    verdicts: list[Verdict]


class Placement(View):
    """Where an item goes or would go."""

    item_id: UUID
    ordinal: int | None
    spec: dict[str, Any]
    overridden: bool
    candidates: list[Candidate]


class Assessment(View):
    """A proposal (``outcome`` is ``proposed``), or the last assessment that was confirmed or returned."""

    outcome: str
    revision: UUID | None
    reason: str
    complete: bool
    monthly_fen: int
    quote: dict[str, Any]
    placements: list[Placement]
    hold_expires_at: datetime | None
    decided_by: UUID | None
    on_behalf_of: UUID | None
    decided_at: datetime | None
    late: bool


class Step(View):
    """One step of a delivery or a release."""

    subject_id: UUID
    run: int
    name: str
    state: str
    attempts: int
    started_at: datetime
    finished_at: datetime | None
    detail: str


class Handover(View):
    """What was handed over: what, where, addresses, how to get in."""

    id: UUID
    delivery_id: UUID
    run: int
    record: dict[str, Any]
    handed_over_at: datetime


class DeskCase(View):
    """What a machine could not finish."""

    id: UUID
    request_id: UUID
    number: str | None = None
    subject_type: str
    subject_id: UUID
    resource_id: UUID | None
    step: str
    code: str
    message: str
    detail: str
    opened_at: datetime
    action: str | None
    reason: str | None
    decided_by: UUID | None
    closed_at: datetime | None


class Delivery(View):
    """What a request gets from one sub-cloud."""

    id: UUID
    request_id: UUID
    sub_cloud_id: UUID
    state: str
    run: int
    ordered_by: UUID
    queued_at: datetime
    finished_at: datetime | None
    secret_waiting: bool
    steps: list[Step]
    handovers: list[Handover]
    cases: list[DeskCase]


class CaseDecision(Schema):
    """What the operator does about a case."""

    action: Action
    reason: Reason = ""


class Secret(View):
    """The private key of a delivery: shown once, then erased."""

    private_key: str | None = None


class NewRelease(Schema):
    """Why the unit gives its resources back."""

    reason: Reason = ""


class Release(View):
    """What a unit gives back to one sub-cloud."""

    id: UUID
    request_id: UUID
    number: str | None = None
    sub_cloud_id: UUID
    state: str
    run: int
    reason: str
    asked_by: UUID
    asked_at: datetime
    confirmed_by: UUID | None
    confirmed_at: datetime | None
    finished_at: datetime | None
