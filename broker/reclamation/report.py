"""What reclaiming took back, by month, unit and sub-cloud: capacity, and what a month of it cost by its tariff.

Called by: the API, the console. Must not: change anything, or count what units gave back by themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from broker.catalog.models import SubCloud
from broker.inventory import rules as scarce
from broker.inventory.models import Resource
from broker.lifecycle import CaseState, ResourceState
from broker.pricing import service as pricing
from broker.reclamation import board
from broker.reclamation.models import CaseResource, ReclaimCase
from broker.tenancy.repository import unit_names
from broker.tenancy.work import Work
from quotas.values import ResourceClass


@dataclass(frozen=True, slots=True)
class TakenBack:
    """One month (Asia/Shanghai), unit and cloud. ``monthly_fen``: a month of it by the month's last prices, if all ran.

    So that a report of a past month says the same whenever it is asked for; of this month by the prices of now.
    """

    month: str
    unit_id: UUID
    unit_name: str
    sub_cloud: str
    sub_cloud_name: str
    cases: int
    resources: int
    vcpu: int
    memory_gib: int
    block_gib: int
    segments: int
    monthly_fen: int


@dataclass(slots=True)
class _Sum:
    cases: set[UUID]
    resources: int
    amounts: scarce.Amounts


def taken_back(work: Work, *, first: str = "", last: str = "") -> list[TakenBack]:
    """What the actor may see of it: newest month first, in it what costs most.

    ``first``, ``last``: months (``2026-03``), both included.
    """
    zone = str(work.calendar.zone)
    month = func.to_char(func.timezone(zone, ReclaimCase.closed_at), "YYYY-MM")
    statement = (
        select(month, ReclaimCase.id, ReclaimCase.unit_id, ReclaimCase.sub_cloud_id, Resource.kind, Resource.spec)
        .join(CaseResource, CaseResource.case_id == ReclaimCase.id)
        .join(Resource, Resource.id == CaseResource.resource_id)
        .where(
            ReclaimCase.state == CaseState.RELEASED.value,
            Resource.state == ResourceState.RELEASED.value,
            board.seen(work),
        )
    )
    sums: dict[tuple[str, UUID, UUID], _Sum] = defaultdict(lambda: _Sum(set(), 0, {}))
    for when, case_id, unit_id, cloud_id, kind, spec in work.session.execute(statement):
        if (first and when < first) or (last and when > last):
            continue
        at = sums[when, unit_id, cloud_id]
        at.cases.add(case_id)
        at.resources += 1
        at.amounts = scarce.total([at.amounts, scarce.amounts(kind, spec)])
    return _lines(work, sums)


def _lines(work: Work, sums: Mapping[tuple[str, UUID, UUID], _Sum]) -> list[TakenBack]:
    names = unit_names(work.session, {unit for _, unit, _ in sums}, work.now)
    ids = {cloud for _, _, cloud in sums}
    clouds = {c.id: c for c in work.session.scalars(select(SubCloud).where(SubCloud.id.in_(ids)))}
    out = []
    for (month, unit_id, cloud_id), found in sums.items():
        at = min(_end(month, work.calendar.zone), work.now)
        quote = pricing.quote_for(work.session, _meters(found.amounts), cloud_id, at)
        line = TakenBack(
            month=month,
            unit_id=unit_id,
            unit_name=names.get(unit_id, ""),
            sub_cloud=clouds[cloud_id].code,
            sub_cloud_name=clouds[cloud_id].name,
            cases=len(found.cases),
            resources=found.resources,
            vcpu=_part(found.amounts, "vcpu_"),
            memory_gib=_part(found.amounts, "memory_gib_"),
            block_gib=_part(found.amounts, "block_gib_"),
            segments=found.amounts.get(ResourceClass.IPV6_64, 0),
            monthly_fen=quote.total_fen,
        )
        out.append(line)
    return sorted(out, key=lambda line: (line.month, line.monthly_fen, line.unit_name), reverse=True)


def _end(month: str, zone: ZoneInfo) -> datetime:
    """The last second of a month (``2026-03``)."""
    year, number = int(month[:4]), int(month[5:])
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone) - timedelta(seconds=1)


def _part(amounts: scarce.Amounts, prefix: str) -> int:
    return sum(amount for name, amount in amounts.items() if name.value.startswith(prefix))


def _meters(amounts: scarce.Amounts) -> dict[str, int]:
    """Amounts as the tariff meters them: memory whatever its processor, a segment for a /64."""
    meters: dict[str, int] = defaultdict(int)
    for name, amount in amounts.items():
        if name is ResourceClass.IPV6_64:
            meters["ipv6_segment"] += amount
        else:
            meters["memory_gib" if name.value.startswith("memory_gib_") else name.value] += amount
    return dict(meters)
