"""Whole months rated into a working table of the transaction: by a close, a recount, the recalling of a closed month.

Called by: ``chargeback.closing``, ``verify``, ``known``. Must not: decide what a bill is good for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import bill_sql, given_sql, repository
from broker.chargeback.facts import Reading
from broker.pricing.months import Month


def fill(
    session: Session, table: str, months: Sequence[Month], until: datetime, *, read: Callable[[str], str] = str
) -> str:
    """Rate ``months`` up to ``until`` into ``pg_temp.<table>``; the snapshot in which usage was read.

    ``read`` may change where the statements read from (``known.as_known``).
    """
    session.execute(text(bill_sql.make(table)))
    reading = Reading(session, months, until)
    with repository.joined_by_hash(session):
        snapshot = keep_usage(session, table, reading, read)
        given = reading.given(reading.kept_homes(table), read)
        for name in bill_sql.KEPT:
            session.execute(text(given_sql.keep(table, name)), given)
        session.execute(text(f"ANALYZE {', '.join(f'pg_temp.{table}_{name}' for name in bill_sql.KEPT)}"))
        session.execute(text(read(bill_sql.keep_joined(table))), reading.usage)
        session.execute(text(f"ANALYZE pg_temp.{table}_joined"))
        session.execute(text(bill_sql.keep_ruled(table)))
        session.execute(text(f"ANALYZE pg_temp.{table}_ruled"))
        session.execute(text(read(bill_sql.rate(table))), reading.usage)
    session.execute(text(f"ANALYZE pg_temp.{table}"))
    return snapshot


def keep_usage(session: Session, table: str, reading: Reading, read: Callable[[str], str] = str) -> str:
    """Usage as it stands, in working tables of its own; the snapshot in which it was read."""
    session.execute(text(bill_sql.make_usage(table)))
    snapshot: str = session.execute(text(read(bill_sql.keep_usage(table))), reading.usage).scalar_one()
    session.execute(text(f"ANALYZE pg_temp.{table}_used, pg_temp.{table}_place"))
    return snapshot
