"""Reads files of hourly samples (CSV, CSV.gz, Parquet) and says what it left out, and why.

Called by: ``utilisation.scan`` (files named by hand), ``utilisation.store`` (import). Must not: stop at a bad row:
it is counted under its reason, the first of each reason are named by file and line, and the rest is read.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from broker.errors import Problem
from broker.utilisation.engine import Engine, listing, literal
from broker.utilisation.values import HOUR, ID, METRICS, Intake, Left, Unreadable

FIRST = 3
"""How many rows of each reason are named."""

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_HOUR_ONLY = r"\d{4}-\d{2}-\d{2}T\d{2}Z"
_ISO = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?"
EARLIEST = "1971-01-01"
"""What is earlier is a clock that was never set; day numbers stay positive in every zone."""


@dataclass(slots=True)
class Report:
    """Gathers what was read and what was left out."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, reason: str, count: int, places: Iterable[str]) -> None:
        self.counts[reason] += count
        named = self.first.setdefault(reason, [])
        named.extend(list(places)[: FIRST - len(named)])

    def intake(self) -> Intake:
        return Intake(self.rows, tuple(Left(r, n, tuple(self.first[r])) for r, n in self.counts.most_common()))


def files_of(path: Path) -> list[Path]:
    """The files of samples at ``path``: itself, or all below a folder but hidden ones.

    Raises Invalid ``metrics.missing``, ``metrics.format``, ``metrics.no_files``.
    """
    if path.is_file():
        if not path.name.lower().endswith(_SUFFIXES):
            raise Unreadable([Problem("metrics.format", path.name)])
        return [path]
    if not path.is_dir():
        raise Unreadable([Problem("metrics.missing", path.name)])
    found = sorted(
        each
        for each in path.rglob("*")
        if each.name.lower().endswith(_SUFFIXES)
        and not any(part.startswith(".") for part in each.relative_to(path).parts)
        and each.is_file()
    )
    if not found:
        raise Unreadable([Problem("metrics.no_files", path.name)])
    return found


def is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(".parquet")


def columns_of(engine: Engine, path: Path) -> dict[str, str]:
    """Column -> type of a file, in its order.

    Raises Invalid ``metrics.empty``, ``metrics.broken``, ``metrics.not_utf8``, ``metrics.column_twice``.
    """
    if is_parquet(path):
        return parquet_columns(engine, [path])[str(path)]
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as raw:
            first = raw.readline(1 << 16).decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Unreadable([Problem("metrics.not_utf8", path.name)]) from error
    except (OSError, EOFError) as error:
        raise Unreadable([Problem("metrics.broken", path.name, params={"detail": str(error)[:200]})]) from error
    try:
        names = [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error as error:  # a line end of its own within the header
        said = {"detail": "carriage return in the header"}
        raise Unreadable([Problem("metrics.broken", f"{path.name}:1", params=said)]) from error
    if not names:
        raise Unreadable([Problem("metrics.empty", path.name)])
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise Unreadable([Problem("metrics.column_twice", f"{path.name}:1", params={"column": name}) for name in twice])
    return dict.fromkeys(names, "VARCHAR")


def parquet_columns(engine: Engine, paths: Sequence[Path]) -> dict[str, dict[str, str]]:
    """File -> column -> type, from the files' own schemas. Raises Invalid ``metrics.broken`` for what is no Parquet."""
    found: dict[str, dict[str, str]] = {str(path): {} for path in paths}
    ask = "SELECT file_name, name, duckdb_type FROM parquet_schema({}) WHERE duckdb_type IS NOT NULL"
    try:
        for file, name, kind in engine.rows(ask.format(listing(paths))):
            found[file][name] = kind
    except duckdb.Error as error:
        if len(paths) == 1:
            raise Unreadable([Problem("metrics.broken", paths[0].name, params={"detail": _line(error)})]) from error
        for path in paths:  # which of them
            parquet_columns(engine, [path])
        raise
    return found


def require(names: Iterable[str], wanted: Sequence[str], path: Path) -> None:
    """Raises Invalid with ``metrics.column_missing`` for every column that is not there."""
    have = set(names)
    missing = [Problem("metrics.column_missing", path.name, params={"column": c}) for c in wanted if c not in have]
    if missing:
        raise Unreadable(missing)


def hour_sql(text: str) -> str:
    """A UTC timestamp out of ``2013-06-30T22Z`` or ISO 8601 (without a zone: UTC); NULL for anything else."""
    return (
        f"CASE WHEN regexp_full_match({text}, '{_HOUR_ONLY}')"
        f" THEN TRY_CAST(left({text}, 10) || ' ' || substr({text}, 12, 2) || ':00:00' AS TIMESTAMP)"
        f" WHEN regexp_full_match({text}, '{_ISO}') THEN CAST(TRY_CAST({text} AS TIMESTAMPTZ) AS TIMESTAMP) END"
    )


def reason_sql(columns: Sequence[str], now: datetime, *, written: str = "") -> str:
    """The reason why a row is left out, or NULL. ``written``: prefix of the text of each metric before it was a number.

    A metric without a value is kept: not every source measures everything.
    """
    cases = [
        f"WHEN {ID} IS NULL THEN 'sample.resource_missing'",
        f"WHEN {HOUR} IS NULL OR NOT isfinite({HOUR}) THEN 'sample.hour'",
        f"WHEN {HOUR} < TIMESTAMP '{EARLIEST}' THEN 'sample.hour'",
        f"WHEN {HOUR} > {moment(now)} THEN 'sample.future'",
    ]
    for name in columns:
        if written:
            cases.append(f"WHEN {name} IS NULL AND {written}{name} IS NOT NULL THEN 'sample.number'")
        cases.append(f"WHEN {name} IS NOT NULL AND NOT isfinite(CAST({name} AS DOUBLE)) THEN 'sample.number'")
    if columns:
        cases.append(f"WHEN least({', '.join(columns)}) < 0 THEN 'sample.negative'")
    cases += [f"WHEN {name} > {METRICS[name].most} THEN 'sample.too_large'" for name in columns]
    return f"CASE {' '.join(cases)} END"


def moment(at: datetime) -> str:
    """An instant as SQL, in UTC."""
    return f"TIMESTAMP '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}'"


def clean(engine: Engine, path: Path, columns: Sequence[str], now: datetime, report: Report) -> None:
    """Write the readable samples of a file into a new table ``cleaned``: id, hour (UTC timestamp), and ``columns``.

    Raises Invalid for a file that cannot be read at all (see ``columns_of``, ``require``).
    """
    found = columns_of(engine, path)
    require(found, (ID, HOUR, *columns), path)
    db = engine.db
    db.execute("SET preserve_insertion_order = true")  # so that a row's number is its place in the file
    try:
        db.execute(f"CREATE TEMP TABLE checked AS {_checked(path, found, columns, now)}")
        broken = _broken_lines(engine, path)
    except (duckdb.Error, OSError, EOFError, zlib.error) as error:
        raise Unreadable([Problem("metrics.broken", path.name, params={"detail": _line(error)})]) from error
    finally:
        db.execute("SET preserve_insertion_order = false")
    report.rows += engine.one("SELECT count(*) FROM checked")[0] + len(broken)
    if broken:
        report.leave("sample.broken", len(broken), (f"{path.name}:{line}" for line in broken))
    left = engine.rows(
        f"SELECT reason, count(*), min(place, {FIRST}) FROM checked WHERE reason IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    for reason, count, places in left:
        report.leave(reason, count, (f"{path.name}:{_line_number(place, broken, path)}" for place in places))
    names = ", ".join((ID, HOUR, *columns))
    db.execute(f"CREATE TABLE cleaned AS SELECT {names} FROM checked WHERE reason IS NULL")
    db.execute("DROP TABLE checked")


def _checked(path: Path, found: dict[str, str], columns: Sequence[str], now: datetime) -> str:
    names = list(found)
    by_line = not is_parquet(path) and _read_by_line(path)

    def raw(column: str) -> str:
        return f"fields[{names.index(column) + 1}]" if by_line else f"CAST({quoted(column)} AS VARCHAR)"

    texts = ", ".join(
        f"nullif(trim({raw(c)}), '') AS {prefix}{c}"
        for c, prefix in ((ID, ""), (HOUR, "t_"), *((c, "t_") for c in columns))
    )
    numbers = "".join(f", TRY_CAST(t_{c} AS DOUBLE) AS {c}" for c in columns)
    kept = "".join(f", t_{c}" for c in columns)
    reason = reason_sql(columns, now, written="t_")
    if by_line:
        kept += ", whole"
        texts += ", whole"
        reason = f"CASE WHEN NOT whole THEN 'sample.broken' ELSE {reason} END"
    return f"""
        SELECT place, {ID}, {HOUR}{"".join(f", {c}" for c in columns)}, {reason} AS reason
        FROM (SELECT place, {ID}, {hour_sql(f"t_{HOUR}")} AS {HOUR}{kept}{numbers}
              FROM (SELECT place, {texts} FROM ({_lines(path, names) if by_line else _rows(path, names)})))
        """


def _read_by_line(path: Path) -> bool:
    """Whether a line may be more than its commas tell: quotes, or lines that do not all end alike.

    Most files have neither, and are read at once.
    """
    returns = feeds = both = 0
    last = b""
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as raw:
        for chunk in iter(lambda: raw.read(1 << 20), b""):
            if b'"' in chunk:
                return True
            feeds += chunk.count(b"\n")
            if b"\r" in chunk or last == b"\r":
                returns += chunk.count(b"\r")
                both += (last + chunk).count(b"\r\n")
            last = chunk[-1:]
    return returns > 0 and not returns == feeds == both


def _rows(path: Path, names: Sequence[str]) -> str:
    """Rows of Parquet, or of CSV of one kind of lines, without quotes, with their ``place``."""
    if is_parquet(path):
        source = f"read_parquet({listing([path])}, hive_partitioning = false)"
    else:
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
        source = f"read_csv({listing([path])}, header = true, delim = ',', columns = {{{columns}}}, {_HOW})"
    return f"SELECT row_number() OVER () AS place, * FROM {source}"


_HOW = "auto_detect = false, store_rejects = true, rejects_limit = 0, hive_partitioning = false"
_FIELD = r'"(?:[^"]|"")*"|[^",]*'
"""One field of a line: in quotes, doubled inside, or without any."""
_NEVER = "\x01\x1f\x02"
"""Stands between columns of a line, of which there is one: in no text."""


def _lines(path: Path, names: Sequence[str]) -> str:
    """The ``fields`` of each line of CSV that is read by line, with its ``place`` and whether it is ``whole``.

    A line is a row whatever its quotes say: one that is not closed spoils its own line, and no other.
    """
    columns = "columns = {'line': 'VARCHAR'}, header = false, skip = 1, strict_mode = false"
    source = f"read_csv({listing([path])}, delim = '{_NEVER}', quote = '', escape = '', {columns}, {_HOW})"
    in_quotes = f"""
        CASE WHEN regexp_full_match(line, '(?:{_FIELD})(?:,(?:{_FIELD}))*') THEN
            list_transform(regexp_extract_all(',' || line, ',({_FIELD})', 1),
                lambda f: CASE WHEN starts_with(f, '"') THEN replace(f[2:-2], '""', '"') ELSE f END) END
        """
    fields = f"CASE WHEN contains(line, '\"') THEN {in_quotes} ELSE string_split(line, ',') END"
    return f"""
        SELECT place, fields, coalesce(len(fields) = {len(names)}, false) AS whole
        FROM (SELECT place, {fields} AS fields
              FROM (SELECT row_number() OVER () AS place, rtrim(line, chr(13)) AS line FROM {source})
              WHERE line <> '')
        """


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _broken_lines(engine: Engine, path: Path) -> list[int]:
    """Lines that are no rows of this file at all: too few or too many fields, an open quote, not UTF-8."""
    if is_parquet(path):
        return []
    rows = engine.rows("SELECT DISTINCT line FROM reject_errors ORDER BY 1")
    engine.db.execute("DELETE FROM reject_errors")
    engine.db.execute("DELETE FROM reject_scans")
    return [int(row[0]) for row in rows]


def _line_number(place: int, broken: Sequence[int], path: Path) -> int:
    """The line of the n-th row that was read: after the header, and after the broken lines before it."""
    if is_parquet(path):
        return place
    line = place + 1
    for each in broken:
        if each > line:
            break
        line += 1
    return line


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
