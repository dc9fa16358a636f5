"""Tables of prices and payers. Two versions of a price cannot overlap: the database says so.

Used by: ``pricing.repository``. Money is NUMERIC or whole fen, never a float.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Numeric, column, func
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, During, Id
from broker.tenancy.models import Unit

EVERYWHERE = UUID(int=0)
"""Stands in for "no sub-cloud" where a constraint needs a value to compare."""


class TariffPrice(Base):
    """The price of one unit of a meter, for a sub-cloud or for all, from when to when. CNY per hour or per month."""

    __tablename__ = "tariff_price"

    id: Mapped[Id]
    meter: Mapped[str]
    sub_cloud_id: Mapped[UUID | None] = mapped_column(ForeignKey(SubCloud.id))
    price_cny: Mapped[Decimal] = mapped_column(Numeric(18, 8))
    per: Mapped[str]
    version: Mapped[str]
    source: Mapped[str]
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint("price_cny >= 0", name="price"),
        CheckConstraint("per IN ('hour', 'month')", name="per"),
        ExcludeConstraint(
            (column("meter"), "="),
            (func.coalesce(column("sub_cloud_id"), str(EVERYWHERE)), "="),
            (column("during"), "&&"),
            using="gist",
            name="ex_tariff_price",
        ),
    )


class Payer(Base):
    """Who pays for what a unit (and the units below it without a rule of their own) uses on a tier of clouds.

    ``article`` is the regulation's, or empty where the rule is ours.
    """

    __tablename__ = "payer"

    id: Mapped[Id]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    tier: Mapped[str]
    payer_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    rule: Mapped[str]
    article: Mapped[str]
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint("tier IN ('main', 'industry', 'city')", name="tier"),
        ExcludeConstraint(
            (column("unit_id"), "="), (column("tier"), "="), (column("during"), "&&"), using="gist", name="ex_payer"
        ),
    )
