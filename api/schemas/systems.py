"""The register of information systems as it goes over HTTP: entries, endings, proposals, imports, the total.

Called by: ``api.routes.systems``. Must not: hold rules.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.base import Boolean, Integer, Mistake, Reason, Schema, Text, View

Word = Annotated[str, Field(min_length=1, max_length=200)]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]


class SystemFields(Schema):
    """What the register holds of a system (Art. 26, 28), and how it is used (Art. 2(5)); what is not known is null."""

    unit: Annotated[str, Field(max_length=40)]
    code: Code
    name: Word
    mlps_level: Integer
    function: Text
    scope_of_use: Word
    frequency_of_use: Word
    approving_department: Word
    approved_on: date | None = None
    funding_source: Word
    owner: Annotated[str, Field(max_length=100)] = ""
    in_use_since: date | None = None
    monthly_users: Annotated[Integer, Field(ge=0)] | None = None
    last_business_on: date | None = None
    business_stopped_on: date | None = None
    last_maintained_on: date | None = None
    maintenance_until: date | None = None
    replaceable_by: Annotated[str, Field(max_length=40)] = ""
    reported_on: date | None = None


class NewInformationSystem(SystemFields):
    """A system to be put on the register; ``merges``: codes of the systems that end by it (Art. 29)."""

    merges: Annotated[tuple[Code, ...], Field(max_length=50)] = ()


class NewProposal(SystemFields):
    """A new system without a merger, and why it should be (Art. 29)."""

    growth_reason: Text


class InformationSystem(View):
    """What resources are requested for."""

    id: UUID
    code: str
    unit_id: UUID
    unit_name: str | None = None
    unit: str = ""
    name: str
    mlps_level: int
    function: str
    scope_of_use: str
    frequency_of_use: str
    approving_department: str
    approved_on: date | None
    funding_source: str
    owner: str | None = None
    in_use_since: date | None
    monthly_users: int | None
    last_business_on: date | None
    business_stopped_on: date | None
    last_maintained_on: date | None
    maintenance_until: date | None
    replaceable_by: str | None = None
    reported_on: date | None
    growth_reason: str
    registered_at: datetime
    version: int
    retired_at: datetime | None
    ended_kind: str | None
    ended_reason: str | None
    merged_into: str | None = None
    handed_to: str | None
    resources: int = 0


class SystemRevision(View):
    """What the register said from ``at`` on."""

    version: int
    at: datetime
    by: UUID | None
    source: str
    entry: dict[str, Any]


class SystemMove(View):
    """A system went from one unit to another. ``source``: move, or end (merged into a system of that unit)."""

    system_id: UUID
    code: str
    name: str
    at: datetime
    source: Literal["move", "end"]
    old: str
    new: str


class SystemOwner(View):
    """A unit that a system belonged to on the register, from when to when; ``until`` null: it does."""

    unit_name: str
    since: datetime
    until: datetime | None


class SystemShown(InformationSystem):
    """One system with its revisions and units, newest first, and the codes of the systems merged into it."""

    revisions: list[SystemRevision]
    owners: list[SystemOwner]
    merged: list[str]


class EndSystem(Schema):
    """How a system ends, and why. ``into``: the code of the system it merges into; ``handed_to``: who takes it over."""

    kind: Literal["merged", "shut_down", "handed_over"]
    reason: Reason
    into: Annotated[str, Field(max_length=40)] = ""
    handed_to: Annotated[str, Field(max_length=200)] = ""


class MoveSystem(Schema):
    """To which unit (its code) a system goes, and why."""

    unit: Annotated[str, Field(max_length=40)]
    reason: Reason


class Proposal(View):
    """A new system that waits for the Bureau, or what the Bureau said."""

    id: UUID
    code: str
    unit_id: UUID
    unit_name: str | None = None
    entry: dict[str, Any]
    reason: str
    proposed_at: datetime
    decision: str | None
    answer: str | None
    decided_at: datetime | None
    system_id: UUID | None


class DecideProposal(Schema):
    """The Bureau's decision, with a sentence."""

    approved: Boolean
    answer: Reason


class LineVerdict(View):
    """What a line of a file would do: ``new``, ``proposal``, ``change``, ``same`` or ``wrong``."""

    line: int
    kind: str
    code: str
    name: str
    changes: list[str]
    merges: list[str]
    errors: list[Mistake]


class ImportShown(View):
    """A kept file and the verdict on every line; to apply it name the ``digest``."""

    id: UUID
    file_name: str
    digest: str
    counts: dict[str, int]
    lines: list[LineVerdict]
    created_at: datetime
    applied_at: datetime | None


class ApplyImport(Schema):
    """The verdict that was seen."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SystemTotal(View):
    """How many systems there were at the end of a day, and what had come and gone since the one before."""

    day: date
    total: int
    added: int
    ended: int
