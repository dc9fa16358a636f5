"""A file of usage spans as DuckDB reads it: CSV or Parquet, every column as the text that CSV would hold.

Called by: ``chargeback.columnar``; ``offline``, for the rows of Parquet. Must not: judge a row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from broker.chargeback.span_file import columns_of
from broker.errors import Invalid, Problem

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|\+00:00)"
_PATTERN = frozenset("*?[")
"""DuckDB takes a path with one of these for a pattern, and reads whatever matches."""


class NotOrdinary(Exception):
    """This path does not answer; it says nothing about what is wrong."""


@contextmanager
def named_plainly(path: Path) -> Iterator[str]:
    """A name of the file that DuckDB takes for nothing but a name."""
    if _PATTERN.isdisjoint(str(path)):
        yield str(path)
        return
    with TemporaryDirectory(prefix="rate-") as folder:
        link = Path(folder, "spans")
        link.symlink_to(path.absolute())
        yield str(link)


def csv_source(path: Path, plain: str, *, reject: bool = False) -> tuple[str, dict[str, str]]:
    """``reject``: rows that cannot be read are set aside (``broken_rows``), and not the whole file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            header = next(csv.reader(file, strict=True), None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise NotOrdinary from error
    where = columns_of(header, path.name)
    names = {at: name for name, at in where.items()}
    every = ", ".join(f"{quoted(names.get(at, f'other_{at}'))}: 'VARCHAR'" for at in range(len(header or ())))
    wrong = "store_rejects = true, rejects_limit = 0" if reject else "ignore_errors = false"
    source = (
        f"read_csv({quoted(plain)}, columns = {{{every}}}, header = false, skip = 1, delim = ',', quote = '\"',"
        f" escape = '\"', auto_detect = false, strict_mode = true, null_padding = false, {wrong},"
        " max_line_size = 1048576)"
    )
    return source, dict.fromkeys(where, "VARCHAR")


def parquet_source(connection: duckdb.DuckDBPyConnection, path: Path, plain: str) -> tuple[str, dict[str, str]]:
    """Raises Invalid ``spans.parquet`` for a file that is none, and as for CSV for its columns."""
    source = f"read_parquet({quoted(plain)})"
    try:
        rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    except duckdb.Error as error:
        raise _no_parquet(path, error) from error
    where = columns_of([row[0] for row in rows], path.name)
    # Only ours, by our names: another column may be called as something that is computed from them.
    ours = ", ".join(f"{_name(rows[at][0])} AS {name}" for name, at in where.items())
    source = f"(SELECT {ours} FROM {source})"
    return source, {name: str(rows[at][1]) for name, at in where.items()}


def parquet_rows(path: Path) -> Iterator[list[str]]:
    """A Parquet file as CSV would have it, header first: for the slow path, which names what is wrong."""
    with named_plainly(path) as plain, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        source, types = parquet_source(connection, path, plain)
        yield list(types)
        found = ", ".join(f"coalesce({text_of(name, kind)}, '')" for name, kind in types.items())
        try:
            cursor = connection.execute(f"SELECT {found} FROM {source}")
            while block := cursor.fetchmany(10_000):
                yield from (list(row) for row in block)
        except duckdb.Error as error:
            raise _no_parquet(path, error) from error


def _no_parquet(path: Path, error: duckdb.Error) -> Invalid:
    return Invalid([Problem("spans.parquet", path.name, params={"detail": str(error)[:200]})])


def text_of(name: str, kind: str) -> str:
    """A column as the text that CSV would hold: times in UTC with what they have, numbers without exponents."""
    if kind.startswith("TIMESTAMP"):
        moment = f"CAST({name} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'" if "ZONE" in kind else f"CAST({name} AS TIMESTAMP)"
        fine, whole = (f"strftime({moment}, '%Y-%m-%dT%H:%M:%S{rest}Z')" for rest in (".%f", ""))
        return f"CASE WHEN epoch_us({moment}) % 1000000 <> 0 THEN {fine} ELSE {whole} END"
    if kind.startswith("DECIMAL"):
        plain = f"CAST({name} AS VARCHAR)"
        return f"CASE WHEN contains({plain}, '.') THEN rtrim(rtrim({plain}, '0'), '.') ELSE {plain} END"
    return f"CAST({name} AS VARCHAR)"


def instant(value: str) -> str:
    """A time as the file may spell it, or NULL; nearly all have twenty characters, of which one form is left."""
    plain = f"try_strptime({value}, '%Y-%m-%dT%H:%M:%SZ')"
    other = f"CASE WHEN regexp_full_match({value}, '{_TIME}') THEN TRY_CAST({value} AS TIMESTAMP) END"
    return f"CASE WHEN length({value}) = 20 AND NOT contains({value}, ' ') THEN {plain} ELSE {other} END"


def _name(word: str) -> str:
    """A column's name as SQL, whatever is in it."""
    return '"' + word.replace('"', '""') + '"'


def quoted(word: str) -> str:
    """A word as an SQL literal."""
    return "'" + word.replace("'", "''") + "'"
