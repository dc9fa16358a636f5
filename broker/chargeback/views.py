"""What finance, payers and operators look at, as values: explained lines, sums beside last month's, overviews.

Called by: the readers of chargeback, the API, the console, the documents. Must not: read the database. Whole fen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from broker.chargeback.values import StatementRow
from broker.pricing.months import Month


class Standing(StrEnum):
    """Whether a statement is owed: drawn before the close, of a closed month, of a month opened again, or replaced."""

    INTERIM = "interim"
    CLOSED = "closed"
    REOPENED = "reopened"


class Axis(StrEnum):
    """By what a statement is summed up."""

    SYSTEM = "system"
    METER = "meter"
    CLOUD = "cloud"
    UNIT = "unit"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class ExplainedLine:
    """A line with all that explains it: what was used where, at which price version, who pays and by which rule.

    ``usage_month`` is the first day of the month of use. ``article`` is empty where the rule is ours. An
    ``adjustment_reason`` is a person's decision behind the line.
    """

    id: int
    usage_month: date
    unit_id: UUID
    unit_code: str
    unit_name: str
    resource_id: UUID
    resource_number: str
    resource_name: str
    kind: str
    system_code: str
    system_name: str
    sub_cloud_code: str
    sub_cloud_name: str
    tier: str
    operator: str
    division_code: str
    division_name: str
    meter: str
    quantity_seconds: Decimal
    free_seconds: Decimal
    tariff_price_id: UUID
    price_cny: Decimal
    discount: Decimal
    per: str
    tariff_version: str
    tariff_source: str
    price_from: datetime | None
    price_to: datetime | None
    payer_rule: str
    article: str
    amount_fen: int
    adjustment_id: UUID | None
    adjustment_reason: str


@dataclass(frozen=True, slots=True)
class Sum:
    """Fen of this month and of the month before under one heading. ``key`` is an id or a word of ours."""

    axis: Axis
    key: str
    name: str
    amount_fen: int
    before_fen: int
    lines: int

    @property
    def change_fen(self) -> int:
        return self.amount_fen - self.before_fen


@dataclass(frozen=True, slots=True)
class StatementSummary:
    """A statement without its lines: sums by each axis, largest first, and what the payer owed the month before."""

    head: StatementRow
    payer_code: str
    issuer_code: str
    issuer_name: str
    standing: Standing
    previous: StatementRow | None
    sums: tuple[Sum, ...]
    lines: int

    def by(self, axis: Axis) -> tuple[Sum, ...]:
        """The sums of one axis."""
        return tuple(one for one in self.sums if one.axis is axis)

    @property
    def before_fen(self) -> int | None:
        return None if self.previous is None else self.previous.total_fen

    @property
    def month(self) -> Month:
        return Month(self.head.month.year, self.head.month.month)


@dataclass(frozen=True, slots=True)
class PayerRow:
    """What one payer owes for a month, and for the month before; ``statement_id`` is empty where it has none."""

    payer_unit_id: UUID
    code: str
    name: str
    kind: str
    statement_id: UUID | None
    standing: Standing | None
    total_fen: int
    before_fen: int

    @property
    def change_fen(self) -> int:
        return self.total_fen - self.before_fen


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """A payer's total in a month; ``kind`` is the unit's (region, city, department)."""

    payer_unit_id: UUID
    kind: str
    month: Month
    total_fen: int


@dataclass(frozen=True, slots=True)
class Mover:
    """A resource whose cost changed most against the month before."""

    resource_id: UUID
    number: str
    name: str
    unit_name: str
    amount_fen: int
    before_fen: int

    @property
    def change_fen(self) -> int:
        return self.amount_fen - self.before_fen


@dataclass(frozen=True, slots=True)
class IndustryCloud:
    """An industry cloud in a year (Art. 16(3)): under unified management, or outside with a ceiling that steps down.

    ``steps`` are (year, ceiling in fen) as they stand; ``spent_fen`` is what was charged in the year so far.
    """

    sub_cloud_id: UUID
    name: str
    operator: str
    unified: bool
    payers: tuple[str, ...]
    month_fen: int
    before_fen: int
    spent_fen: int
    steps: tuple[tuple[int, int], ...]
    by_month: tuple[int, ...]

    def step(self, year: int) -> int | None:
        """The ceiling of a year, if one was set."""
        return dict(self.steps).get(year)


@dataclass(frozen=True, slots=True)
class BureauOverview:
    """The industry clouds, and what the main cloud cost beside them, month by month of a year."""

    month: Month
    months: tuple[Month, ...]
    clouds: tuple[IndustryCloud, ...]
    main_by_month: tuple[int, ...]

    def total(self, *, unified: bool) -> int:
        """What industry clouds cost in the month."""
        return sum(cloud.month_fen for cloud in self.clouds if cloud.unified is unified)


@dataclass(frozen=True, slots=True)
class SettlementRow:
    """What a closed month owes to an operator; ``reopened`` where the month was opened again since.

    ``priced`` False: there is no settlement price for anything that it supplied, so it is owed nothing.
    """

    id: UUID
    month: Month
    version: int
    operator: str
    total_fen: int
    reopened: bool
    priced: bool


@dataclass(frozen=True, slots=True)
class SettlementLineRow:
    """A meter of a sub-cloud under one settlement price."""

    usage_month: date
    sub_cloud_name: str
    meter: str
    quantity_seconds: Decimal
    price_cny: Decimal
    discount: Decimal
    per: str
    tariff_version: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class SettlementView:
    """One settlement with its lines and the operator's months."""

    head: SettlementRow
    lines: tuple[SettlementLineRow, ...]
    trend: tuple[SettlementRow, ...]
