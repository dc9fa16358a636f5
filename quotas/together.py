"""A hold of its own transaction, counted together with those of everybody else who waits: the fast way.

Called by: who holds and does nothing else in the same transaction (the command line, programs); from any number of
processes and machines. Must not: be called with a session: it commits. A use-case that holds *and* writes calls
``quotas.service.hold``, which counts on the same rows. How and why: ``quotas/sql/0003_b_together.sql``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import errors as postgres
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from uuid_utils.compat import uuid7

from quotas.service import columns, granted
from quotas.values import Line

HOLD = "CALL quotas.hold_together(%s, %s, %s, %s, %s, %s, %s, NULL)"
TRIES = 5


def parameters(hold_id: UUID, owner: UUID, node: UUID, lines: Sequence[Line], expires_at: datetime) -> tuple[str, ...]:
    """For ``HOLD``, written as PostgreSQL reads them: the driver takes a quarter of the caller's CPU to write arrays.

    Nothing needs quoting: class codes, ids and whole numbers. BadAmount: as ``columns``.
    """
    arrays = ("{" + ",".join(map(str, values or ())) + "}" for values in columns(lines).values())
    return (str(hold_id), str(owner), str(node), *arrays, expires_at.isoformat())


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

    Where the database ended the whole count because of a deadlock with a transaction that counts twice, it is asked
    again with the same id, which counts once.
    """
    made = hold_id or uuid7()
    values = parameters(made, owner, node, lines, expires_at)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for tried in range(TRIES):
            try:
                answer: Mapping[str, Any] = connection.exec_driver_sql(HOLD, values).scalar_one()
            except OperationalError as error:
                if not isinstance(error.orig, postgres.DeadlockDetected) or tried == TRIES - 1:
                    raise
                continue
            break
    granted(answer, made, node)
    return made
