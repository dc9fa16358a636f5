"""SQL over prices and payers.

Called by: ``pricing.service``. Must not: decide, compute money.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, literal, or_, select
from sqlalchemy.orm import Session

from broker.catalog.models import SubCloudOperator
from broker.pricing.models import Payer, TariffPrice
from broker.tenancy.models import UnitPeriod


def prices_at(session: Session, sub_cloud_id: UUID | None, at: datetime) -> list[TariffPrice]:
    """For each meter the price valid at ``at``: the sub-cloud's own, else its operator's, else the general one.

    One statement. What a class of units or a term changes is left out: a quote is a list price.
    """
    operator = (
        select(SubCloudOperator.operator)
        .where(SubCloudOperator.sub_cloud_id == sub_cloud_id, SubCloudOperator.during.contains(at))
        .scalar_subquery()
    )
    statement = (
        select(TariffPrice)
        .where(
            TariffPrice.during.contains(at),
            TariffPrice.side == "charge",
            or_(TariffPrice.operator.is_(None), TariffPrice.operator == operator),
            TariffPrice.unit_class.is_(None),
            TariffPrice.term_months == 0,
            or_(TariffPrice.sub_cloud_id.is_(None), TariffPrice.sub_cloud_id == sub_cloud_id),
        )
        .order_by(TariffPrice.meter, TariffPrice.sub_cloud_id.nulls_first(), TariffPrice.operator.nulls_first())
    )
    return list({row.meter: row for row in session.scalars(statement)}.values())  # a sub-cloud's own comes last


def payer_of(
    session: Session, unit_id: UUID, tier: str, at: datetime, sub_cloud_id: UUID | None = None
) -> tuple[UUID, str, str] | None:
    """The payer row of the nearest ancestor (the unit itself first) that has one at ``at``. One statement.

    A rule for the sub-cloud alone goes before those for its tier.
    """
    nearness = func.array_position(UnitPeriod.ancestors, Payer.unit_id)
    statement = (
        select(Payer.payer_unit_id, Payer.rule, Payer.article)
        .join(UnitPeriod, Payer.unit_id == UnitPeriod.ancestors.any_())
        .where(
            UnitPeriod.unit_id == unit_id,
            UnitPeriod.during.contains(at),
            Payer.tier == literal(tier),
            or_(Payer.sub_cloud_id.is_(None), Payer.sub_cloud_id == sub_cloud_id),
            Payer.during.contains(at),
        )
        .order_by(Payer.sub_cloud_id.is_(None), nearness.desc())
        .limit(1)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else (row[0], row[1], row[2])
