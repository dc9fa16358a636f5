"""Rated usage and statements as values.

Called by: chargeback, the API, the console. Must not: read the database. Amounts are whole fen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from broker.pricing.months import Month
from broker.pricing.values import Per


@dataclass(frozen=True, slots=True)
class RatedLine:
    """What a payer owes for one meter of one resource under one price version in one month.

    ``quantity_seconds`` is exact; ``exact_fen`` is the amount before its one rounding. ``article`` is empty where the
    rule is ours; where the rule changed within the line, both stand in it.
    """

    month: Month
    payer_unit_id: UUID
    unit_id: UUID
    resource_id: UUID
    sub_cloud_id: UUID
    meter: str
    tariff_price_id: UUID
    price_cny: Decimal
    per: Per
    payer_rule: str
    article: str
    quantity_seconds: Decimal
    amount_fen: int
    exact_fen: Fraction


@dataclass(frozen=True, slots=True)
class Gap:
    """Usage that cannot be charged: ``missing`` is ``price`` or ``payer`` for part or all of it."""

    month: Month
    resource_id: UUID
    meter: str
    quantity_seconds: Decimal
    missing: str


@dataclass(frozen=True, slots=True)
class Preview:
    """A month as it would be billed now, up to ``covers_until``. With ``gaps`` it could not be issued."""

    month: Month
    covers_until: datetime
    lines: tuple[RatedLine, ...]
    gaps: tuple[Gap, ...]

    @property
    def total_fen(self) -> int:
        return sum(line.amount_fen for line in self.lines)

    @property
    def totals(self) -> dict[UUID, int]:
        """Fen by payer unit."""
        out: dict[UUID, int] = {}
        for line in self.lines:
            out[line.payer_unit_id] = out.get(line.payer_unit_id, 0) + line.amount_fen
        return out


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stops a close, and why (``reason``: ``chargeback.obstacles.CODES``).

    ``id``, ``number``, ``name``: the resource, or for a settlement the sub-cloud, for a total the payer. ``line``: the
    closed line that an adjustment can be about; ``payer``, ``month`` (of use), ``amount_fen``: where they are known;
    ``operator``: of a settlement.
    """

    id: UUID | None
    meter: str
    reason: str
    number: str = ""
    name: str = ""
    payer: str = ""
    month: date | None = None
    amount_fen: int | None = None
    line: int | None = None
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """A month as a close would freeze it now, by payer; ``adjustments`` of its lines are about earlier months.

    ``problems``: the first of what stops a close; ``problems_total``: all of it. ``unsettled``: operators without any
    settlement price, who are owed nothing.
    """

    month: Month
    covers_until: datetime
    payers: Mapping[UUID, int]
    lines: int
    adjustments: int
    settled_fen: int
    unsettled: tuple[str, ...]
    problems: tuple[Obstacle, ...]
    problems_total: int

    @property
    def total_fen(self) -> int:
        return sum(self.payers.values())


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """A close: its version, its size and what it owes. ``adjustments`` are lines about earlier months.

    ``unsettled``: operators that supplied something and have no settlement price; each has a settlement of zero.
    """

    id: UUID
    month: Month
    version: int
    statements: int
    lines: int
    adjustments: int
    total_fen: int
    settled_fen: int
    unsettled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A payer's year: the budget, and what ``months`` closed months have used of it."""

    id: UUID
    payer_unit_id: UUID
    year: int
    amount_fen: int
    spent_fen: int
    months: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a year's open months will cost a payer if what is there now stays: ``chargeback.forecasts``."""

    open_months: int = 0
    open_fen: int = 0
    later_months: int = 0
    later_fen: int = 0

    @property
    def fen(self) -> int:
        return self.open_fen + self.later_fen


@dataclass(frozen=True, slots=True)
class NamedBudget(BudgetState):
    """The same with the payer's name and the forecast; None: there is too much usage to rate it on a page."""

    name: str
    forecast: Forecast | None

    @property
    def forecast_fen(self) -> int | None:
        """What the year will end with: closed months as they were, open ones as they stand, later ones at today's."""
        return None if self.forecast is None else self.spent_fen + self.forecast.fen


@dataclass(frozen=True, slots=True)
class CostToDate:
    """What a request's resources have cost until ``until``, over all months.

    ``total_fen`` is the sum of rounded lines, as statements would have it; ``exact_fen`` is not rounded and grows with
    every second (``pricing.rules.show_fen`` writes it).
    """

    until: datetime
    lines: tuple[RatedLine, ...]
    gaps: tuple[Gap, ...]

    @property
    def total_fen(self) -> int:
        return sum(line.amount_fen for line in self.lines)

    @property
    def exact_fen(self) -> Fraction:
        return sum((line.exact_fen for line in self.lines), Fraction(0))


@dataclass(frozen=True, slots=True)
class IssuedStatement:
    """A statement just written."""

    id: UUID
    payer_unit_id: UUID
    version: int
    total_fen: int
    lines: int


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A statement in a list. ``month`` is the first day; ``latest`` is false where a newer version stands.

    ``standing``: whether it is owed (``views.Standing``). ``part``: its lines and total are those of a part of the
    payer only, as its reader may see it.
    """

    id: UUID
    payer_unit_id: UUID
    payer_name: str
    month: date
    version: int
    latest: bool
    total_fen: int
    covers_until: datetime
    created_at: datetime
    part: bool = False
    standing: str = ""


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """A statement's line with the names a reader needs, its price and the rule that put it there.

    ``id`` is what an objection or an adjustment names; of an adjustment ``adjustment_reason`` says why.
    """

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
    quantity_seconds: Decimal
    free_seconds: Decimal
    price_cny: Decimal
    discount: Decimal
    per: Per
    tariff_version: str
    payer_rule: str
    article: str
    amount_fen: int
    adjustment_reason: str


@dataclass(frozen=True, slots=True)
class StatementView:
    """One statement with its lines."""

    head: StatementRow
    lines: tuple[ChargeRow, ...]
