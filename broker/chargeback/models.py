"""Tables of statements and their lines."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from broker.catalog.models import SubCloud
from broker.db.base import Base, Id, Moment
from broker.inventory.models import Resource
from broker.pricing.models import TariffPrice
from broker.tenancy.models import Unit


class Statement(Base):
    """What a payer owes for a month (Asia/Shanghai). The total is the sum of the lines, in fen."""

    __tablename__ = "statement"

    id: Mapped[Id]
    payer_unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    month: Mapped[date]
    version: Mapped[int]
    total_fen: Mapped[int] = mapped_column(BigInteger)
    covers_until: Mapped[Moment]
    created_at: Mapped[Moment]

    __table_args__ = (
        UniqueConstraint("payer_unit_id", "month", "version"),
        CheckConstraint("extract(day from month) = 1", name="month"),
    )


class Charge(Base):
    """One line: a resource's meter under one price version; ``quantity_seconds`` exact, the amount rounded once."""

    __tablename__ = "charge"

    id: Mapped[Id]
    statement_id: Mapped[UUID] = mapped_column(ForeignKey(Statement.id), index=True)
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    resource_id: Mapped[UUID] = mapped_column(ForeignKey(Resource.id))
    sub_cloud_id: Mapped[UUID] = mapped_column(ForeignKey(SubCloud.id))
    meter: Mapped[str]
    tariff_price_id: Mapped[UUID] = mapped_column(ForeignKey(TariffPrice.id))
    payer_rule: Mapped[str]
    article: Mapped[str]
    quantity_seconds: Mapped[Decimal] = mapped_column(Numeric)
    amount_fen: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (UniqueConstraint("statement_id", "resource_id", "meter", "tariff_price_id"),)
