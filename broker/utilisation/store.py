"""The samples kept for the long run: Parquet partitioned by day (UTC) behind a URL.

Called by: ``guiyun utilisation import`` and collectors (import), ``utilisation.service`` (files of a scan).
Must not: keep anything in the transactional tables, or change a day that an import does not change.

``hourly/day=2026-11-25/samples.parquet`` holds the columns of an import, sorted by local day, resource and hour, so
that the folder ``hourly`` is itself something for ``guiyun idle scan --metrics``, and a local day's row groups stand
together. Days older than the kept months are thinned to one row per resource in ``daily/``. A day's file is replaced
whole, and by one writer at a time (see ``storage``). An import or a thinning that is killed leaves whole days behind,
and the next one finishes it.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from broker.errors import Conflict, Problem
from broker.settings import Settings
from broker.utilisation.bucket import bucket_of
from broker.utilisation.engine import Engine, literal, parquet
from broker.utilisation.samples import FIRST, Report, clean, files_of
from broker.utilisation.storage import Folder, Kept, Moved, Storage
from broker.utilisation.values import COLUMNS, HOUR, ID, METRICS, Intake, Unreadable

T = TypeVar("T")

_SPOT = f"{ID} || ' ' || strftime({HOUR}, '%Y-%m-%dT%HZ')"
"""How a row that is good in itself is named: by resource and hour."""
_PAUSE_S = 0.5
_HOURLY, _DAILY, _FILE = "hourly", "daily", "samples.parquet"
_IMPORTED = "imported"
"""Names of contents that were imported whole, each an empty file."""
_FATES = ("added", "updated", "unchanged", "fuller", "older", "lower")
_BY_VALUE = ("cpu_avg_pct", "cpu_max_pct", "net_kbps", "disk_kbps", "mem_used_gib", "vcpu", "mem_gib", "n_off")
"""Of two rows of one hour and as many samples the greater stays, by these in turn: whichever came first, and rather
the one by which a resource is in use."""
_NEXT_DAY_AT = 16
"""The UTC hour at which the region's next day begins: what most scans ask for stands together in a day's file."""
_DAY = re.compile(rf"day=\d{{4}}-\d{{2}}-\d{{2}}/{re.escape(_FILE)}")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, in rows. ``jittered`` were moved to their hour, ``merged`` added to another of their hour.

    ``unchanged`` were there already, ``fuller`` gave way to a stored hour with more samples, ``older`` to one of as
    many when these very files had been imported before, ``lower`` to one of as many with greater values.
    ``missing_hours``: hours between a resource's first and last in the files that have no row.
    """

    intake: Intake
    added: int
    updated: int
    unchanged: int
    fuller: int
    older: int
    lower: int
    merged: int
    jittered: int
    missing_hours: int
    resources: int
    days_written: int
    days_thinned: int


def storage_of(settings: Settings) -> Storage:
    """Where the samples of these settings stand.

    Raises Invalid ``store.scheme``, and for a bucket ``store.bucket``, ``store.endpoint``, ``store.credentials``.
    """
    url = settings.utilisation_url
    if url is None:
        return Folder(settings.home.absolute() / "utilisation")
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return bucket_of(settings)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise Unreadable([Problem("store.scheme", "utilisation_url", params={"scheme": parts.scheme[:20]})])
    return Folder(Path(unquote(parts.path)))


def hourly_files(settings: Settings, first: date | None = None, last: date | None = None) -> list[Path]:
    """The files of the hourly samples, on this machine, oldest first: of UTC days from ``first`` to ``last``.

    Raises as ``storage_of`` does, and ``StoreDown``.
    """
    storage = storage_of(settings)
    days = ((day_of(kept), kept) for kept in _days(storage, _HOURLY))
    wanted = [kept for day, kept in days if (first is None or day >= first) and (last is None or day <= last)]
    return storage.local(wanted)


def keep_from(newest: date, months: int) -> date:
    """The first day whose hourly samples are kept: the first of the month, ``months`` whole months before ``newest``.

    Counted from the newest sample and not from the clock: a store that gets nothing new loses nothing.
    """
    year, month = divmod(newest.year * 12 + newest.month - 1 - months, 12)
    return date(year, month + 1, 1)


def import_samples(
    engine: Engine,
    storage: Storage,
    path: Path,
    now: datetime,
    months: int,
    *,
    wait_s: float = 0,
    remember: bool = False,
    correct: bool = False,
) -> Imported:
    """Take in a file, or a folder of files. Repeating it changes nothing.

    Of rows for one resource and hour: equal ones count once; different ones of one import are merged (means weighted by
    samples, maxima, sums of samples); against what is stored the hour with more samples wins, when equal the greater
    one, so that the order of imports decides nothing. ``correct``: these files win whatever is stored. What was
    imported before (a file's content, where that was to be ``remember``ed) wins nothing when equal: it undoes no
    correction, whatever other files it comes with.
    Raises Invalid (see ``samples``) before anything is written, Conflict ``store.busy`` while others write, after
    ``wait_s`` seconds; ``StoreDown``.
    """
    ends = time.monotonic() + wait_s
    with storage.writing(wait_s):
        report = Report()
        marks = [f"{_IMPORTED}/{_digest(file)}" for file in files_of(path)] if remember else []
        there = {kept.name for kept in storage.listed(_IMPORTED)} if marks else set[str]()
        _stage(engine, path, now, report, [mark in there for mark in marks])
        oldest = _drop_too_old(engine, storage, months, report)
        merged, jittered, missing, resources = _one_row_an_hour(engine, report)
        totals = dict.fromkeys(_FATES, 0)
        written = 0
        for (day,) in engine.rows(f"SELECT DISTINCT CAST({HOUR} AS DATE) FROM hours ORDER BY 1"):
            counts = _settled(partial(_merge_day, engine, storage, day, correct=correct), ends)
            written += bool(counts["added"] or counts["updated"])
            for name, count in counts.items():
                totals[name] += count
        thinned = thin(engine, storage, oldest, ends)
        for mark in sorted(set(marks) - there):  # only now: an import that was cut short is none
            draft = storage.draft(mark)
            draft.write_bytes(b"")
            storage.put(mark, draft)
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


def _stage(engine: Engine, path: Path, now: datetime, report: Report, known: Sequence[bool]) -> None:
    """Fill ``staged`` with the good rows of all files; report the others. ``known``: which were imported before."""
    names = ", ".join(COLUMNS)
    for number, file in enumerate(files_of(path)):
        clean(engine, file, tuple(METRICS), now, report)
        create = "CREATE TABLE staged AS" if number == 0 else "INSERT INTO staged"
        before = str(bool(known) and known[number]).lower()
        engine.db.execute(f"{create} SELECT {names}, {before} AS known FROM cleaned")
        engine.db.execute("DROP TABLE cleaned")


def _drop_too_old(engine: Engine, storage: Storage, months: int, report: Report) -> date:
    """Leave out what would be thinned at once, and would spoil a day that is; returns the first day that is kept."""
    newest = [day_of(kept) for kept in _days(storage, _HOURLY)[-1:]]
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
    """Fill ``hours`` from ``staged``; returns rows merged, rows moved to their hour, missing hours, resources.

    ``known``: every row of the hour was imported before.
    """
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
        f"CREATE TABLE hours AS SELECT {ID}, date_trunc('hour', {HOUR}) AS {HOUR}, {figures}, bool_and(known) AS known"
        f" FROM (SELECT {names}, bool_and(known) AS known FROM staged GROUP BY {names}) GROUP BY 1, 2"
    )
    staged = engine.one("SELECT count(*) FROM staged")[0]
    kept, resources = engine.one(f"SELECT count(*), count(DISTINCT {ID}) FROM hours")
    missing = engine.one(
        f"SELECT coalesce(sum(date_diff('hour', a, b) + 1 - n), 0) FROM"
        f" (SELECT min({HOUR}) AS a, max({HOUR}) AS b, count(*) AS n FROM hours GROUP BY {ID})"
    )[0]
    engine.db.execute("DROP TABLE staged")
    return staged - times - kept, jittered, int(missing), resources


def names_taken_in(engine: Engine) -> set[str]:
    """Of which resources this engine's import had hours."""
    return {str(row[0]) for row in engine.rows(f"SELECT DISTINCT {ID} FROM hours")}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settled(act: Callable[[], T], ends: float) -> T:
    """Do it; again from the start when somebody else was faster. Raises Conflict ``store.busy`` after ``ends``."""
    while True:
        try:
            return act()
        except Moved as error:
            if time.monotonic() >= ends:
                raise Conflict("store.busy") from error
            time.sleep(random.uniform(0, _PAUSE_S))  # noqa: S311 - so that two do not meet again


def _merge_day(engine: Engine, storage: Storage, day: date, *, correct: bool) -> dict[str, int]:
    """Bring one day's file up to date; it is written only when it changes. Raises Moved."""
    name = _name(_HOURLY, day)
    over = _kept(storage, name)
    there = storage.local([over]) if over else []
    if there and _is_empty(engine, there):
        raise Moved  # it is being thinned: what comes now begins the day anew once the file is gone
    names = ", ".join(COLUMNS)
    within = f"{HOUR} >= TIMESTAMP '{day}' AND {HOUR} < TIMESTAMP '{day}' + INTERVAL 1 DAY"
    new = f"SELECT {names}, known FROM hours WHERE {within}"
    old = f"SELECT {names} FROM {parquet(there)}" if there else f"SELECT {names} FROM hours LIMIT 0"
    same = " AND ".join(f"n.{name} IS NOT DISTINCT FROM o.{name}" for name in METRICS)
    values = {row: ", ".join(f"coalesce({row}.{name}, -1)" for name in _BY_VALUE) for row in "no"}
    samples = {row: f"coalesce({row}.n_samples, 0)" for row in "no"}
    engine.db.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE day_rows AS SELECT {ID}, {HOUR}, n AS new_row, o AS old_row,
            CASE WHEN o.present IS NULL THEN 'added' WHEN n.present IS NULL THEN 'kept' WHEN {same} THEN 'unchanged'
                 WHEN {str(correct).lower()} OR {samples["n"]} > {samples["o"]} THEN 'updated'
                 WHEN {samples["n"]} < {samples["o"]} THEN 'fuller'
                 WHEN n.known THEN 'older'
                 WHEN [{values["n"]}] > [{values["o"]}] THEN 'updated' ELSE 'lower' END AS fate
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
        draft = storage.draft(name)
        write_day(engine, f"SELECT {ID}, {HOUR}, {chosen} FROM day_rows", day, draft)
        storage.replace(name, draft, over if there else None)
    return {name: counts.get(name, 0) for name in _FATES}


def thin(engine: Engine, storage: Storage, oldest: date, ends: float = 0) -> int:
    """Turn the hourly samples of days before ``oldest`` into one row per resource and day; returns how many days.

    A day that was thinned before gets what has come since: of two rows of a resource the one of more samples stays.
    Raises Conflict ``store.busy`` when others change these days until ``ends``.
    """
    days = [day_of(kept) for kept in _days(storage, _HOURLY) if day_of(kept) < oldest]
    return sum(_settled(partial(_thin_day, engine, storage, day), ends) for day in days)


def _thin_day(engine: Engine, storage: Storage, day: date) -> bool:
    """One day; False: another worker was faster. Raises Moved.

    No store deletes a file only if it is the one that was read. So it is first replaced, which a store does on that
    condition, by one without rows, which nobody adds to: what came meanwhile is read again instead of deleted.
    """
    name = _name(_HOURLY, day)
    over = _kept(storage, name)
    hourly = storage.local([over]) if over else []
    if over is None or not hourly:
        return False
    if not _is_empty(engine, hourly):
        _thin_rows(engine, storage, day, hourly)
        draft = storage.draft(name)
        _write(engine, f"SELECT * FROM {parquet(hourly)} LIMIT 0", draft)
        storage.replace(name, draft, over)
    storage.remove(name)
    return True


def _thin_rows(engine: Engine, storage: Storage, day: date, hourly: list[Path]) -> None:
    """Write a day's row per resource beside those that were thinned before. Raises Moved."""
    name = _name(_DAILY, day)
    over = _kept(storage, name)
    before = storage.local([over]) if over else []
    how = {"cpu_avg_pct": "avg", "mem_used_gib": "avg", "disk_kbps": "avg", "net_kbps": "avg"}
    how |= {"n_samples": "sum", "n_off": "sum"}
    figures = ", ".join(f"CAST({how.get(name, 'max')}({name}) AS DOUBLE) AS {name}" for name in METRICS)
    rows = f"SELECT {ID}, TIMESTAMP '{day}' AS {HOUR}, {figures} FROM {parquet(hourly)} GROUP BY {ID}"
    if before:
        rows = f"""
            SELECT * EXCLUDE (late) FROM
                (SELECT *, true AS late FROM ({rows}) UNION ALL BY NAME SELECT *, false AS late FROM {parquet(before)})
            QUALIFY row_number() OVER (PARTITION BY {ID} ORDER BY coalesce(n_samples, 0) DESC, late DESC) = 1
            """
    draft = storage.draft(name)
    _write(engine, f"{rows} ORDER BY {ID}", draft)
    storage.replace(name, draft, over if before else None)


def _is_empty(engine: Engine, files: list[Path]) -> bool:
    """Whether this is what stands for a moment where a day has been thinned."""
    return not engine.one(f"SELECT count(*) FROM {parquet(files)}")[0]


def _kept(storage: Storage, name: str) -> Kept | None:
    return next((kept for kept in storage.listed(str(Path(name).parent)) if kept.name == name), None)


def _days(storage: Storage, kind: str) -> list[Kept]:
    """The days' files of a kind, oldest first."""
    return [kept for kept in storage.listed(kind) if _DAY.fullmatch(kept.name.removeprefix(f"{kind}/"))]


def _folder(kind: str, day: date) -> str:
    return f"{kind}/day={day}"


def _name(kind: str, day: date) -> str:
    return f"{_folder(kind, day)}/{_FILE}"


def day_of(kept: Kept) -> date:
    """The UTC day that a file of the store holds."""
    return date.fromisoformat(kept.name.split("/")[1].removeprefix("day="))


def write_day(engine: Engine, rows: str, day: date, at: Path) -> None:
    """A day's file from its rows (SQL): the region's two days that a UTC day has part in, each by resource and hour."""
    next_day = f"{HOUR} >= TIMESTAMP '{day} {_NEXT_DAY_AT}:00:00'"
    _write(engine, f"{rows} ORDER BY {next_day}, {ID}, {HOUR}", at)


def _write(engine: Engine, rows: str, draft: Path) -> None:
    engine.db.execute(f"COPY ({rows}) TO {literal(draft)} (FORMAT parquet, COMPRESSION zstd)")
