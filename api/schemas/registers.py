"""Units, systems, sub-clouds, resources, statements, notices and audit events, as they go over HTTP.

Called by: the routes of these registers. Must not: hold rules.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, Field

from api.schemas.base import Plain, Schema, Text, View


class Unit(View):
    """An organisation as it is called and stands in the tree today; ``depth`` is 1 at the root."""

    id: UUID
    code: str
    kind: str
    division_code: str | None
    name: str
    parent_id: UUID | None
    depth: int


class Stock(View):
    """How much of one thing a sub-cloud has, and how much of it is taken; no capacity is without bound."""

    resource_class: str
    capacity: int | None
    used: int


class SubCloud(View):
    """One of 1 + N + 14, with what it last said of itself and how full it is."""

    id: UUID
    code: str
    name: str
    tier: str
    operator: str
    mlps_level: int
    zones: list[str]
    unified_management: bool
    division_code: str | None
    accredited_at: datetime | None
    healthy: bool | None
    health_detail: str
    checked_at: datetime | None
    stock: list[Stock]


class ResourceOwner(View):
    """Whose a resource was: ``since`` null: from the first; ``until`` null: still."""

    unit_name: str
    since: datetime | None
    until: datetime | None


class Resource(View):
    """One server, volume or segment."""

    id: UUID
    number: str
    kind: str
    origin: str
    name: str
    state: str
    spec: dict[str, Any]
    unit_id: UUID
    unit_name: str | None
    system_name: str | None
    sub_cloud: str
    sub_cloud_name: str
    request_id: UUID | None
    prefix: str | None
    addresses: list[str]
    ref: str | None
    error_code: str | None
    created_at: datetime


class NewStatements(Schema):
    """The month to issue statements for, ``YYYY-MM``."""

    month: str


class IssuedStatement(View):
    """A statement just written."""

    id: UUID
    payer_unit_id: UUID
    version: int
    total_fen: int
    lines: int


class ClosedMonth(View):
    """A close: its version, its size, what payers owe and what operators are owed, in fen.

    ``unsettled``: operators without a settlement price, who are owed nothing.
    """

    id: UUID
    version: int
    statements: int
    lines: int
    adjustments: int
    total_fen: int
    settled_fen: int
    unsettled: list[str]


class BillingMonth(View):
    """A month that was closed; ``reopened_at`` empty: it is closed now."""

    id: UUID
    month: date
    version: int
    lines: int
    adjustments: int
    total_fen: int
    settled_fen: int
    closed_at: datetime
    reopened_at: datetime | None


class AskToReopen(Schema):
    """Why a closed month should be opened again."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Reopening(View):
    """Who asked to reopen a month, and who agreed."""

    id: UUID
    reason: str
    asked_by: UUID
    asked_at: datetime
    agreed_by: UUID | None
    agreed_at: datetime | None


class StatementHead(View):
    """A statement in a list; ``month`` is its first day, amounts are fen. ``standing``: interim, closed or reopened."""

    id: UUID
    payer_unit_id: UUID
    payer_name: str
    month: date
    version: int
    latest: bool
    standing: str
    total_fen: int
    part: bool = False
    covers_until: datetime
    created_at: datetime


class Charge(View):
    """A statement's line; ``article`` is empty where the rule is ours. ``id`` is what a dispute names."""

    id: int
    usage_month: date
    unit_id: UUID
    unit_name: str
    resource_id: UUID
    resource_number: str
    resource_name: str
    sub_cloud_id: UUID
    sub_cloud_name: str
    meter: str
    quantity_seconds: Plain
    free_seconds: Plain
    price_cny: Plain
    discount: Plain
    per: str
    tariff_version: str
    payer_rule: str
    article: str
    amount_fen: int
    adjustment_reason: str


class Statement(StatementHead):
    """A statement with its lines."""

    lines: list[Charge]


class Cost(View):
    """What a request's resources have cost until now. ``missing``: how many lines have no price or payer."""

    until: datetime
    total_fen: int
    missing: int


class Notice(View):
    """Something somebody should know."""

    id: UUID
    code: str
    message: str
    params: dict[str, Any]
    subject_type: str
    subject_id: UUID
    created_at: datetime
    read: bool


class ReadNotices(Schema):
    """Which notices were read."""

    ids: Annotated[list[UUID], Field(max_length=100)]


class AuditEvent(View):
    """Who did what, and its place in the chain once it is sealed (``hash`` is SM3, hexadecimal)."""

    id: UUID
    at: datetime
    actor_id: UUID | None
    on_behalf_of: UUID | None
    action: str
    subject_type: str
    subject_id: UUID
    request_id: UUID | None
    article: str
    data: dict[str, Any]
    trace_id: str
    seq: int | None
    hash: str | None


class AuditHead(View):
    """The end of the chain, to be kept outside the database."""

    seq: int
    hash: str


class NewNetworkException(Schema):
    """An exception to Art. 10 by a named person, with a reason, between two instants."""

    unit: Annotated[str, Field(max_length=40)]
    document_number: Annotated[str, Field(min_length=1, max_length=60)]
    reason: Text
    valid_from: AwareDatetime
    valid_to: AwareDatetime | None = None


class NetworkException(View):
    """An exception on record."""

    id: UUID
    unit_id: UUID
    document_number: str
    reason: str
