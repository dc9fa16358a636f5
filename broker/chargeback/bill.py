"""Whole months rated into a working table of the transaction: by a close, a recount, the recalling of a closed month.

Called by: ``chargeback.closing``, ``verify``, ``known``. Must not: decide what a bill is good for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from broker.chargeback import bill_sql, repository
from broker.pricing.months import Month


def fill(
    session: Session, table: str, months: Sequence[Month], until: datetime, *, read: Callable[[str], str] = str
) -> str:
    """Rate ``months`` up to ``until`` into ``pg_temp.<table>``; the snapshot in which usage was read.

    ``read`` may change where the statements read from (``known.as_known``).
    """
    session.execute(text(bill_sql.make(table)))
    usage = repository.usage_of(session, months, until)
    with repository.joined_by_hash(session):
        snapshot: str = session.execute(text(read(bill_sql.keep_usage(table))), usage).scalar_one()
        session.execute(text(f"ANALYZE pg_temp.{table}_used, pg_temp.{table}_place"))
        session.execute(text(read(bill_sql.keep_pieces(table))), usage)
        session.execute(text(f"ANALYZE pg_temp.{table}_piece"))
        session.execute(text(read(bill_sql.rate(table))), usage)
    session.execute(text(f"ANALYZE pg_temp.{table}"))
    return snapshot
