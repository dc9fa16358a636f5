"""Adjustments of closed lines by finance as they go out and come in. Whole fen.

Called by: the routes of adjustments. Must not: compute an amount.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from api.schemas.base import Integer, Reason, Schema, View


class NewAdjustment(Schema):
    """What a closed line should be changed by; negative: the payer owes less."""

    charge_id: Integer
    amount_fen: Integer
    reason: Reason


class DropAdjustment(Schema):
    """Why a proposal is taken back or refused."""

    reason: Reason


class Adjustment(View):
    """A proposed adjustment; ``decision`` is empty while it waits, ``posted_month`` until a close has posted it."""

    id: UUID
    charge_id: int
    statement_id: UUID
    payer_unit_id: UUID
    payer_name: str
    month: date
    resource_number: str
    resource_name: str
    meter: str
    line_fen: int
    amount_fen: int
    reason: str
    proposed_by: UUID
    proposed_at: datetime
    decision: str | None
    note: str
    decided_by: UUID | None
    decided_at: datetime | None
    posted_month: date | None


class AdjustmentPage(View):
    """A page of adjustments."""

    data: list[Adjustment]
    next: str | None
