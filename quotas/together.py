"""A hold of its own transaction, counted together with those of everybody else who waits: the fast way.

Called by: who holds and does nothing else in the same transaction (the command line, programs); from any number of
processes and machines. Must not: be called with a session: it commits. A use-case that holds *and* writes calls
``quotas.service.hold``, which counts on the same rows. How and why: ``quotas/sql/0018_b_together.sql``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg import errors as postgres
from psycopg.pq import ExecStatus
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from uuid_utils.compat import uuid7

from quotas.service import HOLD, granted, parameters
from quotas.values import Line

TRIES = 5

_PREPARED = b"CALL quotas.hold_together($1, $2, $3, $4, $5, $6, $7, NULL)"
_NAME = b"quotas_hold_together"
_OK = b'{"outcome": "ok"}'
_GRANTED = {"outcome": "ok"}

Answer = Mapping[str, Any]


def ask(connection: psycopg.Connection[Any], known: MutableMapping[Any, Any], values: Sequence[str]) -> Answer | None:
    """One round trip with nothing between the caller and the driver's library; None: something went wrong, ask again.

    That costs a caller half of what a cursor does. ``known`` belongs to the connection and remembers what is prepared
    on it. The connection must not be in a transaction. A signal waits for the answer; the server's statement timeout is
    what ends a call that takes too long.
    """
    library = connection.pgconn
    if _NAME not in known:
        if library.prepare(_NAME, _PREPARED).status != ExecStatus.COMMAND_OK:
            return None
        known[_NAME] = True
    result = library.exec_prepared(_NAME, [value.encode() for value in values])
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
) -> UUID:
    """As ``quotas.service.hold`` without ``replaces``; one round trip, durable before it returns; the same errors.

    What the database did not answer (a connection that is gone), or what nobody could count in a group, is asked again
    by itself, with the same id, which counts once; so its errors are SQLAlchemy's.
    """
    made = hold_id or uuid7()
    values = parameters(made, owner, node, lines, expires_at)
    lent = engine.raw_connection()
    answer = None
    try:
        answer = ask(cast("psycopg.Connection[Any]", lent.driver_connection), lent.info, values)
    except psycopg.Error:
        pass
    finally:
        if answer is None:
            lent.invalidate()  # broken, or stopped in the middle
        lent.close()
    if answer is None or answer["outcome"] == "failed":
        answer = _alone(engine, values)
    granted(answer, made, node)
    return made


def _alone(engine: Engine, values: tuple[str, ...]) -> Answer:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(TRIES - 1):
            try:
                return connection.exec_driver_sql(HOLD, (*values, None)).scalar_one()  # type: ignore[no-any-return]
            except OperationalError as error:
                if not isinstance(error.orig, postgres.DeadlockDetected):
                    raise
        return connection.exec_driver_sql(HOLD, (*values, None)).scalar_one()  # type: ignore[no-any-return]
