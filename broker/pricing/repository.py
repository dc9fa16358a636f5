"""SQL over prices and payers.

Called by: ``pricing.service``. Must not: decide, compute money.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, literal, or_, select
from sqlalchemy.orm import Session

from broker.pricing.models import Payer, TariffPrice
from broker.tenancy.models import UnitPeriod


def prices_at(session: Session, sub_cloud_id: UUID | None, at: datetime) -> list[TariffPrice]:
    """For each meter the price valid at ``at``: the sub-cloud's own, else the general one. One statement."""
    statement = (
        select(TariffPrice)
        .where(
            TariffPrice.during.contains(at),
            or_(TariffPrice.sub_cloud_id.is_(None), TariffPrice.sub_cloud_id == sub_cloud_id),
        )
        .order_by(TariffPrice.meter, TariffPrice.sub_cloud_id.nulls_first())
    )
    return list({row.meter: row for row in session.scalars(statement)}.values())  # a sub-cloud's own comes last


def payer_of(session: Session, unit_id: UUID, tier: str, at: datetime) -> tuple[UUID, str, str] | None:
    """The payer row of the nearest ancestor (the unit itself first) that has one at ``at``. One statement."""
    nearness = func.array_position(UnitPeriod.ancestors, Payer.unit_id)
    statement = (
        select(Payer.payer_unit_id, Payer.rule, Payer.article)
        .join(UnitPeriod, Payer.unit_id == UnitPeriod.ancestors.any_())
        .where(
            UnitPeriod.unit_id == unit_id,
            UnitPeriod.during.contains(at),
            Payer.tier == literal(tier),
            Payer.during.contains(at),
        )
        .order_by(nearness.desc())
        .limit(1)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else (row[0], row[1], row[2])
