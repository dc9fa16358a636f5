"""Tables of prices and payers. Two versions of a price cannot overlap: the database says so.

Used by: ``pricing.repository``. Money is NUMERIC or whole fen, never a float.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Numeric, column, func, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, During, Id
from broker.tenancy.models import Unit

EVERYWHERE = UUID(int=0)
"""Stands in for "no sub-cloud" where a constraint needs a value to compare."""


class TariffPrice(Base):
    """One version of what a unit of a meter costs: from when to when, where, for whom, with what taken off.

    CNY per hour, per month or once. ``side``: what payers are charged, or what an operator is owed (settlement).
    It holds for one sub-cloud, for all of one operator, or everywhere; for one class of units (``Unit.kind``) or for
    all; for what was committed to for at least ``term_months`` months. The nearest one wins, in this order.
    ``discount`` is the factor the price is multiplied by (0.9: nine tenths). ``free_quantity`` is free for each payer
    and month, in what the price is for (unit-hours or unit-months). ``charged_when_stopped`` empty: as
    ``pricing.rules.FREE_WHEN_STOPPED`` says.
    """

    __tablename__ = "tariff_price"

    id: Mapped[Id]
    side: Mapped[str] = mapped_column(server_default="charge")
    meter: Mapped[str]
    sub_cloud_id: Mapped[UUID | None] = mapped_column(ForeignKey(SubCloud.id))
    operator: Mapped[str | None]
    unit_class: Mapped[str | None]
    term_months: Mapped[int] = mapped_column(server_default="0")
    price_cny: Mapped[Decimal] = mapped_column(Numeric(18, 8))
    per: Mapped[str]
    discount: Mapped[Decimal] = mapped_column(Numeric(5, 4), server_default="1")
    free_quantity: Mapped[Decimal] = mapped_column(Numeric(18, 4), server_default="0")
    charged_when_stopped: Mapped[bool | None]
    version: Mapped[str]
    source: Mapped[str]
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint("side IN ('charge', 'settlement')", name="side"),
        CheckConstraint("price_cny >= 0", name="price"),
        CheckConstraint("per IN ('hour', 'month', 'once')", name="per"),
        CheckConstraint("sub_cloud_id IS NULL OR operator IS NULL", name="place"),
        CheckConstraint("term_months BETWEEN 0 AND 1200", name="term_months"),
        CheckConstraint("discount > 0 AND discount <= 1", name="discount"),
        CheckConstraint("free_quantity >= 0 AND (free_quantity = 0 OR side = 'charge')", name="free_quantity"),
        CheckConstraint(
            "lower(during) = date_trunc('second', lower(during), 'UTC') IS NOT FALSE"
            " AND upper(during) = date_trunc('second', upper(during), 'UTC') IS NOT FALSE",
            name="whole_seconds",
        ),
        ExcludeConstraint(
            (column("side"), "="),
            (column("meter"), "="),
            (func.coalesce(column("sub_cloud_id"), str(EVERYWHERE)), "="),
            (func.coalesce(column("operator"), text("''::text")), "="),
            (func.coalesce(column("unit_class"), text("''::text")), "="),
            (column("term_months"), "="),
            (column("during"), "&&"),
            using="gist",
            name="ex_tariff_price",
        ),
    )


class FinanceOffice(Base):
    """Whose finance people act for a payer, from when to when: 财政厅 for the region. A payer's own always do.

    A unit that is no office and pays for nothing sees its own part of its payer's bill (``chargeback.access``).
    """

    __tablename__ = "finance_office"

    id: Mapped[Id]
    office_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    payer_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    during: Mapped[During]

    __table_args__ = (
        ExcludeConstraint(
            (column("office_unit_id"), "="), (column("during"), "&&"), using="gist", name="ex_finance_office"
        ),
    )


class Payer(Base):
    """Who pays for what a unit (and the units below it without a rule of their own) uses on a tier of clouds.

    With ``sub_cloud_id`` the rule is for that cloud alone and goes before those for its tier: an industry cloud outside
    unified management pays its own (Art. 16(3)). ``article`` is the regulation's, or empty where the rule is ours.
    """

    __tablename__ = "payer"

    id: Mapped[Id]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    tier: Mapped[str]
    sub_cloud_id: Mapped[UUID | None] = mapped_column(ForeignKey(SubCloud.id))
    payer_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    rule: Mapped[str]
    article: Mapped[str]
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint("tier IN ('main', 'industry', 'city')", name="tier"),
        ExcludeConstraint(
            (column("unit_id"), "="),
            (column("tier"), "="),
            (func.coalesce(column("sub_cloud_id"), str(EVERYWHERE)), "="),
            (column("during"), "&&"),
            using="gist",
            name="ex_payer",
        ),
    )
