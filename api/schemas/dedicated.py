"""Dedicated networks as they go over HTTP: the list, plans, steps, what the Bureau decides, stopped funds.

Called by: ``api.routes.dedicated``. Must not: hold rules.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.base import Boolean, Integer, Mistake, Reason, Schema, Text, View
from broker.dedicated.values import Step

Word = Annotated[str, Field(min_length=1, max_length=200)]
Login = Annotated[str, Field(max_length=100)]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]


class NewNetwork(Schema):
    """A dedicated network for the list. ``systems``: codes of the register; ``responsible``: a login."""

    unit: Annotated[str, Field(max_length=40)]
    code: Code
    name: Word
    purpose: Text
    level: Annotated[str, Field(max_length=40, description="region、city、county、township、village")]
    coverage: Word
    classified: Boolean
    built_on: date | None = None
    grounds: Word
    links: Integer
    carrier: Word
    funding_source: Word
    yearly_cost_fen: Integer
    responsible: Login
    systems: Annotated[tuple[Code, ...], Field(max_length=1000)] = ()


class StepDate(Schema):
    """Until when a step is to be done, and by whom (a login)."""

    due_on: date
    owner: Login


class PlanDates(Schema):
    """The three steps after the plan."""

    connect: StepDate
    migrate: StepDate
    shut_down: StepDate


class NewPlan(Schema):
    """The plan of Art. 11(1): scope, content, days, leader, office and liaison."""

    scope: Reason
    content: Reason
    zone: Annotated[str, Field(max_length=40, description="shared、private、internet")]
    leader: Login
    office: Annotated[str, Field(max_length=200)]
    liaison: Login
    document_number: Annotated[str, Field(max_length=100)]
    dates: PlanDates


class NewDone(Schema):
    """That a step is done: the day, what shows it, the numbers of the segments it rests on."""

    done_on: date
    evidence: Reason
    segments: Annotated[tuple[Annotated[str, Field(max_length=40)], ...], Field(max_length=200)] = ()


class NewClosing(Schema):
    """How the network is shut down."""

    outcome: Annotated[str, Field(max_length=40, description="removed 撤销、merged 合并、converted 改造")]
    done_on: date
    evidence: Reason


class DecideClosing(Schema):
    """The second person's word."""

    decision: Literal["confirmed", "declined"]
    answer: Reason


class NewDate(Schema):
    """Another day for a step, or another owner (a login; left out: who it was), and why."""

    step: Step
    due_on: date
    reason: Reason
    owner: Login = ""


class NewStay(Schema):
    """That a network may stay until the end of a day, by which document, and why."""

    until: date
    document_number: Annotated[str, Field(max_length=100)]
    reason: Reason


class NewRuling(Schema):
    """The Bureau's word on a network's systems: ``drop`` leaves the list; empty: the network carries none."""

    drop: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=100)]
    reason: Reason


class FundsStop(View):
    """A network behind its plan: when its owner was told, when finance is or was, when and why it was lifted."""

    id: UUID
    step: Step
    due_on: date
    noticed_at: datetime
    report_at: datetime
    stopped_at: datetime | None
    lifted_at: datetime | None
    lifted_why: str | None


class Network(View):
    """One network of the list. ``next``: the step that comes next, null when shut down; ``late``: it is overdue."""

    id: UUID
    code: str
    name: str
    unit: str
    unit_name: str
    purpose: str
    level: str
    coverage: str
    built_on: date | None
    grounds: str
    links: int
    carrier: str
    funding_source: str
    yearly_cost_fen: int
    responsible: str
    systems: list[str]
    exception_id: UUID | None
    registered_at: datetime
    version: int
    next: Step | None
    due_on: date | None
    late: bool
    stays_until: date | None
    stop: FundsStop | None


class Plan(View):
    """The plan as it was reported; people by their logins."""

    scope: str
    content: str
    zone: str
    leader: str
    office: str
    liaison: str
    document_number: str


class GivenDate(View):
    """A day that a step was given; the last one holds."""

    due_on: date
    owner: str
    reason: str
    set_by: str
    set_at: datetime


class StepShown(View):
    """One of the four steps."""

    step: Step
    dates: list[GivenDate]
    done_on: date | None
    evidence: str | None
    outcome: str | None
    done_by: str | None
    confirmed_by: str | None


class TiedSegment(View):
    """A segment that a step rests on, as it is today."""

    number: str
    resource_id: UUID
    step: Step
    name: str
    prefix: str
    zone: str
    verified: bool
    router: str
    vrf: str


class Probe(View):
    """A reported connection: ``code`` is null while probes look, empty when all answered, else what is wrong."""

    segments: list[str]
    done_on: date
    evidence: str
    asked_by: str
    asked_at: datetime
    answered_at: datetime | None
    code: str | None
    message: str


class CarriedSystem(View):
    """A system on the network's list, and whether it is on the cloud by now."""

    code: str
    name: str
    ended: bool
    attached: bool
    migrated: bool


class Closing(View):
    """A word that the network is shut down, and the second person's."""

    outcome: str
    done_on: date
    evidence: str
    proposed_by: str
    proposed_at: datetime
    decision: str | None
    answer: str | None
    decided_by: str | None
    decided_at: datetime | None


class Stay(View):
    """Permission to stay."""

    until: date
    document_number: str
    reason: str
    granted_by: str
    granted_at: datetime


class Ruling(View):
    """What the Bureau said of its systems."""

    dropped: list[str]
    reason: str
    ruled_by: str
    ruled_at: datetime


class NetworkRevision(View):
    """What was said of it from ``at`` on."""

    version: int
    at: datetime
    by: UUID | None
    source: str
    entry: dict[str, Any]


class NetworkShown(Network):
    """One network with everything on record; what is a list has the newest first."""

    plan: Plan | None
    steps: list[StepShown]
    segments: list[TiedSegment]
    carried: list[CarriedSystem]
    probes: list[Probe]
    closings: list[Closing]
    stays: list[Stay]
    rulings: list[Ruling]
    stops: list[FundsStop]
    revisions: list[NetworkRevision]


class StoppedNetwork(View):
    """A network for which no funds may be paid now (Art. 10)."""

    network: UUID
    code: str
    name: str
    unit_name: str
    funding_source: str
    yearly_cost_fen: int
    step: Step
    due_on: date
    stopped_at: datetime
    article: str


class NetworkVerdict(View):
    """What a line of a file would do: ``new``, ``change``, ``same`` or ``wrong``."""

    line: int
    kind: str
    code: str
    name: str
    changes: list[str]
    errors: list[Mistake]


class NetworkImport(View):
    """A kept file and the verdict on every line; to apply it name the ``digest``."""

    id: UUID
    file_name: str
    digest: str
    counts: dict[str, int]
    lines: list[NetworkVerdict]
    created_at: datetime
    applied_at: datetime | None
