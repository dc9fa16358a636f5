"""Make pools, hand out prefixes and take them back; the plan; and the check that nothing overlaps.

Called by: the broker's assessment, delivery, reclamation, workflows and command line, with a session whose transaction
is theirs. Must not: commit, know requests or clouds, choose a prefix in Python.

Every verb is one SQL statement. Prefixes that are given out overlap nothing in their routing domain: the database
excludes it. Where a transaction also counts quota, it counts first (``quotas.order``, which refuses anything else).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv6Interface, IPv6Network
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from quotas import models, order
from quotas.errors import (
    BadPrefix,
    HasAnother,
    PoolFull,
    PrefixBusy,
    PrefixGone,
    PrefixOverlap,
    QuotaError,
    UnknownPool,
)
from quotas.ipv6.values import LIVE, Allocation, Layout, Level, PlanNode, PrefixState, SweptPrefix, Wish, Zone
from quotas.values import Difference

UNIQUE_LOCAL = IPv6Network("fc00::/7")
"""RFC 4193: departments may use the same, each in a private zone of its own; anywhere else two plans would overlap."""

ENSURE_POOL = text(
    "SELECT quotas.ensure_pool(:id, CAST(:parent AS uuid), :level, :zone, :domain, CAST(:prefix AS cidr), :hands_out)"
)
CARVE = text("SELECT quotas.carve(:id, :parent, :level, :length, :hands_out)")
# Given to the driver as it is written (exec_driver_sql), which spares the client a sixth of its time.
ALLOCATE = (
    "SELECT quotas.allocate(%(id)s, %(pool)s, %(owner)s, %(length)s::int, %(until)s::timestamptz, %(state)s, %(label)s)"
)
ALLOCATE_MANY = text("SELECT quotas.allocate_many(CAST(:wishes AS jsonb))")
TURN = text("SELECT quotas.turn(:owner, :what, CAST(:at AS timestamptz))")
SWEEP = text("SELECT id, owner, prefix, was FROM quotas.sweep_prefixes(:now, :limit)")
VERIFY = text("SELECT what, id, detail FROM quotas.verify_prefixes()")

PAUSES_S = (0.02, 0.06, 0.18)
"""Between tries where others have not committed what is in the way: some flushes, a statement, a transaction."""
PATIENCE_S = 0.5
"""A try that took longer has waited by itself."""


def ensure_pool(
    session: Session,
    *,
    id: UUID,  # noqa: A002 - what it is called everywhere
    zone: Zone,
    routing_domain: str,
    prefix: IPv6Network | str,
    parent_id: UUID | None = None,
    level: str = Level.UNIT,
    hands_out: bool = True,
) -> None:
    """Have a pool with exactly this prefix. Again: nothing happens.

    A pool either hands out prefixes (``hands_out``) or has child pools, never both. UnknownPool: no such parent;
    PrefixOverlap: with another pool of the routing domain, a reservation, or (unless both are unique local space of
    private domains, RFC 4193) another plan's space; BadPrefix: IPv4, unique local outside a private zone, longer than
    /64, outside the parent, another zone than the routing domain's, or a pool of this id that is different.
    """
    network = network_of(prefix)
    values = {
        "id": id,
        "parent": parent_id,
        "level": level,
        "zone": Zone(zone).value,
        "domain": routing_domain,
        "prefix": str(network),
        "hands_out": hands_out,
    }
    if not routing_domain:
        raise BadPrefix("no_routing_domain")
    if zone != Zone.PRIVATE and network.overlaps(UNIQUE_LOCAL):
        raise BadPrefix("unique_local", str(network))
    _made(str(session.scalar(ENSURE_POOL, values)), parent_id, str(network))


def carve(
    session: Session,
    *,
    id: UUID,  # noqa: A002 - what it is called everywhere
    parent_id: UUID,
    level: str,
    length: int | None = None,
    hands_out: bool = False,
    layout: Layout | None = None,
) -> None:
    """Have a child pool below a parent, at the sparsest free place, of ``length`` or the level's. Idempotent.

    UnknownPool: no such parent; PoolFull: no room below it; BadPrefix: the length does not fit.
    """
    size = (layout or Layout()).lengths[Level(level)] if length is None else length
    values = {"id": id, "parent": parent_id, "level": level, "length": size, "hands_out": hands_out}
    outcome = str(session.scalar(CARVE, values))
    if outcome == "full":
        raise PoolFull(parent_id, size, None)
    _made(outcome, parent_id, f"/{size}")


def network_of(prefix: IPv6Network | str) -> IPv6Network:
    """A prefix that a pool may have. BadPrefix: not_ipv6, host_bits, too_long, too_short."""
    try:
        network = IPv6Network(prefix, strict=False)
        if network != IPv6Interface(prefix).network or str(prefix).isdecimal():
            raise BadPrefix("not_ipv6", str(prefix))
    except ValueError as error:
        raise BadPrefix("not_ipv6", str(prefix)) from error
    if isinstance(prefix, str) and IPv6Interface(prefix).ip != network.network_address:
        raise BadPrefix("host_bits", prefix)
    if not 8 <= network.prefixlen <= 64:
        raise BadPrefix("too_long" if network.prefixlen > 64 else "too_short", str(prefix))
    return network


def _made(outcome: str, parent_id: UUID | None, detail: str) -> None:
    match outcome:
        case "ok":
            return
        case "no_parent":
            raise UnknownPool(str(parent_id))
        case "overlaps" | "reserved":
            raise PrefixOverlap(detail)
        case "bad_length":
            raise BadPrefix("too_short", detail)
        case _:
            raise BadPrefix(outcome, detail)


def allocate(
    session: Session,
    *,
    pool_id: UUID,
    owner: UUID,
    length: int = 64,
    expires_at: datetime | None,
    active: bool = False,
    label: str = "",
) -> Allocation:
    """Hold a free prefix for an owner until ``expires_at`` (None: pinned at once), or have it ``active`` at once.

    The same owner again: the same prefix, and a hold that was not pinned takes the new date. PoolFull says what would
    fit; PrefixBusy: others are taking what is left, and after some tries have neither committed nor given it up (who
    has counted before is told at once, for others wait for his counters: he begins anew);
    BadPrefix: the length is not the pool's; HasAnother; UnknownPool.
    """
    wish = Wish(pool_id, owner, length, expires_at, active, label)
    asked = _values(wish)
    tries = 1 if order.prefixes(session) else 1 + len(PAUSES_S)
    connection = session.connection()
    answer = patiently(lambda: connection.exec_driver_sql(ALLOCATE, asked).scalar_one(), tries)
    return _allocated(answer, wish, asked)


def patiently(ask: Callable[[], Mapping[str, Any]], tries: int = 1 + len(PAUSES_S)) -> Mapping[str, Any]:
    """The answer of a statement that is made again, a few times, while it is "busy": each sees what others commit."""
    begun = monotonic()
    answer = ask()
    for pause in PAUSES_S[: tries - 1]:
        if answer["outcome"] != "busy" or monotonic() - begun > PATIENCE_S:
            break
        sleep(pause)
        answer = ask()
    return answer


def allocate_many(session: Session, wishes: Sequence[Wish]) -> list[Allocation | QuotaError]:
    """The same for many owners in one round trip; each gets his answer, or the error that ``allocate`` would raise.

    Nobody is asked for again: who was answered PrefixBusy is to try by himself.
    """
    rows = [_values(wish) for wish in wishes]
    order.prefixes(session)
    answers = session.scalars(ALLOCATE_MANY, {"wishes": json.dumps(rows, default=str)}).all()
    found: list[Allocation | QuotaError] = []
    for wish, asked, answer in zip(wishes, rows, answers, strict=True):
        try:
            found.append(_allocated(answer, wish, asked))
        except QuotaError as error:
            found.append(error)
    return found


def _values(wish: Wish) -> dict[str, Any]:
    state = PrefixState.ACTIVE if wish.active else PrefixState.HELD
    return {
        "id": uuid7(),
        "pool": wish.pool_id,
        "owner": wish.owner,
        "length": wish.length,
        "until": None if wish.active else wish.expires_at,
        "state": state.value,
        "label": wish.label,
    }


def _allocated(answer: Mapping[str, Any], wish: Wish, asked: Mapping[str, Any]) -> Allocation:
    match answer["outcome"]:
        case "full":
            raise PoolFull(wish.pool_id, wish.length, answer["fits"])
        case "busy":
            raise PrefixBusy(str(wish.pool_id))
        case "bad_length":
            raise BadPrefix("too_long" if wish.length > 64 else "too_short", f"/{wish.length}")
        case "hands_out_nothing":
            raise BadPrefix("hands_out_nothing", str(wish.pool_id))
        case "no_pool":
            raise UnknownPool(str(wish.pool_id))
        case "has_another":
            raise HasAnother(wish.owner, answer["prefix"])
        case "new":
            return Allocation(
                id=asked["id"],
                pool=wish.pool_id,
                owner=wish.owner,
                prefix=IPv6Network(answer["prefix"]),
                routing_domain=answer["routing_domain"],
                zone=Zone(answer["zone"]),
                state=PrefixState(asked["state"]),
                until=asked["until"],
                label=wish.label,
            )
    return allocation_of(answer)


def allocation_of(answer: Mapping[str, Any]) -> Allocation:
    """What the database answers, as a value."""
    until = answer["until"]
    return Allocation(
        id=UUID(answer["id"]),
        pool=UUID(answer["pool_id"]),
        owner=UUID(answer["owner"]),
        prefix=IPv6Network(answer["prefix"]),
        routing_domain=answer["routing_domain"],
        zone=Zone(answer["zone"]),
        state=PrefixState(answer["state"]),
        until=None if until is None else datetime.fromisoformat(until),
        label=answer["label"],
    )


def _turn(session: Session, owner: UUID, what: str, at: datetime | None) -> Allocation | None:
    order.prefixes(session)
    answer = session.scalars(TURN, {"owner": owner, "what": what, "at": at}).one()
    return None if answer is None else allocation_of(answer)


def pin(session: Session, owner: UUID, *, now: datetime | None = None) -> Allocation:
    """From now on the owner's hold does not expire. Again, or when active: no harm. PrefixGone (overdue counts)."""
    found = _turn(session, owner, "pin", now)
    if found is None or found.state not in {PrefixState.HELD, PrefixState.ACTIVE} or found.until is not None:
        raise PrefixGone(owner, "unknown" if found is None else "overdue" if found.until else found.state)
    return found


def activate(session: Session, owner: UUID, *, now: datetime | None = None) -> Allocation:
    """The owner's prefix is in use. Again: no harm. PrefixGone (an overdue hold counts as gone)."""
    found = _turn(session, owner, "activate", now)
    if found is None or found.state is not PrefixState.ACTIVE:
        overdue = found is not None and found.state is PrefixState.HELD
        raise PrefixGone(owner, "unknown" if found is None else "overdue" if overdue else found.state)
    return found


def cancel(session: Session, owner: UUID) -> Allocation | None:
    """A prefix that was only held is free at once. Nothing there, or active: nothing happens."""
    return _turn(session, owner, "cancel", None)


def release(session: Session, owner: UUID, quarantine_until: datetime) -> Allocation | None:
    """An active prefix rests until the date, then may be reused. Again, or nothing there: nothing happens."""
    return _turn(session, owner, "release", quarantine_until)


def sweep(session: Session, now: datetime, limit: int = 1000) -> list[SweptPrefix]:
    """Free the holds that expired and the quarantines that ended at ``now``, at most ``limit``."""
    order.prefixes(session)
    return [
        SweptPrefix(row.id, row.owner, row.prefix, PrefixState(row.was))
        for row in session.execute(SWEEP, {"now": now, "limit": limit})
    ]


def plan(session: Session, root_id: UUID | None = None) -> list[PlanNode]:
    """The pools, parents before children and in order of address, each with what is in use in it and below."""
    p, d, a = models.prefix_pool, models.routing_domain, models.prefix_allocation
    use = (
        select(a.c.pool_id, func.count().label("live"), func.sum(a.c.count_64).label("live_64"))
        .where(a.c.state.in_(LIVE))
        .group_by(a.c.pool_id)
        .subquery()
    )
    rows = session.execute(
        select(p, d.c.zone, d.c.code, func.coalesce(use.c.live, 0), func.coalesce(use.c.live_64, 0))
        .join(d, d.c.id == p.c.domain_id)
        .outerjoin(use, use.c.pool_id == p.c.id)
        .order_by(p.c.depth.desc(), p.c.prefix)
    ).all()
    parents = {row.id: row.parent_id for row in rows}
    below: defaultdict[UUID, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:  # deepest first: a pool is complete before its parent is met
        own = below[row.id]
        own[0] += int(row[-2])
        own[1] += int(row[-1])
        if row.parent_id is not None:
            below[row.parent_id][0] += own[0]
            below[row.parent_id][1] += own[1]
    nodes = [
        PlanNode(
            row.id, row.parent_id, row.depth, row.level, Zone(row.zone), row.code, row.prefix, row.hands_out,
            *below[row.id],
        )
        for row in rows
        if root_id is None or _within(parents, row.id, root_id)
    ]  # fmt: skip
    return sorted(nodes, key=lambda node: (node.depth, node.routing_domain, node.prefix))


def _within(parents: Mapping[UUID, UUID | None], pool: UUID, root: UUID) -> bool:
    at: UUID | None = pool
    while at is not None and at != root:
        at = parents[at]
    return at == root


def verify(session: Session) -> list[Difference]:
    """Recount from rows whatever must not be, and look whether the constraints that forbid it still stand.

    Overlaps, what lies outside its pool or parent, space shared by zones, owners with two prefixes, wrong cursors.
    """
    return [Difference(row.what, row.id, row.detail, "") for row in session.execute(VERIFY)]
