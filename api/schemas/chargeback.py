"""Explained statements, overviews and settlements as they go out; disputes as they come in. Whole fen.

Called by: the routes of chargeback. Must not: compute an amount.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from api.schemas.base import Integer, Plain, Reason, Schema, View
from api.schemas.registers import StatementHead


class Line(View):
    """A statement's line with the price version and the rule behind it; ``article`` is empty where the rule is ours."""

    id: int
    usage_month: date
    unit_code: str
    unit_name: str
    resource_number: str
    resource_name: str
    system_code: str
    system_name: str
    sub_cloud_code: str
    sub_cloud_name: str
    operator: str
    meter: str
    quantity_seconds: Plain
    free_seconds: Plain
    price_cny: Plain
    discount: Plain
    per: str
    tariff_version: str
    tariff_source: str
    payer_rule: str
    article: str
    amount_fen: int
    adjustment_id: UUID | None
    adjustment_reason: str


class LinePage(View):
    """A page of lines; ``next`` is what to pass as ``after``."""

    data: list[Line]
    next: int | None


class Sum(View):
    """Fen of this month and of the month before under one heading."""

    axis: str
    key: str
    name: str
    amount_fen: int
    before_fen: int
    lines: int


class Summary(View):
    """A statement summed up by system, resource class, cloud, unit and rule, beside the month before."""

    head: StatementHead
    standing: str
    lines: int
    before_fen: int | None
    sums: list[Sum]


class NewDispute(Schema):
    """An objection to a line of a closed statement."""

    statement_id: UUID
    charge_id: Integer
    reason: Reason


class Answer(Schema):
    """An answer to a dispute. ``amount_fen`` only where it is accepted; negative: the payer owes less."""

    decision: Literal["accepted", "rejected"]
    reason: Reason
    amount_fen: Integer | None = None


class Dispute(View):
    """A dispute and what it is about; ``decision`` is empty while it is open."""

    id: UUID
    statement_id: UUID
    charge_id: int
    payer_unit_id: UUID
    payer_name: str
    month: date
    resource_number: str
    resource_name: str
    meter: str
    amount_fen: int
    reason: str
    raised_by: UUID
    raised_at: datetime
    decision: str | None
    answer: str | None
    answered_by: UUID | None
    answered_at: datetime | None
    adjusted_fen: int | None


class DisputePage(View):
    """A page of disputes."""

    data: list[Dispute]
    next: str | None


class PayerTotal(View):
    """What a payer owes for a month and owed for the one before."""

    payer_unit_id: UUID
    code: str
    name: str
    kind: str
    statement_id: UUID | None
    standing: str | None
    total_fen: int
    before_fen: int


class MonthTotal(View):
    """A payer's total in a month, ``YYYY-MM``."""

    payer_unit_id: UUID
    month: str
    total_fen: int


class Payers(View):
    """What everybody owes for a month, and the months before it."""

    month: str
    total_fen: int
    before_fen: int
    payers: list[PayerTotal]
    trend: list[MonthTotal]


class IndustryCloud(View):
    """An industry cloud in a year (Art. 16(3)); ``ceilings`` by year, ``by_month`` from January on."""

    sub_cloud_id: UUID
    name: str
    operator: str
    unified: bool
    payers: list[str]
    month_fen: int
    before_fen: int
    spent_fen: int
    ceilings: dict[int, int]
    by_month: list[int]


class Industry(View):
    """The industry clouds beside the main cloud."""

    month: str
    clouds: list[IndustryCloud]
    main_by_month: list[int]


class SettlementHead(View):
    """What a closed month owes to an operator; not ``priced``: it has no settlement price, and is owed nothing."""

    id: UUID
    month: str
    version: int
    operator: str
    total_fen: int
    reopened: bool
    priced: bool


class SettlementLine(View):
    """A meter of a sub-cloud under one settlement price."""

    usage_month: date
    sub_cloud_name: str
    meter: str
    quantity_seconds: Plain
    price_cny: Plain
    discount: Plain
    per: str
    tariff_version: str
    amount_fen: int


class Settlement(SettlementHead):
    """A settlement with its lines."""

    lines: list[SettlementLine]
