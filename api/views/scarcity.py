"""Quotas, competing requests and the IPv6 plan as they go over HTTP: values of ``broker.scarcity``, names for ids.

Called by: the routes of ``scarcity`` and of requests. Must not: count or decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from api import texts
from api.schemas import scarcity as schemas
from broker.delivery.capacity import Compared
from broker.inventory import rules as scarce
from broker.scarcity.addresses import Block, Map
from broker.scarcity.asked import Asked, Row
from broker.scarcity.tree import Bar, Place
from broker.scarcity.waiting import Counter, Other
from quotas.ipv6.facts import facts


def asked(found: Asked) -> schemas.AskedFor:
    """Both tables of a form or request, and what would refuse it."""
    problems = [scarce.refused(refusal, found.names) for refusal in found.refusals]
    return schemas.AskedFor(
        rows=[_row(row, found.names) for row in (*found.unit, *found.in_cloud)],
        refused=[
            schemas.Refused(code=p.code, resource_class=p.field, message=texts.sentence(p.code, p.params))
            for p in problems
        ],
    )


def _row(row: Row, names: Mapping[UUID, str]) -> schemas.AskedRow:
    return schemas.AskedRow(
        resource_class=row.resource_class.value,
        sub_cloud=names.get(row.pool) if row.pool else None,
        used=row.used,
        asked=row.asked,
        new=row.new,
        limit=row.limit,
        left=row.left,
        fits=row.fits,
        bound_by=names.get(row.bound_by) if row.bound_by else None,
    )


def unit(place: Place, bars: tuple[Bar, ...], names: Mapping[UUID, str]) -> schemas.QuotaUnit:
    """A unit with its bars."""
    return schemas.QuotaUnit(
        id=place.id,
        code=place.code,
        name=place.name,
        kind=place.kind,
        bars=[
            schemas.QuotaBar(
                resource_class=bar.resource_class.value,
                sub_cloud=names.get(bar.pool) if bar.pool else None,
                limit=bar.limit,
                in_use=bar.use.in_use,
                held=bar.use.held,
                left=bar.left,
                bound_by=names.get(bar.bound_by) if bar.bound_by else None,
            )
            for bar in bars
        ],
    )


def contested(counter: Counter, names: Mapping[UUID, str]) -> schemas.Contested:
    """A counter that several requests meet."""
    return schemas.Contested(
        resource_class=counter.resource_class.value,
        owner=names.get(counter.node) if counter.node else None,
        sub_cloud=names.get(counter.pool) if counter.pool else None,
        limit=counter.limit,
        used=counter.used,
        asked=counter.asked,
        new=counter.new,
        waiting=counter.waiting,
    )


def competing(other: Other) -> schemas.Competing:
    """Another open request."""
    return schemas.Competing(
        id=other.id,
        number=other.number,
        state=other.state,
        unit_name=other.unit_name,
        sub_cloud_name=other.cloud_name,
        due_at=other.due_at,
        counted=other.counted,
        amounts={kind.value: amount for kind, amount in other.amounts.items()},
        meets=list(other.meets),
    )


def block(found: Block) -> schemas.PrefixBlock:
    """A block of the plan."""
    node = found.node
    return schemas.PrefixBlock(
        id=node.id,
        parent_id=node.parent_id,
        zone=node.zone.value,
        routing_domain=node.routing_domain,
        level=node.level,
        prefix=str(node.prefix),
        unit_name=found.unit_name,
        hands_out=node.hands_out,
        live=node.live,
        live_64=node.live_64,
        size_64=node.size_64,
    )


def prefix_map(found: Map) -> schemas.PrefixMap:
    """A block in cells."""
    return schemas.PrefixMap(
        block=block(found.block),
        within=str(found.within),
        cell_length=found.cell_length,
        cells=[
            schemas.PrefixCell(
                index=cell.index,
                prefix=str(cell.prefix),
                live=cell.live,
                by_state={state.value: amount for state, amount in cell.by_state.items()},
            )
            for cell in found.cells
        ],
        children=[block(child) for child in found.children],
        levels=[
            schemas.PrefixLevel(level=v.level, blocks=v.pools, size_64=v.size_64, live=v.live, live_64=v.live_64)
            for v in found.levels
        ],
        segments=[
            schemas.PrefixSegment(
                prefix=str(s.taken.prefix),
                state=s.taken.state.value,
                until=s.taken.until,
                resource_id=s.resource_id,
                unit_name=s.unit_name,
                gateway=str(facts(s.taken.prefix).gateway),
                reverse_zones=list(facts(s.taken.prefix).reverse_zones),
            )
            for s in found.segments
        ],
        more_segments=found.more_segments,
    )


def capacity_line(line: Compared) -> schemas.CapacityLine:
    """A class of a sub-cloud, ours and the cloud's."""
    return schemas.CapacityLine(
        resource_class=line.resource_class.value,
        total=line.total,
        reserved=line.reserved,
        capacity=line.capacity,
        in_use=line.use.in_use,
        held=line.use.held,
        reported_total=line.reported_total,
        reported_used=line.reported_used,
        reported_at=line.reported_at,
        gaps=[gap.value for gap in line.gaps],
        wanting=line.wanting,
        left_reason=line.left.reason if line.left else None,
    )
