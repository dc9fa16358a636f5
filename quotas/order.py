"""The one order in which locks are taken, and the guard that refuses any other before it can deadlock.

Called by: every verb of ``quotas`` that locks. Must not: lock anything itself (the SQL does), or know requests.

A transaction goes down this list and never up; then nobody who waits has what those before him need:

1. what is the caller's own (a request, a system): several rows of a kind in the order of their ids;
2. the shape of the tree (advisory lock 4): ``add_node`` shared, ``moving.alone`` for itself;
3. the gate (advisory lock 1): shared by who pins, posts or counts; for itself by ``alone`` and what changes counters;
4. the key of a post or release;
5. rows of holds, in the order of their ids (a sweep waits for none: it passes by);
6. counters: limits, deepest node first, then by number; then stock, by pool and class. **One count a transaction**, for
   the next one would begin with the deepest again;
7. prefixes (their order among themselves: ``sql/0011_b_claiming.sql``).

``alone`` has the gate for itself: nobody else is anywhere between 3 and 6, so that from there on it may count, pin and
post as it likes; 7 still comes last for whoever is not alone, and 1 comes before the gate for everybody. Callers who
share a commit (``quotas.together``) take a seat and the baton before 3 and have a transaction of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session, SessionTransaction

from quotas.errors import OutOfOrder

_KEPT = "quotas.order"


@dataclass(slots=True)
class _Way:
    """How far down the list a transaction is. A savepoint that was rolled back does not bring it up again."""

    root: SessionTransaction
    tree: int = 0
    """1: nodes were made; 2: nobody else makes or moves one."""
    alone: bool = False
    gate: bool = False
    hold: UUID | None = None
    counted: bool = False
    prefixes: bool = False


def _way(session: Session) -> _Way:
    root = session.get_transaction() or session.begin()
    way: _Way | None = session.info.get(_KEPT)
    if way is None or way.root is not root:
        way = session.info[_KEPT] = _Way(root)
    return way


def grow_tree(session: Session) -> None:
    """Before a node is made. Raises OutOfOrder: the gate was passed, and the tree not before it."""
    way = _way(session)
    if not way.tree and (way.gate or way.prefixes):
        raise OutOfOrder("a node is made before anything is counted, pinned or posted")
    way.tree = max(way.tree, 1)


def reshape(session: Session) -> None:
    """Before the tree and the gate are taken for itself. Raises OutOfOrder: anything of the list was begun."""
    way = _way(session)
    if way.tree < 2:
        _no_savepoint(session)
    if way.tree < 2 and (way.tree or way.gate or way.prefixes):
        raise OutOfOrder("whoever moves nodes begins with moving.alone")
    way.tree, way.alone, way.gate = 2, True, True


def alone(session: Session) -> None:
    """Before the gate is taken for itself. Raises OutOfOrder: something was counted, pinned, posted or allocated."""
    way = _way(session)
    if not way.alone:
        _no_savepoint(session)
    if not way.alone and (way.gate or way.prefixes):
        raise OutOfOrder("alone comes before the first count, pin, post or prefix of a transaction")
    way.alone = way.gate = True


def set_counters(session: Session) -> None:
    """Before a limit or stock is set, which may take the gate for itself. Raises OutOfOrder as ``alone``."""
    way = _way(session)
    if not way.alone and (way.gate or way.prefixes):
        raise OutOfOrder("a limit or stock is set in a transaction of its own, or after alone")
    way.gate = way.counted = True


def touch(session: Session, hold: UUID) -> None:
    """Before a hold is pinned or posted. Raises OutOfOrder: after a count, a prefix or a hold with a later id."""
    way = _way(session)
    if not way.alone:
        if way.counted or way.prefixes:
            raise OutOfOrder(f"{hold} is pinned or posted before the transaction counts or allocates, or after alone")
        _in_order(way, hold)
    way.gate = True


def count(session: Session, hold: UUID | None = None) -> None:
    """Before a count (``hold``: which gives that one back). Raises OutOfOrder: the second one, or as ``touch``."""
    way = _way(session)
    if not way.alone:
        if way.counted or way.prefixes:
            raise OutOfOrder("a second count, or one after a prefix: call alone before the first")
        if hold is not None:
            _in_order(way, hold)
    way.gate = way.counted = True


def prefixes(session: Session) -> bool:
    """Before a prefix is taken, turned or swept. Whether the transaction keeps others from counting meanwhile."""
    way = _way(session)
    way.prefixes = True
    return way.counted or way.alone


def _no_savepoint(session: Session) -> None:
    """An advisory lock goes with the savepoint in which it was taken; the way would go on believing in it."""
    if session.in_nested_transaction():
        raise OutOfOrder("who wants to be alone is so before the first savepoint")


def _in_order(way: _Way, hold: UUID) -> None:
    if way.hold is not None and hold < way.hold:
        raise OutOfOrder(f"{hold} after {way.hold}: holds are taken in the order of their ids")
    way.hold = hold
