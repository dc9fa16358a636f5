"""Is one resource still as a policy describes it? Its measured days since a date, by the very SQL of a scan.

Called by: reclamation, before it stops anything. Must not: decide; hold a transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from broker.settings import Settings
from broker.utilisation import store
from broker.utilisation.engine import engine, parquet
from broker.utilisation.local_days import day_number, day_number_sql, day_of, offsets
from broker.utilisation.measured import open_metrics
from broker.utilisation.samples import Report
from broker.utilisation.scan import Question
from broker.utilisation.scan_sql import plan
from broker.utilisation.values import MissingDay, Policy


@dataclass(frozen=True, slots=True)
class Since:
    """How many whole days had enough samples, how many of these match, and which was the last measured.

    ``today``: whether the day that is not over matches as far as it has come; None: it has not enough samples yet. It
    is in none of the numbers: what a policy says of a day is true of a whole one, and a night's backup is no day.
    """

    measured: int
    matching: int
    newest: date | None
    today: bool | None = None


NOTHING = Since(0, 0, None)


def since(
    settings: Settings, names: Collection[str], policy: Policy, first: date, when: tuple[ZoneInfo, datetime]
) -> Since:
    """The days of one resource (by any of its names) from the local day ``first`` on.

    A day without enough samples counts as neither. ``when``: whose days, and now. Raises Invalid for broken files.
    """
    zone, now = when
    files = store.hourly_files(settings, first - timedelta(days=1))
    if not files or not names:
        return NOTHING
    # Skipping, so that the plan tells a measured day from a missing one.
    ask = Question([replace(policy, days=1, missing_day=MissingDay.SKIP)], zone, now)
    with engine(settings.utilisation_memory_mib) as db:
        found = open_metrics(db, files, ask.columns, now, Report())
        if found is None:
            return NOTHING
        ways = plan(ask.policies, found.gaps)
        day = day_number_sql(f"epoch_us({found.hour})", offsets(zone, found.first, found.last))
        picked = "".join(f", {sql} AS {name}" for name, sql in ways.aggregates.items())
        today = day_number(now, zone)
        wanted = [f"CAST({found.resource} AS VARCHAR) IN ({', '.join('?' for _ in names)})"]
        wanted += [
            f"{day} BETWEEN {day_number(_midnight(first, zone), zone)} AND {today}",
            *found.checks,
        ]
        row = db.db.execute(
            f"""
            SELECT count(*) FILTER (p AND d < {today}), count(*) FILTER (m AND d < {today}),
              max(d) FILTER (p AND d < {today}), bool_or(m) FILTER (p AND d = {today}) FROM (
                SELECT d, {ways.measured[0]} AS p, {ways.matches[0]} AS m FROM (
                    SELECT {day} AS d{picked} FROM {parquet(found.files)} WHERE {" AND ".join(wanted)} GROUP BY 1))
            """,
            list(names),
        ).fetchone()
    assert row is not None
    return Since(row[0], row[1], None if row[2] is None else day_of(row[2]), row[3])


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
