"""The samples kept for the long run: Parquet partitioned by day (UTC) behind a URL.

Called by: ``guiyun utilisation import`` and collectors (import), ``utilisation.service`` (files of a scan).
Must not: keep anything in the transactional tables, or change a day that an import does not change.

``hourly/day=2026-11-25/samples.parquet`` holds the columns of an import, sorted by resource and hour, so that the
folder ``hourly`` is itself something for ``guiyun idle scan --metrics``. Days older than the kept months are thinned
to one row per resource in ``daily/``. A day's file is replaced whole; one import at a time (a lock in the folder).
An import that is killed leaves whole days behind, and running it again finishes it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from broker.errors import Conflict, Problem
from broker.utilisation.engine import Engine, literal, parquet
from broker.utilisation.samples import FIRST, Report, clean, files_of
from broker.utilisation.values import COLUMNS, HOUR, ID, METRICS, Intake, Unreadable

_SPOT = f"{ID} || ' ' || strftime({HOUR}, '%Y-%m-%dT%HZ')"
"""How a row that is good in itself is named: by resource and hour."""
_LOOK_S = 0.2
_HOURLY, _DAILY, _FILE = "hourly", "daily", "samples.parquet"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, in rows. ``jittered`` were moved to their hour, ``merged`` added to another of their hour.

    ``unchanged`` were there already, ``fuller`` gave way to a stored hour with more samples. ``missing_hours``: hours
    between a resource's first and last in the files that have no row.
    """

    intake: Intake
    added: int
    updated: int
    unchanged: int
    fuller: int
    merged: int
    jittered: int
    missing_hours: int
    resources: int
    days_written: int
    days_thinned: int


def folder_of(url: str | None, home: Path) -> Path:
    """The store's folder. Raises Invalid ``store.scheme`` for anything but ``file:``.

    An S3-compatible store would need DuckDB's ``httpfs``, which the wheel does not bring and which would have to be
    downloaded while running.
    """
    if url is None:
        return home.absolute() / "utilisation"
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise Unreadable([Problem("store.scheme", "utilisation_url", params={"scheme": parts.scheme})])
    return Path(unquote(parts.path))


def hourly_files(folder: Path, since: date | None = None) -> list[Path]:
    """The files of the hourly samples, oldest first; those from the UTC day ``since`` on."""
    found = sorted((folder / _HOURLY).glob(f"day=*/{_FILE}"))
    return [path for path in found if since is None or day_of_file(path) >= since]


def keep_from(newest: date, months: int) -> date:
    """The first day whose hourly samples are kept: the first of the month, ``months`` whole months before ``newest``.

    Counted from the newest sample and not from the clock: a store that gets nothing new loses nothing.
    """
    year, month = divmod(newest.year * 12 + newest.month - 1 - months, 12)
    return date(year, month + 1, 1)


def import_samples(
    engine: Engine, folder: Path, path: Path, now: datetime, months: int, *, wait_s: float = 0
) -> Imported:
    """Take in a file, or a folder of files. Repeating it changes nothing.

    Of rows for one resource and hour: equal ones count once; different ones of one import are merged (means weighted by
    samples, maxima, sums of samples); against what is stored the hour with more samples wins, the later import when
    equal. Raises Invalid (see ``samples``) before anything is written, Conflict ``store.busy`` while another runs,
    after ``wait_s`` seconds.
    """
    with _lock(folder, wait_s):
        report = Report()
        _stage(engine, path, now, report)
        oldest = _drop_too_old(engine, folder, months, report)
        merged, jittered, missing, resources = _one_row_an_hour(engine, report)
        totals = dict.fromkeys(("added", "updated", "unchanged", "fuller"), 0)
        written = 0
        for (day,) in engine.rows(f"SELECT DISTINCT CAST({HOUR} AS DATE) FROM hours ORDER BY 1"):
            counts = _merge_day(engine, folder, day)
            written += bool(counts["added"] or counts["updated"])
            for name, count in counts.items():
                totals[name] += count
        thinned = thin(engine, folder, oldest)
    return Imported(
        report.intake(),
        **totals,
        merged=merged,
        jittered=jittered,
        missing_hours=missing,
        resources=resources,
        days_written=written,
        days_thinned=thinned,
    )


def _stage(engine: Engine, path: Path, now: datetime, report: Report) -> None:
    """Fill ``staged`` with the good rows of all files; report the others."""
    names = ", ".join(COLUMNS)
    for number, file in enumerate(files_of(path)):
        clean(engine, file, tuple(METRICS), now, report)
        create = "CREATE TABLE staged AS" if number == 0 else "INSERT INTO staged"
        engine.db.execute(f"{create} SELECT {names} FROM cleaned")
        engine.db.execute("DROP TABLE cleaned")


def _drop_too_old(engine: Engine, folder: Path, months: int, report: Report) -> date:
    """Leave out what would be thinned at once, and would spoil a day that is; returns the first day that is kept."""
    newest = [day_of_file(path) for path in hourly_files(folder)[-1:]]
    arrived = engine.one(f"SELECT CAST(max({HOUR}) AS DATE) FROM staged")[0]
    days = newest + ([arrived] if arrived is not None else [])
    oldest = keep_from(max(days), months) if days else date.min
    old = f"FROM staged WHERE {HOUR} < TIMESTAMP '{oldest}'"
    count, first = engine.one(f"SELECT count(*), min({_SPOT}, {FIRST}) {old}")
    if count:
        report.leave("sample.too_old", count, first)
        engine.db.execute(f"DELETE {old}")
    return oldest


def _one_row_an_hour(engine: Engine, report: Report) -> tuple[int, int, int, int]:
    """Fill ``hours`` from ``staged``; returns rows merged, rows moved to their hour, missing hours, resources."""
    names = ", ".join(COLUMNS)
    jittered = engine.one(f"SELECT count(*) FROM staged WHERE {HOUR} <> date_trunc('hour', {HOUR})")[0]
    again = f"SELECT {ID}, {HOUR} FROM staged GROUP BY {names} HAVING count(*) > 1"
    times = engine.one(f"SELECT count(*) - (SELECT count(*) FROM (SELECT DISTINCT {names} FROM staged)) FROM staged")[0]
    if times:
        first = engine.one(f"SELECT min({_SPOT}, {FIRST}) FROM ({again})")[0]
        report.leave("sample.duplicate", times, first)
    weight = "greatest(coalesce(n_samples, 1), 1)"

    def mean(name: str) -> str:
        # A lone row stays as it is, to the last digit.
        weighted = f"sum({name} * {weight}) / sum({weight}) FILTER ({name} IS NOT NULL)"
        return f"CASE count(*) WHEN 1 THEN any_value({name}) ELSE {weighted} END AS {name}"

    how = {"vcpu": "max", "mem_gib": "max", "cpu_max_pct": "max", "n_samples": "sum", "n_off": "sum"}
    figures = ", ".join(f"{how[name]}({name}) AS {name}" if name in how else mean(name) for name in METRICS)
    engine.db.execute(
        f"CREATE TABLE hours AS SELECT {ID}, date_trunc('hour', {HOUR}) AS {HOUR}, {figures}"
        f" FROM (SELECT DISTINCT {names} FROM staged) GROUP BY ALL"
    )
    staged = engine.one("SELECT count(*) FROM staged")[0]
    kept, resources = engine.one(f"SELECT count(*), count(DISTINCT {ID}) FROM hours")
    missing = engine.one(
        f"SELECT coalesce(sum(date_diff('hour', a, b) + 1 - n), 0) FROM"
        f" (SELECT min({HOUR}) AS a, max({HOUR}) AS b, count(*) AS n FROM hours GROUP BY {ID})"
    )[0]
    engine.db.execute("DROP TABLE staged")
    return staged - times - kept, jittered, int(missing), resources


def _merge_day(engine: Engine, folder: Path, day: date) -> dict[str, int]:
    """Bring one day's file up to date; it is written only when it changes."""
    at = _path(folder, _HOURLY, day)
    names = ", ".join(COLUMNS)
    new = f"SELECT {names} FROM hours WHERE {HOUR} >= TIMESTAMP '{day}' AND {HOUR} < TIMESTAMP '{day}' + INTERVAL 1 DAY"
    old = f"SELECT {names} FROM {parquet([at])}" if at.exists() else f"SELECT {names} FROM hours LIMIT 0"
    same = " AND ".join(f"n.{name} IS NOT DISTINCT FROM o.{name}" for name in METRICS)
    engine.db.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE day_rows AS SELECT {ID}, {HOUR}, n AS new_row, o AS old_row,
            CASE WHEN o.present IS NULL THEN 'added' WHEN n.present IS NULL THEN 'kept' WHEN {same} THEN 'unchanged'
                 WHEN n.n_samples < o.n_samples THEN 'fuller' ELSE 'updated' END AS fate
        FROM (SELECT *, true AS present FROM ({new})) n
        FULL JOIN (SELECT *, true AS present FROM ({old})) o USING ({ID}, {HOUR})
        """
    )
    counts = dict(engine.rows("SELECT fate, count(*) FROM day_rows WHERE fate <> 'kept' GROUP BY 1"))
    if counts.get("added") or counts.get("updated"):
        chosen = ", ".join(
            f"CASE WHEN fate IN ('added', 'updated') THEN new_row.{name} ELSE old_row.{name} END AS {name}"
            for name in METRICS
        )
        _write(engine, f"SELECT {ID}, {HOUR}, {chosen} FROM day_rows ORDER BY {ID}, {HOUR}", at)
    return {name: counts.get(name, 0) for name in ("added", "updated", "unchanged", "fuller")}


def thin(engine: Engine, folder: Path, oldest: date) -> int:
    """Turn the hourly samples of days before ``oldest`` into one row per resource and day; returns how many days."""
    days = [path for path in hourly_files(folder) if day_of_file(path) < oldest]
    how = {"cpu_avg_pct": "avg", "mem_used_gib": "avg", "disk_kbps": "avg", "net_kbps": "avg"}
    how |= {"n_samples": "sum", "n_off": "sum"}
    figures = ", ".join(f"CAST({how.get(name, 'max')}({name}) AS DOUBLE) AS {name}" for name in METRICS)
    for path in days:
        day = day_of_file(path)
        rows = f"SELECT {ID}, TIMESTAMP '{day}' AS {HOUR}, {figures} FROM {parquet([path])} GROUP BY {ID} ORDER BY {ID}"
        _write(engine, rows, _path(folder, _DAILY, day))
        path.unlink()
        path.parent.rmdir()
    return len(days)


def _path(folder: Path, kind: str, day: date) -> Path:
    return folder / kind / f"day={day}" / _FILE


def day_of_file(path: Path) -> date:
    """The UTC day that a file of the store holds."""
    return date.fromisoformat(path.parent.name.removeprefix("day="))


def _write(engine: Engine, rows: str, at: Path) -> None:
    """A new file in the place of the old one, whole or not at all."""
    at.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = at.with_name(f".{at.name}.draft")
    engine.db.execute(f"COPY ({rows}) TO {literal(draft)} (FORMAT parquet, COMPRESSION zstd)")
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(at)


@contextmanager
def _lock(folder: Path, wait_s: float) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ends = time.monotonic() + wait_s
    with (folder / ".lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= ends:
                    raise Conflict("store.busy") from error
                time.sleep(_LOOK_S)
        yield
