"""Tables of closed months: statements and their lines, settlements, the double-entry ledger, adjustments, budgets.

Used by: ``chargeback.repository``. What is written here is never changed: the runtime role may only insert, except for
the one act of reopening a month. Amounts are whole fen. See ``docs/decisions/0008-closing-a-month.md``.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, CreatedAt, Id, Moment
from broker.metering.models import UsageCorrection
from broker.pricing.models import TariffPrice
from broker.tenancy.models import Account, Unit


class MonthClose(Base):
    """A month was closed: its statements are final and its entries posted. ``version`` counts closes of one month.

    The partial unique index lets a month be closed once at a time; it is closed while its newest row is not reopened.
    Reopening takes two people: who asks (``reopening``) and who agrees. ``snapshot`` is PostgreSQL's name for what the
    rating saw (``pg_snapshot``): by it ``chargeback.known`` tells changes before the close from those after it.
    """

    __tablename__ = "month_close"

    id: Mapped[Id]
    month: Mapped[date]
    version: Mapped[int]
    covers_until: Mapped[Moment]
    snapshot: Mapped[str]
    lines: Mapped[int] = mapped_column(BigInteger)
    adjustments: Mapped[int] = mapped_column(BigInteger)
    total_fen: Mapped[int] = mapped_column(BigInteger)
    settled_fen: Mapped[int] = mapped_column(BigInteger)
    closed_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    closed_at: Mapped[Moment]
    reopened_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("extract(day from month) = 1", name="month"),
        UniqueConstraint("month", "version"),
        Index("ux_month_close_open", "month", unique=True, postgresql_where=text("reopened_at IS NULL")),
    )


class MonthCloseCorrection(Base):
    """That a close has looked at a hint of changed usage; one that nobody has looked at waits for the next close."""

    __tablename__ = "month_close_correction"

    close_id: Mapped[UUID] = mapped_column(ForeignKey(MonthClose.id), primary_key=True)
    correction_id: Mapped[int] = mapped_column(ForeignKey(UsageCorrection.id), primary_key=True)


class MonthReopening(Base):
    """One person asked to reopen a closed month, another agreed. Both versions of its statements stay."""

    __tablename__ = "month_reopening"

    id: Mapped[Id]
    close_id: Mapped[UUID] = mapped_column(ForeignKey(MonthClose.id), unique=True)
    reason: Mapped[str]
    asked_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    asked_at: Mapped[Moment]
    agreed_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    agreed_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("btrim(reason) <> ''", name="reason"),
        CheckConstraint("agreed_by <> asked_by", name="two_people"),
        CheckConstraint("(agreed_by IS NULL) = (agreed_at IS NULL)", name="agreed"),
    )


class Statement(Base):
    """What a payer owes for a month (Asia/Shanghai). The total is the sum of the lines, in fen.

    ``close_id`` is empty for an interim one, drawn before the month is closed: it is a picture, owed by nobody.
    """

    __tablename__ = "statement"

    id: Mapped[Id]
    payer_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    month: Mapped[date]
    version: Mapped[int]
    close_id: Mapped[UUID | None] = mapped_column(ForeignKey(MonthClose.id), index=True)
    total_fen: Mapped[int] = mapped_column(BigInteger)
    covers_until: Mapped[Moment]
    created_at: Mapped[Moment]

    __table_args__ = (
        UniqueConstraint("payer_unit_id", "month", "version"),
        CheckConstraint("extract(day from month) = 1", name="month"),
    )


class Charge(Base):
    """One line: a resource's meter under one price version; ``quantity_seconds`` exact, the amount rounded once.

    ``free_seconds`` of it cost nothing (the tariff's free quantity). ``usage_month`` is the statement's own month, or
    an earlier one for an adjustment: then quantity and amount are the difference to what was charged before.
    ``adjustment_id`` names a person's decision behind it.

    No foreign keys: a million resources make four million lines in one statement that reads the rows it names in the
    same snapshot, and the runtime role may delete none of them; checking each again would take longer than the bill.
    """

    __tablename__ = "charge"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True, cache=1000), primary_key=True)
    statement_id: Mapped[UUID]
    usage_month: Mapped[date]
    unit_id: Mapped[UUID]
    resource_id: Mapped[UUID]
    sub_cloud_id: Mapped[UUID]
    meter: Mapped[str]
    tariff_price_id: Mapped[UUID]
    payer_rule: Mapped[str]
    article: Mapped[str]
    quantity_seconds: Mapped[Decimal] = mapped_column(Numeric)
    free_seconds: Mapped[Decimal] = mapped_column(Numeric, server_default="0")
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    adjustment_id: Mapped[UUID | None]

    __table_args__ = (
        UniqueConstraint(
            "statement_id",
            "resource_id",
            "meter",
            "tariff_price_id",
            "usage_month",
            "adjustment_id",
            name="uq_charge_line",
            postgresql_nulls_not_distinct=True,
        ),
    )


class StatementSum(Base):
    """What lines of a statement have in common, summed when it was drawn: pages read these, not millions of lines.

    ``system_id`` is the one its resources belonged to then. ``chargeback.verify`` holds them against the lines. No
    foreign keys, as for the lines.
    """

    __tablename__ = "statement_sum"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    statement_id: Mapped[UUID]
    usage_month: Mapped[date]
    unit_id: Mapped[UUID]
    sub_cloud_id: Mapped[UUID]
    system_id: Mapped[UUID | None]
    meter: Mapped[str]
    payer_rule: Mapped[str]
    article: Mapped[str]
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    lines: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index("ix_statement_sum_statement_id", "statement_id"),)


class Adjustment(Base):
    """A person's decision to put a closed line right (an accepted dispute): signed fen, in the next month closed.

    ``line_fen`` is what usage came to when it was decided: what the decision was about. ``decided_in``: the
    transaction (None: of before it was noted), from which a recount tells whether a close could see it.
    """

    __tablename__ = "adjustment"

    id: Mapped[Id]
    charge_id: Mapped[int] = mapped_column(BigInteger, index=True)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    line_fen: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    decided_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment]
    decided_in: Mapped[str | None] = mapped_column(server_default=text("CAST(pg_current_xact_id() AS text)"))

    __table_args__ = (
        CheckConstraint("amount_fen <> 0", name="amount"),
        CheckConstraint("btrim(reason) <> ''", name="reason"),
    )


class Settlement(Base):
    """What a closed month owes to an operator, by its own tariff (Art. 15)."""

    __tablename__ = "settlement"

    id: Mapped[Id]
    close_id: Mapped[UUID] = mapped_column(ForeignKey(MonthClose.id))
    operator: Mapped[str]
    total_fen: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (UniqueConstraint("close_id", "operator"),)


class SettlementLine(Base):
    """A meter of a sub-cloud under one settlement price: everybody's usage together, rounded once."""

    __tablename__ = "settlement_line"

    settlement_id: Mapped[UUID] = mapped_column(ForeignKey(Settlement.id))
    usage_month: Mapped[date]
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    meter: Mapped[str]
    tariff_price_id: Mapped[UUID] = mapped_column(ForeignKey(TariffPrice.id))
    quantity_seconds: Mapped[Decimal] = mapped_column(Numeric)
    amount_fen: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (PrimaryKeyConstraint("settlement_id", "usage_month", "sub_cloud_id", "meter", "tariff_price_id"),)


class LedgerPosting(Base):
    """One act in the books: a statement, a settlement, or the reversal of such a posting when a month is reopened.

    The database refuses, at the commit, a posting whose entries do not sum to zero, or that has none.
    """

    __tablename__ = "ledger_posting"

    id: Mapped[Id]
    close_id: Mapped[UUID] = mapped_column(ForeignKey(MonthClose.id), index=True)
    statement_id: Mapped[UUID | None] = mapped_column(ForeignKey(Statement.id))
    settlement_id: Mapped[UUID | None] = mapped_column(ForeignKey(Settlement.id))
    reverses_id: Mapped[UUID | None] = mapped_column(ForeignKey("broker.ledger_posting.id"), unique=True)
    posted_at: Mapped[Moment]

    __table_args__ = (
        CheckConstraint("num_nonnulls(statement_id, settlement_id) = 1", name="cause"),
        Index("ux_ledger_posting_statement", "statement_id", unique=True, postgresql_where=text("reverses_id IS NULL")),
        Index(
            "ux_ledger_posting_settlement", "settlement_id", unique=True, postgresql_where=text("reverses_id IS NULL")
        ),
    )


class LedgerEntry(Base):
    """Fen on an account: positive is debit. A payer's account says what it owes; an operator's what it is owed.

    ``income`` and ``cost`` are the other sides.
    """

    __tablename__ = "ledger_entry"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    posting_id: Mapped[UUID] = mapped_column(ForeignKey(LedgerPosting.id), index=True)
    account: Mapped[str]
    unit_id: Mapped[UUID | None] = mapped_column(ForeignKey(Unit.id), index=True)
    operator: Mapped[str | None]
    amount_fen: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("account IN ('payer', 'income', 'operator', 'cost')", name="account"),
        CheckConstraint("(account = 'payer') = (unit_id IS NOT NULL)", name="unit"),
        CheckConstraint("(account = 'operator') = (operator IS NOT NULL)", name="operator"),
        CheckConstraint("amount_fen <> 0", name="amount"),
    )


class Budget(Base):
    """What a payer may spend in a calendar year; the newest row of a payer and year holds."""

    __tablename__ = "budget"

    id: Mapped[Id]
    payer_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    year: Mapped[int]
    version: Mapped[int]
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    set_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    set_at: Mapped[Moment]

    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="amount"),
        UniqueConstraint("payer_unit_id", "year", "version"),
    )


class BudgetNotice(Base):
    """That a payer was told, once for each version of its budget, that a share of it is used up."""

    __tablename__ = "budget_notice"

    budget_id: Mapped[UUID] = mapped_column(ForeignKey(Budget.id), primary_key=True)
    percent: Mapped[int] = mapped_column(primary_key=True)
    spent_fen: Mapped[int] = mapped_column(BigInteger)
    noted_at: Mapped[CreatedAt]

    __table_args__ = (CheckConstraint("percent IN (80, 100)", name="percent"),)


class FundingStep(Base):
    """The step-down: what an industry cloud outside unified management may still spend in a year (Art. 16(3))."""

    __tablename__ = "funding_step"

    id: Mapped[Id]
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    year: Mapped[int]
    version: Mapped[int]
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    set_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    set_at: Mapped[Moment]

    __table_args__ = (
        CheckConstraint("amount_fen >= 0", name="amount"),
        UniqueConstraint("sub_cloud_id", "year", "version"),
    )


class Dispute(Base):
    """A payer objects to a line of a closed month. The region's finance answers once, and never the one who objected.

    An accepted one has an ``adjustment``, which the next close puts on the payer's statement.
    """

    __tablename__ = "dispute"

    id: Mapped[Id]
    statement_id: Mapped[UUID] = mapped_column(ForeignKey(Statement.id), index=True)
    charge_id: Mapped[int] = mapped_column(ForeignKey(Charge.id))
    payer_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id), index=True)
    reason: Mapped[str]
    raised_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    raised_at: Mapped[Moment]
    decision: Mapped[str | None]
    answer: Mapped[str | None]
    answered_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    answered_at: Mapped[Moment | None]
    adjustment_id: Mapped[UUID | None] = mapped_column(ForeignKey(Adjustment.id), unique=True)

    __table_args__ = (
        CheckConstraint("btrim(reason) <> ''", name="reason"),
        CheckConstraint("decision IN ('accepted', 'rejected')", name="decision"),
        CheckConstraint("answered_by <> raised_by", name="two_people"),
        CheckConstraint("num_nonnulls(decision, answer, answered_by, answered_at) IN (0, 4)", name="answered"),
        CheckConstraint("btrim(answer) <> ''", name="answer"),
        CheckConstraint("(decision IS NOT DISTINCT FROM 'accepted') = (adjustment_id IS NOT NULL)", name="adjustment"),
        Index("ux_dispute_open", "charge_id", unique=True, postgresql_where=text("decision IS NULL")),
    )


class AdjustmentProposal(Base):
    """Finance would put a closed line right by itself: one person proposes, another confirms, or somebody drops it.

    A confirmed one has an ``adjustment``, which the next close posts; it is undone by another proposal only.
    """

    __tablename__ = "adjustment_proposal"

    id: Mapped[Id]
    charge_id: Mapped[int] = mapped_column(ForeignKey(Charge.id))
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    proposed_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    proposed_at: Mapped[Moment]
    decision: Mapped[str | None]
    note: Mapped[str] = mapped_column(server_default="")
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    decided_at: Mapped[Moment | None]
    adjustment_id: Mapped[UUID | None] = mapped_column(ForeignKey(Adjustment.id), unique=True)

    __table_args__ = (
        CheckConstraint("amount_fen <> 0", name="amount"),
        CheckConstraint("btrim(reason) <> ''", name="reason"),
        CheckConstraint("decision IN ('confirmed', 'dropped')", name="decision"),
        CheckConstraint("num_nonnulls(decision, decided_by, decided_at) IN (0, 3)", name="decided"),
        CheckConstraint("decision <> 'confirmed' OR decided_by <> proposed_by", name="two_people"),
        CheckConstraint("(decision IS NOT DISTINCT FROM 'confirmed') = (adjustment_id IS NOT NULL)", name="adjustment"),
        Index("ux_adjustment_proposal_open", "charge_id", unique=True, postgresql_where=text("decision IS NULL")),
    )
