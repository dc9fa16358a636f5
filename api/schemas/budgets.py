"""Budgets of payers and ceilings of industry clouds as they go out and come in. Whole fen.

Called by: the routes of budgets. Must not: compute an amount.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.schemas.base import Integer, Schema, View

Year = Annotated[Integer, Field(ge=2000, le=2999)]


class Budget(View):
    """A payer's year: what closed months have used, and what twelve would at that pace."""

    id: UUID
    payer_unit_id: UUID
    name: str
    year: int
    amount_fen: int
    spent_fen: int
    months: int
    forecast_fen: int


class NewBudget(Schema):
    """What a payer may spend in a year."""

    payer_unit_id: UUID
    year: Year
    amount_fen: Integer


class NewFundingStep(Schema):
    """What an industry cloud outside unified management may still cost in a year (Art. 16(3)); zero ends it."""

    cloud: str
    year: Year
    amount_fen: Integer


class FundingStep(View):
    """A ceiling as it stands."""

    code: str
    name: str
    year: int
    amount_fen: int
