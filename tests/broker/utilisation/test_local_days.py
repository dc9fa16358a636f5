"""An hour belongs to the local day that the time zone database says, through every change of clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pytest

from broker.utilisation.local_days import day_number_sql, offsets


@pytest.mark.parametrize(
    ("zone", "start", "changes"),
    [
        ("UTC", datetime(2026, 1, 1, tzinfo=UTC), 0),
        ("Asia/Shanghai", datetime(2013, 7, 1, tzinfo=UTC), 0),
        ("Asia/Shanghai", datetime(1986, 1, 1, tzinfo=UTC), 2),  # summer time, 1986 to 1991
        ("America/New_York", datetime(2026, 1, 1, tzinfo=UTC), 2),
        ("Africa/Casablanca", datetime(2026, 1, 1, tzinfo=UTC), 2),  # back for Ramadan
        ("America/Sao_Paulo", datetime(2018, 7, 1, tzinfo=UTC), 2),  # at midnight
        ("America/St_Johns", datetime(2006, 1, 1, tzinfo=UTC), 2),  # a minute past midnight
    ],
)
def test_the_day_is_that_of_the_time_zone(zone: str, start: datetime, changes: int) -> None:
    """Every half hour of a year; a fixed offset only where it is true."""
    there = ZoneInfo(zone)
    instants = [start + timedelta(minutes=30 * n) for n in range(365 * 48)]
    known = offsets(there, instants[0], instants[-1])
    assert len(known) == changes + 1
    sql = day_number_sql(f"({int(start.timestamp())} + 1800 * n) * 1000000", known)
    found = [row[0] for row in duckdb.execute(f"SELECT {sql} FROM range({len(instants)}) t(n) ORDER BY n").fetchall()]
    assert found == [at.astimezone(there).date().toordinal() - 719_163 for at in instants]
