"""Limits and what setting them does, as they go over HTTP: values of ``scarcity.setting``, names for ids.

Called by: the routes of ``quota_limits``. Must not: count or decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from api.schemas import quota_limits as schemas
from broker.catalog import repository as catalog
from broker.scarcity.setting import Line, Outcome, Wanted
from broker.tenancy.work import Work
from quotas.effects import Effect
from quotas.values import ENDLESS, Limit


def wanted(lines: Sequence[schemas.LimitLine]) -> list[Wanted]:
    """Lines as the service takes them."""
    return [Wanted(**line.model_dump()) for line in lines]


def own(work: Work, found: Sequence[Limit], mark: str) -> schemas.OwnLimits:
    """A node's own limits."""
    clouds = {c.id: c for c in catalog.by_id(work.session, {limit.pool for limit in found if limit.pool is not None})}
    return schemas.OwnLimits(
        limits=[
            schemas.OwnLimit(
                resource_class=limit.resource_class.value,
                sub_cloud=clouds[limit.pool].name if limit.pool else None,
                sub_cloud_code=clouds[limit.pool].code if limit.pool else None,
                **_amounts(limit).model_dump(),
            )
            for limit in found
        ],
        seen=mark,
    )


def changes(outcome: Outcome) -> schemas.LimitChanges:
    """What was set, or would be."""
    return schemas.LimitChanges(
        node_id=outcome.node, changes=[_change(line, outcome.names, outcome.codes) for line in outcome.lines]
    )


def _change(line: Line, names: Mapping[UUID, str], codes: Mapping[UUID, str]) -> schemas.LimitChange:
    return schemas.LimitChange(
        resource_class=line.resource_class.value,
        sub_cloud=names.get(line.pool) if line.pool else None,
        sub_cloud_code=codes.get(line.pool) if line.pool else None,
        before=_amounts(line.was) if line.was else None,
        after=_amounts(line.now) if line.now else None,
        effects=[_effect(effect, names) for effect in line.effects],
        more=line.more,
    )


def _amounts(limit: Limit) -> schemas.LimitAmounts:
    return schemas.LimitAmounts(limit=limit.limit, borrowing=limit.borrowing, lending=limit.lending, load=limit.load)


def _effect(effect: Effect, names: Mapping[UUID, str]) -> schemas.LimitEffect:
    limit = effect.now.limit
    return schemas.LimitEffect(
        node_id=effect.node,
        name=names.get(effect.node, str(effect.node)),
        load=limit.load,
        limit=limit.limit,
        over=effect.now.over,
        borrowed=effect.borrowed,
        room_before=_room(effect.was.room) if effect.was else None,
        room_after=_room(effect.now.room),
    )


def _room(room: int) -> int | None:
    return None if room >= ENDLESS // 2 else max(room, 0)
