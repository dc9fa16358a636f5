"""Keeps a repair on the routers and a delivery or release of the same segment apart, without a transaction held open.

Called by: ``extranet.drift`` (``repairing``), ``delivery.routing`` (``under_repair``). Must not: call a router.

A repair takes a lock for each segment that it acts on, on a connection of its own, and only then reads what rows say.
A delivery or release first commits where it goes (a place, ``releasing``), and asks in a transaction whether somebody
repairs. So either the repair sees the row and leaves the segment alone, or the step sees the repair and comes again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

_CLASS = 0x6774_6762
_TAKE = text(
    "SELECT pg_advisory_lock(:c, k) FROM (SELECT hashtext(i) AS k FROM unnest(CAST(:ids AS text[])) i ORDER BY k) s"
)
_TRY = text("""
SELECT i FROM unnest(CAST(:ids AS text[])) i WHERE NOT pg_try_advisory_xact_lock_shared(:c, hashtext(i))
""")


@contextmanager
def repairing(sessions: sessionmaker[Session], ids: Collection[UUID]) -> Iterator[None]:
    """Nobody else repairs these segments meanwhile, and their deliveries and releases come again later.

    The connection is closed afterwards, and with it the locks go, also when this process is lost.
    """
    with sessions() as session:
        engine = session.get_bind().engine
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()
        connection.execute(text("SET statement_timeout = 0"))  # another's repair ends: its runs have a limit
        connection.execute(_TAKE, {"c": _CLASS, "ids": [str(i) for i in ids]})
        yield


def under_repair(session: Session, ids: Collection[UUID]) -> set[UUID]:
    """Which of these segments somebody repairs now; nobody begins to repair the others before the transaction's end."""
    found = session.scalars(_TRY, {"c": _CLASS, "ids": [str(i) for i in ids]}) if ids else ()
    return {UUID(i) for i in found}
