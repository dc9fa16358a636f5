"""What pages show of the region: images to choose from, clouds with their authorities, cities with the cloud they use.

Called by: the console. Must not: decide, or show what a cloud's options hold.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from broker.catalog.models import Image, SubCloud, SubCloudAuthority
from broker.db.base import AnyRow, AnySelect
from broker.tenancy.models import UnitPeriod

_CITIES = text("""
SELECT u.code, up.name, c.name AS cloud_name, c.tier, h.article, h.depth < cardinality(up.ancestors) AS inherited
FROM broker.unit u
JOIN broker.unit_period up ON up.unit_id = u.id AND up.during @> CAST(:now AS timestamptz)
LEFT JOIN LATERAL (
  SELECT hc.sub_cloud_id, hc.article, a.depth
  FROM unnest(up.ancestors) WITH ORDINALITY a(id, depth)
  JOIN broker.home_cloud hc ON hc.unit_id = a.id AND hc.during @> CAST(:now AS timestamptz)
  ORDER BY a.depth DESC LIMIT 1
) h ON true
LEFT JOIN broker.sub_cloud c ON c.id = h.sub_cloud_id
WHERE u.kind = 'city' ORDER BY u.code
""")


def images(session: Session) -> list[AnyRow]:
    """Images that any cloud in service has, each once: rows of ``(code, name, cpu_arch)``."""
    statement: AnySelect = (
        select(Image.code, func.min(Image.name).label("name"), func.min(Image.cpu_arch).label("cpu_arch"))
        .join(SubCloud, SubCloud.id == Image.sub_cloud_id)
        .where(SubCloud.retired_at.is_(None))
        .group_by(Image.code)
        .order_by(Image.code.desc())
    )
    return list(session.execute(statement).all())


def image_names(session: Session) -> dict[str, str]:
    """The names of all images by their codes, also of those that only a retired cloud had."""
    rows = session.execute(select(Image.code, func.min(Image.name).label("name")).group_by(Image.code))
    return {row.code: row.name for row in rows}


def authorities(session: Session, now: datetime) -> dict[UUID, dict[str, str]]:
    """Who decides, assesses and delivers for each sub-cloud at ``now``, by duty, as names."""
    rows = session.execute(
        select(SubCloudAuthority.sub_cloud_id, SubCloudAuthority.duty, UnitPeriod.name)
        .join(UnitPeriod, UnitPeriod.unit_id == SubCloudAuthority.unit_id)
        .where(SubCloudAuthority.during.contains(now), UnitPeriod.during.contains(now))
    )
    found: dict[UUID, dict[str, str]] = {}
    for sub_cloud_id, duty, name in rows:
        found.setdefault(sub_cloud_id, {})[duty] = name
    return found


def cities(session: Session, now: datetime) -> list[AnyRow]:
    """The cities with the cloud they ordinarily use: rows of ``(code, name, cloud_name, tier, article, inherited)``."""
    return list(session.execute(_CITIES, {"now": now}).all())
