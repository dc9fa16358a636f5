"""Prices, quotes and payers as values.

Called by: every room that shows or computes money. Must not: read the database. Money is a Decimal price in CNY or a
whole number of fen; a float never touches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID


class Per(StrEnum):
    """What a price is for: a unit of the meter during an hour, during a calendar month of Asia/Shanghai, or once."""

    HOUR = "hour"
    MONTH = "month"
    ONCE = "once"
    """A unit of something charged once, at an instant: its span is one second long."""


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """One version of a meter's price, valid over [from, to). ``sub_cloud_id`` is None for the general price."""

    id: UUID
    meter: str
    sub_cloud_id: UUID | None
    price_cny: Decimal
    per: Per
    version: str
    valid_from: datetime | None
    valid_to: datetime | None

    def holds(self, at: datetime) -> bool:
        """Whether this version is valid at ``at``."""
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_to is None or at < self.valid_to)


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """What a quantity of one meter costs in a month."""

    meter: str
    quantity: int
    price_cny: Decimal
    per: Per
    version: str
    monthly_fen: int


@dataclass(frozen=True, slots=True)
class Quote:
    """The monthly cost of quantities. ``missing`` are meters without a price then: the total leaves them out."""

    lines: tuple[QuoteLine, ...]
    total_fen: int
    missing: tuple[str, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """The tariff versions the quote rests on, each once."""
        return tuple(sorted({line.version for line in self.lines}))

    def to_json(self) -> dict[str, Any]:
        """The quote as plain data for a JSONB column; prices are text, so that they stay exact."""
        return {
            "lines": [
                {
                    "meter": line.meter,
                    "quantity": line.quantity,
                    "price_cny": f"{line.price_cny:f}",
                    "per": line.per.value,
                    "version": line.version,
                    "monthly_fen": line.monthly_fen,
                }
                for line in self.lines
            ],
            "total_fen": self.total_fen,
            "missing": list(self.missing),
        }


@dataclass(frozen=True, slots=True)
class PayerRule:
    """Who pays, and the rule that says so. ``article`` is empty where the rule is ours (自定规则)."""

    payer_unit_id: UUID
    rule: str
    article: str
