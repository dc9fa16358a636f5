"""Hold, pin, post, void, release, sweep; and the recount. One SQL statement each. Reading: ``quotas.availability``.

Called by: the broker's assessment, delivery, reclamation, workflows and command line, with a session whose transaction
is theirs. Must not: commit, know requests or clouds, decide in Python what the SQL counts.

**One counting call a transaction** (``hold``, ``void``, ``release``, ``sweep``) cannot deadlock with any other. A
use-case that needs more of them calls ``alone`` first: nobody else counts until it ends, so be quick. To change a hold
for another in one go, use ``hold(..., replaces=...)``. ``pin`` and ``post`` come before that one call, in the order of
the holds' ids; prefixes come after it. ``set_limit`` and ``set_inventory`` wait for all counting transactions where a
counter appears or goes (unlimited to finite and back): in a transaction of their own, or after ``alone``. Whoever does
otherwise gets ``OutOfOrder`` before anything is locked: the whole order stands in ``quotas.order``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from quotas import models, order
from quotas.errors import (
    BadAmount,
    HoldConflict,
    HoldGone,
    KeyReused,
    NodeElsewhere,
    NoLender,
    NotCovered,
    NotThatMuch,
    NotYours,
    QuotaExceeded,
    Short,
    UnknownHold,
    UnknownNode,
)
from quotas.values import (
    MAX_AMOUNT,
    Cause,
    Difference,
    Line,
    Refusal,
    ResourceClass,
    Swept,
)

ADD_NODE = text("SELECT quotas.add_node(CAST(:id AS uuid), CAST(:parent AS uuid))")
SET_LIMIT = text(
    "SELECT quotas.set_limit(:node, :class, CAST(:pool AS uuid), CAST(:limit AS bigint),"
    " CAST(:borrowing AS bigint), CAST(:lending AS bigint))"
)
SET_INVENTORY = text(
    "SELECT quotas.set_inventory(:pool, :class, CAST(:total AS bigint), CAST(:reserved AS bigint),"
    " CAST(:ratio AS numeric), CAST(:step AS bigint))"
)
HOLD = "SELECT quotas.hold(%s, %s, %s, %s, %s, %s, %s, %s)"
HOLD_BELOW = "SELECT quotas.hold(%s, %s, quotas.lowest(ARRAY[%s::uuid, %s::uuid]), %s, %s, %s, %s, %s)"
PIN = text("SELECT quotas.pin(:hold, CAST(:now AS timestamptz))")
POST = text(
    "SELECT quotas.post(:hold, :key, CAST(:classes AS text[]), CAST(:pools AS uuid[]), CAST(:amounts AS bigint[]),"
    " CAST(:now AS timestamptz))"
)
VOID = text("SELECT quotas.void(:hold)")
RELEASE = text(
    "SELECT quotas.release(:hold, :key, CAST(:classes AS text[]), CAST(:pools AS uuid[]), CAST(:amounts AS bigint[]))"
)
SWEEP = text("SELECT hold_id, owner, node_id, lines FROM quotas.sweep(:now, :limit, CAST(:only AS uuid[]))")
ALONE = text("SELECT quotas.count_alone()")
VERIFY = text("SELECT what, id, kept, recounted FROM quotas.verify()")


def whole(amount: Decimal | int, *, least: int = 1) -> int:
    """The amount as a whole number from ``least`` to ``MAX_AMOUNT``. BadAmount: fractional, too small or too large."""
    if isinstance(amount, bool) or (isinstance(amount, Decimal) and not amount.is_finite()):
        raise BadAmount(f"{amount} is not a number")
    if not least <= amount <= MAX_AMOUNT:
        raise BadAmount(f"{amount} is not between {least} and {MAX_AMOUNT}")
    if amount != amount // 1:
        raise BadAmount(f"{amount} is not a whole number")
    return int(amount)


def ratio(given: Decimal | int) -> Decimal:
    """An allocation ratio, above 0 and below 10,000 with at most four decimals: as it is kept. BadAmount."""
    found = Decimal(given)
    # Signed zeros and exponents are fine; what the column would round is not.
    if not found.is_finite() or not 0 < found < 10**4 or found != found.quantize(Decimal("0.0001")):
        raise BadAmount(f"allocation ratio {given} is not between 0.0001 and 9999.9999 with at most four decimals")
    return found


def columns(lines: Sequence[Line] | None) -> dict[str, list[Any] | None]:
    """Lines as three arrays; several lines of one class and pool count together."""
    if lines is None:
        return {"classes": None, "pools": None, "amounts": None}
    if not lines:
        raise BadAmount("no lines")
    sums: defaultdict[tuple[str, UUID], int] = defaultdict(int)
    for line in lines:
        sums[ResourceClass(line.resource_class).value, line.pool] += whole(line.amount)
    return {
        "classes": [kind for kind, _ in sums],
        "pools": [pool for _, pool in sums],
        "amounts": [whole(amount) for amount in sums.values()],
    }


def parameters(hold_id: UUID, owner: UUID, node: UUID, lines: Sequence[Line], expires_at: datetime) -> tuple[str, ...]:
    """What a hold is asked with, written as PostgreSQL reads it: a driver takes a quarter of the CPU to write arrays.

    Nothing needs quoting: class codes, ids and whole numbers. BadAmount: as ``columns``.
    """
    arrays = ("{" + ",".join(map(str, values or ())) + "}" for values in columns(lines).values())
    return (str(hold_id), str(owner), str(node), *arrays, expires_at.isoformat())


def add_node(session: Session, *, id: UUID, parent_id: UUID | None) -> None:  # noqa: A002 - what it is called everywhere
    """Put a node below its parent (None: a root). Again: nothing happens. UnknownNode: no parent; NodeElsewhere."""
    order.grow_tree(session)
    outcome = session.scalar(ADD_NODE, {"id": id, "parent": parent_id})
    if outcome == "no_parent":
        raise UnknownNode(str(parent_id))
    if outcome == "elsewhere":
        raise NodeElsewhere(str(id))


def set_limit(
    session: Session,
    node_id: UUID,
    resource_class: ResourceClass,
    pool_id: UUID | None,
    limit: int | None,
    *,
    borrowing: int | None = 0,
    lending: int | None = None,
) -> None:
    """What a node and all below it may use of a class, in one pool or (None) in all together. None: unlimited.

    ``borrowing`` beyond it while the limit above has room (None: whatever there is); of what it does not use,
    ``lending`` may be used by others (None: all). May be set below what is used; then only shrinking passes.
    UnknownNode, BadAmount, NoLender (a root borrows), NotCovered (what is guaranteed would not fit into a limit above,
    or the limit not cover what is guaranteed below it).
    """
    values = {
        "node": node_id,
        "class": ResourceClass(resource_class).value,
        "pool": pool_id,
        "limit": None if limit is None else whole(limit, least=0),
        "borrowing": None if borrowing is None else whole(borrowing, least=0),
        "lending": None if lending is None else whole(lending, least=0),
    }
    order.set_counters(session)
    answer: Mapping[str, Any] = session.scalars(SET_LIMIT, values).one()
    match answer["outcome"]:
        case "no_node":
            raise UnknownNode(str(node_id))
        case "no_lender":
            raise NoLender(str(node_id))
        case "not_covered":
            raise NotCovered(UUID(answer["node_id"]), answer["limit"], answer["needed"])


def set_inventory(
    session: Session,
    pool_id: UUID,
    resource_class: ResourceClass,
    *,
    total: int | None,
    reserved: int = 0,
    allocation_ratio: Decimal | int = 1,
    step: int = 1,
) -> None:
    """What a pool has of a class: ``floor((total - reserved) * allocation_ratio)`` may be handed out, in whole steps.

    ``total`` None: it has the class and something else bounds it. A class that was never set is not offered. BadAmount:
    also a ratio that would be rounded, or what may be handed out beyond ``MAX_AMOUNT``.
    """
    values = {
        "pool": pool_id,
        "class": ResourceClass(resource_class).value,
        "total": None if total is None else whole(total, least=0),
        "reserved": whole(reserved, least=0),
        "ratio": ratio(allocation_ratio),
        "step": whole(step),
    }
    if total is not None and max(total - reserved, 0) * Decimal(allocation_ratio) > MAX_AMOUNT:
        raise BadAmount(f"{total} times {allocation_ratio} is more than {MAX_AMOUNT}")
    order.set_counters(session)
    session.execute(SET_INVENTORY, values)


def hold(
    session: Session,
    *,
    owner: UUID,
    node: UUID,
    lines: Sequence[Line],
    expires_at: datetime,
    below: UUID | None = None,
    replaces: UUID | None = None,
    hold_id: UUID | None = None,
) -> UUID:
    """Count the lines on every limit from the node to the root and on the pools' stock, all or nothing; the hold's id.

    ``below``: a node below ``node`` at which to count instead, if there is one. ``replaces``: void what that hold of
    the same owner still holds in the same count, so that only the difference is asked for. ``hold_id``: an id of the
    caller's; the same call again counts once. What replaces a pinned hold is pinned. QuotaExceeded (all refusals,
    nothing changed), HoldGone (the hold of that id, or the one to replace, is over), UnknownNode, UnknownHold,
    NotYours, HoldConflict, BadAmount.
    """
    made = hold_id or uuid7()
    values = (*parameters(made, owner, node, lines, expires_at), None if replaces is None else str(replaces))
    statement = HOLD
    if below is not None:
        statement, values = HOLD_BELOW, (*values[:2], str(below), *values[2:])
    order.count(session, replaces)
    granted(session.connection().exec_driver_sql(statement, values).scalar_one(), made, node, replaces)
    return made


def granted(answer: Mapping[str, Any], made: UUID, node: UUID, replaces: UUID | None = None) -> datetime | None:
    """Raise what the SQL's answer to a hold says, if it was not granted. The date of one that was there before."""
    match answer["outcome"]:
        case "refused":
            raise QuotaExceeded([refusal(found) for found in answer["refused"]])
        case "no_node":
            raise UnknownNode(str(node))
        case "conflict":
            raise HoldConflict(str(made))
        case "gone":
            raise HoldGone(UUID(answer["hold_id"]), answer["state"])
        case "bad_amount":
            raise BadAmount(str(made))
        case "unknown" if replaces is not None:
            raise UnknownHold(replaces)
        case "not_yours":
            raise NotYours(str(replaces))
    return datetime.fromisoformat(answer["expires_at"]) if "expires_at" in answer else None


def refusal(found: Mapping[str, Any]) -> Refusal:
    """A counter that refuses, as the SQL tells it."""
    return Refusal(
        cause=Cause(found["cause"]),
        node=None if found["node_id"] is None else UUID(found["node_id"]),
        resource_class=ResourceClass(found["resource_class"]),
        pool=None if found["pool_id"] is None else UUID(found["pool_id"]),
        limit=found["limit"],
        used=found["used"],
        asked=found["asked"],
    )


def pin(session: Session, hold_id: UUID, *, now: datetime | None = None) -> None:
    """From now on the hold does not expire. Again, or when all is posted: no harm. HoldGone (overdue counts as gone).

    ``now``: the instant at which "overdue" is judged; default the database's clock.
    """
    order.touch(session, hold_id)
    state = session.scalar(PIN, {"hold": hold_id, "now": now})
    if state == "unknown":
        raise UnknownHold(hold_id)
    if state != "ok":
        raise HoldGone(hold_id, str(state))


def post(
    session: Session,
    hold_id: UUID,
    lines: Sequence[Line] | None = None,
    *,
    key: UUID | None = None,
    now: datetime | None = None,
) -> int | None:
    """What was held is now used. None: all that is held. The same ``key`` twice has effect once; a part needs one.

    How many lines were moved; None: the key had moved them before. HoldGone, NotThatMuch (nothing is posted then),
    KeyReused, UnknownHold, BadAmount.
    """
    if lines is not None and key is None:
        raise BadAmount("posting a part needs a key, or a repeated call would post it twice")
    values = {"hold": hold_id, "key": key or uuid4(), "now": now} | columns(lines)
    order.touch(session, hold_id)
    return _settled(hold_id, session.scalars(POST, values).one())


def void(session: Session, hold_id: UUID) -> tuple[Line, ...]:
    """Give back what is still held; what is posted stays. Again, or after an expiry: no harm. UnknownHold.

    What this very call gave back.
    """
    order.count(session, hold_id)
    answer: Mapping[str, Any] = session.scalars(VOID, {"hold": hold_id}).one()
    if answer["outcome"] == "unknown":
        raise UnknownHold(hold_id)
    return tuple(
        Line(ResourceClass(line["resource_class"]), line["amount"], UUID(line["pool_id"])) for line in answer["given"]
    )


def release(session: Session, *, key: UUID, hold_id: UUID, lines: Sequence[Line] | None = None) -> int | None:
    """Give back what was posted (None: all of it). The same ``key`` twice has effect once; answers as ``post``.

    NotThatMuch (nothing is released then), KeyReused, UnknownHold, BadAmount.
    """
    values = {"hold": hold_id, "key": key} | columns(lines)
    order.count(session, hold_id)
    return _settled(hold_id, session.scalars(RELEASE, values).one())


def _settled(hold_id: UUID, answer: Mapping[str, Any]) -> int | None:
    match answer["outcome"]:
        case "gone":
            raise HoldGone(hold_id, answer["state"])
        case "unknown":
            raise UnknownHold(hold_id)
        case "key_reused":
            raise KeyReused(str(hold_id))
        case "bad_amount":
            raise BadAmount(str(hold_id))
        case "short":
            raise NotThatMuch(
                [
                    Short(ResourceClass(s["resource_class"]), UUID(s["pool_id"]), s["asked"], s["there"])
                    for s in answer["short"]
                ]
            )
    moved: int | None = answer["moved"]
    return moved


def alone(session: Session) -> None:
    """Nobody else counts, pins or posts until this transaction ends; for one that counts more than once. OutOfOrder.

    Comes before its first count, pin, post or prefix, and after what it locks of its own (``quotas.order``).
    """
    order.alone(session)
    session.execute(ALONE)


def due(session: Session, now: datetime, limit: int = 100) -> dict[UUID, UUID]:
    """The holds that a sweep would expire, the longest overdue first, each with its owner."""
    h = models.hold
    overdue = select(h.c.id, h.c.owner).where(h.c.state == "held", h.c.expires_at <= now)
    return {row.id: row.owner for row in session.execute(overdue.order_by(h.c.expires_at).limit(limit))}


def sweep(session: Session, now: datetime, limit: int = 100, *, only: Iterable[UUID] | None = None) -> list[Swept]:
    """Expire holds (``only``: of these) that are due at ``now`` and not pinned, at most ``limit``.

    Those in use wait for the next sweep.
    """
    values = {"now": now, "limit": limit, "only": None if only is None else list(only)}
    order.count(session)
    return [
        Swept(
            hold=row.hold_id,
            owner=row.owner,
            node=row.node_id,
            lines=tuple(
                Line(ResourceClass(line["resource_class"]), line["amount"], UUID(line["pool_id"])) for line in row.lines
            ),
        )
        for row in session.execute(SWEEP, values)
    ]


def verify(session: Session) -> list[Difference]:
    """Recount every counter and line from the rows it stands for; empty when all agree. May run beside writers."""
    return [Difference(row.what, row.id, str(row.kept), str(row.recounted)) for row in session.execute(VERIFY)]
