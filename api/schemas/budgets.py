"""Budgets of payers and ceilings of industry clouds as they go out and come in. Whole fen.

Called by: the routes of budgets. Must not: compute an amount.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.schemas.base import Integer, Schema, View

Year = Annotated[Integer, Field(ge=2000, le=2999)]


class Forecast(View):
    """What the months that are not closed will cost."""

    open_months: int
    open_fen: int
    later_months: int
    later_fen: int


class Budget(View):
    """A payer's year: what closed months have used, and what the year will end with if what is there now stays.

    ``forecast_fen`` is the sum of ``spent_fen``, of the ``open_months`` that have begun, each rated to its end, and of
    the ``later_months`` at the next month's price; null where rating them takes longer than a page may.
    """

    id: UUID
    payer_unit_id: UUID
    name: str
    year: int
    amount_fen: int
    spent_fen: int
    months: int
    forecast_fen: int | None
    forecast: Forecast | None


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
