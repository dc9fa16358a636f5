"""Prices, quotes and payers at an instant.

Called by: request (quote on the form), assessment (cost of a placement), chargeback, the console. Must not: write.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from broker.errors import Conflict
from broker.pricing import repository, rules
from broker.pricing.models import TariffPrice
from broker.pricing.values import PayerRule, Per, PriceVersion, Quote


def prices_at(session: Session, *, sub_cloud_id: UUID | None, at: datetime) -> tuple[PriceVersion, ...]:
    """The price of each meter at ``at``, by meter; a sub-cloud's own price stands instead of the general one."""
    return tuple(_version(row) for row in repository.prices_at(session, sub_cloud_id, at))


def quote_for(session: Session, quantities: Mapping[str, int], sub_cloud_id: UUID | None, at: datetime) -> Quote:
    """The monthly cost of ``quantities`` (by meter) on a sub-cloud, or anywhere, at the prices of ``at``."""
    return rules.quote(quantities, prices_at(session, sub_cloud_id=sub_cloud_id, at=at), at)


def payer_of(session: Session, unit_id: UUID, tier: str, at: datetime, sub_cloud_id: UUID | None = None) -> PayerRule:
    """Who pays for what a unit uses on a tier of clouds at ``at``: the nearest ancestor's rule.

    A rule for the cloud alone goes first.

    Raises Conflict ``payer.missing`` when neither the unit nor one above it has a rule.
    """
    row = repository.payer_of(session, unit_id, tier, at, sub_cloud_id)
    if row is None:
        raise Conflict("payer.missing", unit=str(unit_id), tier=tier)
    return PayerRule(*row)


def _version(row: TariffPrice) -> PriceVersion:
    return PriceVersion(
        id=row.id,
        meter=row.meter,
        sub_cloud_id=row.sub_cloud_id,
        price_cny=row.price_cny * row.discount,
        per=Per(row.per),
        version=row.version,
        valid_from=row.during.lower,
        valid_to=row.during.upper,
    )
