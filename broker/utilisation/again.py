"""Is something still as a policy describes it? Measured days since a date, by the very SQL of a scan.

Called by: reclamation, before it stops anything; detection, of runs that have ended. Must not: decide; hold a
transaction.

A day tells nothing when it has too few samples, or none of a metric that would decide: it counts as neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from broker.settings import Settings
from broker.utilisation import store
from broker.utilisation.engine import Engine, engine, literal, parquet
from broker.utilisation.local_days import day_number, day_number_sql, day_of, offsets
from broker.utilisation.measured import open_metrics
from broker.utilisation.samples import Report
from broker.utilisation.scan import Question
from broker.utilisation.scan_sql import plan
from broker.utilisation.values import MissingDay, Policy

_AT_ONCE = 5000
"""So many names stand in one question."""


@dataclass(frozen=True, slots=True)
class Since:
    """How many whole days tell whether it matches, how many of these match, and which was the last that tells.

    ``today``: whether the day that is not over matches as far as it has come; None: it tells nothing yet. It is in none
    of the numbers: what a policy says of a day is true of a whole one, and a night's backup is no day.
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

    ``when``: whose days, and now. Raises Invalid for broken files.
    """
    if not names:
        return NOTHING
    zone, now = when
    as_one = f"vm IN ({', '.join(literal(name) for name in names)})"
    with _days(settings, policy, first, when) as found:
        if found is None:
            return NOTHING
        db, table = found
        today = day_number(now, zone)
        row = db.one(
            f"SELECT count(*) FILTER (p AND d < {today}), count(*) FILTER (p AND m AND d < {today}),"
            f" max(d) FILTER (p AND d < {today}), bool_or(m) FILTER (p AND d = {today})"
            f" FROM ({table('1', as_one)}) WHERE d BETWEEN {_number(first, zone)} AND {today}"
        )
    return Since(row[0], row[1], None if row[2] is None else day_of(row[2]), row[3])


def contradicted(
    settings: Settings, last_days: Mapping[str, date], policy: Policy, when: tuple[ZoneInfo, datetime]
) -> frozenset[str]:
    """The names that have, after their last day that matched and before today, a day that tells and does not match."""
    zone, now = when
    found: set[str] = set()
    names = sorted(last_days)
    for at in range(0, len(names), _AT_ONCE):
        some = names[at : at + _AT_ONCE]
        wanted = ", ".join(f"({literal(name)}, {_number(last_days[name], zone)})" for name in some)
        these = f"vm IN ({', '.join(literal(name) for name in some)})"
        with _days(settings, policy, min(last_days[name] for name in some), when) as days:
            if days is None:
                return frozenset()
            db, table = days
            sql = (
                f"SELECT DISTINCT r FROM ({table('vm', these)}) JOIN (VALUES {wanted}) e(name, last_day)"
                f" ON r = name AND d > last_day WHERE d < {day_number(now, zone)} AND p AND NOT m"
            )
            found |= {row[0] for row in db.rows(sql)}
    return frozenset(found)


class _Table:
    """SQL of one row a day ``d`` and ``by`` (SQL over a sample's name ``vm``): ``p`` it tells, ``m`` it matches."""

    def __init__(self, samples: str, picked: str, told: str, matches: str) -> None:
        self.samples, self.picked, self.told, self.matches = samples, picked, told, matches

    def __call__(self, by: str, where: str) -> str:
        return (
            f"SELECT r, d, {self.told} AS p, {self.matches} AS m FROM"
            f" (SELECT {by} AS r, d{self.picked} FROM ({self.samples}) WHERE {where} GROUP BY 1, 2)"
        )


@contextmanager
def _days(
    settings: Settings, policy: Policy, first: date, when: tuple[ZoneInfo, datetime]
) -> Iterator[tuple[Engine, _Table] | None]:
    """The samples from about the local day ``first`` on, ready to be added up; None when there are none."""
    zone, now = when
    files = store.hourly_files(settings, first - timedelta(days=1))
    if not files:
        yield None
        return
    ask = Question([replace(policy, days=1, missing_day=MissingDay.BREAK)], zone, now)
    with engine(settings.utilisation_memory_mib) as db:
        found = open_metrics(db, files, ask.columns, now, Report())
        if found is None:
            yield None
            return
        ways = plan(ask.policies, found.gaps)
        day = day_number_sql(f"epoch_us({found.hour})", offsets(zone, found.first, found.last))
        kept = f" WHERE {' AND '.join(found.checks)}" if found.checks else ""
        samples = f"SELECT *, CAST({found.resource} AS VARCHAR) AS vm, {day} AS d FROM {parquet(found.files)}{kept}"
        picked = "".join(f", {sql} AS {name}" for name, sql in ways.aggregates.items())
        yield db, _Table(samples, picked, ways.told[0], ways.matches[0])


def _number(day: date, zone: ZoneInfo) -> int:
    return day_number(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC), zone)
