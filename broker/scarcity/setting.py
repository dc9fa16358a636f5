"""The Bureau sets limits: a node's share, what it borrows and lends, in one cloud or in all; looked at first, then set.

Called by: the API and the console. Must not: count (``quotas`` does), or let anybody but the Bureau decide (it
coordinates quotas: ours, from 统筹). By hand, on the machine itself: ``scarcity.by_hand``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from broker.catalog import repository as catalog
from broker.catalog.models import SubCloud
from broker.errors import Invalid, Problem, Stale
from broker.inventory.repository import node_names
from broker.lifecycle import Role
from broker.scarcity import by_hand
from broker.tenancy.rules import mandate
from broker.tenancy.values import Mandate
from broker.tenancy.work import Work
from quotas import availability, effects, service
from quotas.effects import Effect, Standing
from quotas.errors import BadAmount, NoLender, NotCovered
from quotas.values import Limit, ResourceClass

MOST_LINES = 100
MOST_SHOWN = 50
_Key = tuple[ResourceClass, UUID | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A limit as somebody wants it. ``sub_cloud`` "": all clouds together; None: unlimited (of lending: all of it)."""

    resource_class: str
    sub_cloud: str
    limit: int | None
    borrowing: int | None = 0
    lending: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One limit before and after; None: unlimited."""

    resource_class: ResourceClass
    pool: UUID | None
    was: Limit | None
    now: Limit | None
    effects: tuple[Effect, ...]
    more: int
    """How many more are affected than are shown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What setting limits does (or would do): the lines that change something, and how everybody in them is called."""

    node: UUID
    lines: tuple[Line, ...]
    names: Mapping[UUID, str]
    codes: Mapping[UUID, str]
    """Of the sub-clouds: what they are named by in a line."""


def limits(work: Work, code: str) -> tuple[list[Limit], str]:
    """The finite limits that stand on a node itself, and a mark that changes whenever one of them does."""
    own = limits_at(work, by_hand.node_of(work.session, code, now=work.now))
    return own, _mark(own)


def limits_at(work: Work, node: UUID) -> list[Limit]:
    """The finite limits that stand on a node itself."""
    return [limit for limit in availability.snapshot(work.session, node).limits if limit.node == node]


def clouds_of(work: Work, own: Sequence[Limit]) -> list[SubCloud]:
    """The sub-clouds in service; after them retired ones in which a limit still stands, which can only be lifted."""
    there = catalog.in_service(work.session)
    gone = {limit.pool for limit in own if limit.pool is not None} - {cloud.id for cloud in there}
    return [*there, *catalog.by_id(work.session, gone)]


def may_set(work: Work) -> bool:
    """Whether a page offers it; ``look`` and ``apply`` are the guard."""
    bureau = catalog.main_authority(work.session, "decide", work.now)
    principals = work.actor.deputy_for.get(Role.APPROVER, ())
    own = Role.APPROVER in work.actor.roles and work.actor.unit_id == bureau
    return own or any(principal.unit_id == bureau for principal in principals)


def look(work: Work, code: str, wanted: Sequence[Wanted]) -> Outcome:
    """What setting the limits would do; reads only, nobody waits for it. Raises as ``apply``, but for the reason."""
    _, node = _may(work, code)
    outcome, problems = _each(work, node, wanted, _would)
    if problems:
        raise Invalid(problems)
    return outcome


def apply(work: Work, code: str, wanted: Sequence[Wanted], *, reason: str, seen: str = "") -> Outcome:
    """Set the limits, all or none, with an event for each that changed. ``seen``: the mark of ``limits`` decided on.

    Raises Forbidden unless the actor decides for the Bureau; NotFound ``quota.no_node_of_its_own``; Invalid with
    everything that is wrong (``reason.missing``, ``unit.unknown``, ``quota.no_lines``, ``quota.twice``,
    ``quota.unknown_class``, ``cloud.unknown``, ``cloud.retired``, ``quota.bad_amount``, ``quota.no_lender``,
    ``quota.not_covered``); Stale ``quota.limits_moved``. In a transaction of its own: nobody counts meanwhile.
    """
    by, node = _may(work, code)
    service.alone(work.session)
    if seen and seen != limits(work, code)[1]:
        raise Stale("quota.limits_moved")
    outcome, problems = _each(work, node, wanted, _set)
    if not reason.strip():
        problems.append(Problem("reason.missing", "reason"))
    if problems:
        raise Invalid(problems)
    for line in outcome.lines:
        data = {"class": line.resource_class.value, "pool": str(line.pool or ""), "reason": reason.strip()}
        data |= _told(line.now) | {"was": _told(line.was)}
        work.record("quota.limit_set", "node", node, mandate=by, data=data)
    return outcome


def bureau(work: Work) -> Mandate:
    """That the actor decides for the Bureau. Raises Forbidden."""
    return mandate(work.actor, Role.APPROVER, catalog.main_authority(work.session, "decide", work.now))


def _may(work: Work, code: str) -> tuple[Mandate, UUID]:
    return bureau(work), by_hand.node_of(work.session, code, now=work.now)


_Standings = tuple[dict[UUID, Standing], dict[UUID, Standing]]
"""Before and after."""


def _would(work: Work, node: UUID, key: _Key, one: Wanted) -> _Standings:
    return effects.would_be(work.session, node, *key, one.limit, borrowing=one.borrowing, lending=one.lending)


def _set(work: Work, node: UUID, key: _Key, one: Wanted) -> _Standings:
    before = effects.standings(work.session, node, *key)
    service.set_limit(work.session, node, *key, one.limit, borrowing=one.borrowing, lending=one.lending)
    return before, effects.standings(work.session, node, *key)


def _each(
    work: Work, node: UUID, wanted: Sequence[Wanted], do: Callable[[Work, UUID, _Key, Wanted], _Standings]
) -> tuple[Outcome, list[Problem]]:
    """Line by line; one that is refused changes nothing, and the others are tried all the same."""
    problems = (
        [] if 0 < len(wanted) <= MOST_LINES else [Problem("quota.no_lines", "lines", params={"most": MOST_LINES})]
    )
    clouds = {cloud.code: cloud for cloud in clouds_of(work, limits_at(work, node))}
    lines: list[Line] = []
    done: set[_Key] = set()
    for number, one in enumerate(wanted[:MOST_LINES]):
        key, wrong = _key(one, clouds, f"lines[{number}]")
        wrong += _amounts(one, f"lines[{number}]")
        if key in done:
            wrong.append(Problem("quota.twice", f"lines[{number}].resource_class"))
        if wrong or key is None:
            problems += wrong
            continue
        done.add(key)
        line = _one(work, node, key, one, do)
        if isinstance(line, Problem):
            problems.append(replace(line, field=f"lines[{number}].{line.field}"))
        elif line.was != line.now:
            lines.append(line)
    people = {node} | {effect.node for line in lines for effect in line.effects}
    met = {cloud.id: cloud for cloud in clouds.values() if any(line.pool == cloud.id for line in lines)}
    names = {**node_names(work.session, people, work.now), **{pool: cloud.name for pool, cloud in met.items()}}
    return Outcome(node, tuple(lines), names, {pool: cloud.code for pool, cloud in met.items()}), problems


def _one(
    work: Work, node: UUID, key: _Key, one: Wanted, do: Callable[[Work, UUID, _Key, Wanted], _Standings]
) -> Line | Problem:
    try:
        before, after = do(work, node, key, one)
    except NoLender:
        return Problem("quota.no_lender", "borrowing")
    except NotCovered as error:
        called = node_names(work.session, [error.node], work.now).get(error.node, str(error.node))
        params = {"limit": error.limit, "needed": error.needed, "owner": called}
        return Problem("quota.not_covered_by", "limit", params=params)
    found = effects.compared(before, after)
    was, now = before.get(node), after.get(node)
    shown, more = tuple(found[:MOST_SHOWN]), max(0, len(found) - MOST_SHOWN)
    return Line(*key, was.limit if was else None, now.limit if now else None, shown, more)


def _key(one: Wanted, clouds: Mapping[str, SubCloud], field: str) -> tuple[_Key | None, list[Problem]]:
    wrong = []
    if one.resource_class not in set(ResourceClass):
        params = {"class": one.resource_class, "classes": "、".join(ResourceClass)}
        wrong.append(Problem("quota.unknown_class", f"{field}.resource_class", params=params))
    if one.sub_cloud and one.sub_cloud not in clouds:
        wrong.append(Problem("cloud.unknown", f"{field}.sub_cloud", params={"cloud": one.sub_cloud}))
    elif one.sub_cloud and clouds[one.sub_cloud].retired_at is not None and one.limit is not None:
        wrong.append(Problem("cloud.retired", f"{field}.limit", params={"cloud": clouds[one.sub_cloud].name}))
    if wrong:
        return None, wrong
    return (ResourceClass(one.resource_class), clouds[one.sub_cloud].id if one.sub_cloud else None), wrong


def _amounts(one: Wanted, field: str) -> list[Problem]:
    wrong = []
    for name in ("limit", "borrowing", "lending"):
        amount = getattr(one, name)
        try:
            if amount is not None:
                service.whole(amount, least=0)
        except BadAmount:
            wrong.append(Problem("quota.bad_amount", f"{field}.{name}"))
    return wrong


def _told(limit: Limit | None) -> dict[str, Any]:
    if limit is None:
        return {"limit": None}
    return {"limit": limit.limit, "borrowing": limit.borrowing, "lending": limit.lending}


def _mark(own: Sequence[Limit]) -> str:
    """Long enough not to be met by chance, and made of nothing but the limits themselves."""
    told = sorted((m.resource_class.value, str(m.pool), m.limit, str(m.borrowing), str(m.lending)) for m in own)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
