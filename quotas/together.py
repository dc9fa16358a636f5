"""A hold of its own transaction, counted together with those of everybody else who waits: the fast way.

Called by: who holds and does nothing else in the same transaction (the command line, programs); from any number of
processes and machines. Must not: be called with a session: it commits. A use-case that holds *and* writes calls
``quotas.service.hold``, which counts on the same rows. How and why: ``quotas/sql/0018_b_together.sql``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg import errors as postgres
from psycopg.pq import DiagnosticField, ExecStatus
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError
from uuid_utils.compat import uuid7

from quotas.service import HOLD, granted, parameters
from quotas.values import Granted, Line

TRIES = 5

_PREPARED = b"CALL quotas.hold_together($1, $2, $3, $4, $5, $6, $7, NULL)"
_NAME = b"quotas_hold_together"
_FORGOTTEN = b"26000"
"""There is no such prepared statement: the driver has forgotten all of the connection's after a rollback."""
_OK = b'{"outcome": "ok"}'
_GRANTED = {"outcome": "ok"}

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Before:
    """What the caller writes before the hold, in the same round trip: committed before the hold is counted.

    ``call``: a procedure of the caller's, prepared as ``name``, with a hold's seven parameters first and ``values``
    after them, which writes and then calls ``quotas.hold_together`` (whose first commit is of what was written).
    ``write``: the same for who asks again by himself; once more does no harm.
    """

    name: bytes
    call: bytes
    values: tuple[str | None, ...]
    write: Callable[[Connection], object]


_ALONE = Before(_NAME, _PREPARED, (), lambda _: None)


def ask(
    connection: psycopg.Connection[Any],
    known: MutableMapping[Any, Any],
    values: Sequence[str],
    before: Before = _ALONE,
) -> Answer | None:
    """One round trip with nothing between the caller and the driver's library; None: something went wrong, ask again.

    That costs a caller half of what a cursor does. ``known`` belongs to the connection and remembers what is prepared
    on it. The connection must not be in a transaction. A signal waits for the answer; the server's statement timeout is
    what ends a call that takes too long.
    """
    library = connection.pgconn
    given = [value if value is None else value.encode() for value in (*values, *before.values)]
    for _ in range(2):
        if before.name not in known:
            if library.prepare(before.name, before.call).status != ExecStatus.COMMAND_OK:
                return None
            known[before.name] = True
        result = library.exec_prepared(before.name, given)  # type: ignore[arg-type] # None is NULL, its types forget
        if result.error_field(DiagnosticField.SQLSTATE) != _FORGOTTEN:
            break
        del known[before.name]  # nothing was called yet
    if result.status != ExecStatus.TUPLES_OK:
        return None
    answer = result.get_value(0, 0)
    return _GRANTED if answer == _OK else json.loads(answer or b"{}")


def hold(
    engine: Engine,
    *,
    owner: UUID,
    node: UUID,
    lines: Sequence[Line],
    expires_at: datetime,
    hold_id: UUID | None = None,
    before: Before = _ALONE,
) -> Granted:
    """As ``quotas.service.hold`` without ``replaces``; one round trip, durable before it returns; the same errors.

    What the database did not answer (a connection that is gone), or what nobody could count in a group, is asked again
    by itself, with the same id, which counts once; so its errors are SQLAlchemy's.
    """
    made = hold_id or uuid7()
    values = parameters(made, owner, node, lines, expires_at)
    lent = engine.raw_connection()
    answer = None
    try:
        answer = ask(cast("psycopg.Connection[Any]", lent.driver_connection), lent.info, values, before)
    except psycopg.Error:
        pass
    finally:
        if answer is None:
            lent.invalidate()  # broken, or stopped in the middle
        lent.close()
    if answer is None or answer["outcome"] == "failed":
        answer = _alone(engine, values, before)
    return Granted(made, granted(answer, made, node) or expires_at)


def _alone(engine: Engine, values: tuple[str, ...], before: Before) -> Answer:
    for tried in range(1, TRIES + 1):
        try:
            with engine.begin() as connection:
                before.write(connection)
                return connection.exec_driver_sql(HOLD, (*values, None)).scalar_one()  # type: ignore[no-any-return]
        except OperationalError as error:
            if tried == TRIES or not isinstance(error.orig, postgres.DeadlockDetected):
                raise
    raise AssertionError("unreachable")
