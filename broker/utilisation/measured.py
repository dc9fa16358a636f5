"""What the samples of a scan are, seen from the statistics in their Parquet files: spans, sizes, what needs checking.

Called by: ``utilisation.scan``. Must not: read a sample where the statistics tell. CSV is first written as Parquet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker.errors import Problem
from broker.utilisation.batches import Group
from broker.utilisation.engine import Engine, listing, parquet
from broker.utilisation.samples import (
    EARLIEST,
    Report,
    clean,
    hour_sql,
    is_parquet,
    moment,
    parquet_columns,
    require,
)
from broker.utilisation.values import HOUR, ID, METRICS, Unreadable

_TIMESTAMPS = ("TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMP WITH TIME ZONE")
_NUMBERS = ("DOUBLE", "FLOAT", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")


@dataclass(frozen=True, slots=True)
class Measured:
    """``resource``, ``hour``: SQL of the sample's id and UTC timestamp. ``gaps``: metrics without a value in some row.

    ``checks``: what a row must fulfil where the statistics do not already prove it.
    """

    files: tuple[str, ...]
    rows: int
    first: datetime
    last: datetime
    resource: str
    hour: str
    gaps: frozenset[str]
    checks: tuple[str, ...]
    groups: tuple[Group, ...]


def open_metrics(
    engine: Engine, paths: Sequence[Path], columns: Sequence[str], now: datetime, report: Report
) -> Measured | None:
    """Prepare files for a scan over ``columns``. None when they hold no rows that can be read.

    Raises Invalid (see ``samples``) for a file that cannot be read at all.
    """
    files = [path if is_parquet(path) else _as_parquet(engine, path, columns, now, report) for path in paths]
    types = parquet_columns(engine, files)
    for path in files:
        require(types[str(path)], (ID, HOUR, *columns), path)
    _require_numbers(types, columns)
    found = _measure(engine, types, columns, now)
    report.rows += 0 if found is None else found.rows
    return found


def _as_parquet(engine: Engine, path: Path, columns: Sequence[str], now: datetime, report: Report) -> Path:
    before = report.rows, report.counts.total()
    clean(engine, path, columns, now, report)
    at = engine.folder / f"{sum(1 for _ in engine.folder.glob('*.parquet'))}.parquet"
    engine.db.execute(f"COPY cleaned TO '{at}' (FORMAT parquet)")
    engine.db.execute("DROP TABLE cleaned")
    # Its good rows are counted when the Parquet is: do not count them twice.
    report.rows = before[0] + report.counts.total() - before[1]
    return at


def _require_numbers(types: dict[str, dict[str, str]], columns: Sequence[str]) -> None:
    wrong = [
        Problem("metrics.column_type", Path(path).name, params={"column": c, "type": found[c]})
        for path, found in types.items()
        for c in columns
        if not found[c].startswith((*_NUMBERS, "UBIGINT", "DECIMAL"))
    ]
    if wrong:
        raise Unreadable(wrong)


def _measure(
    engine: Engine, types: dict[str, dict[str, str]], columns: Sequence[str], now: datetime
) -> Measured | None:
    files = list(types)
    resource, hour, plain = _keys(types)
    _footers(engine, files, columns)
    groups = _groups(engine, types, plain=plain)
    rows = sum(group.rows for group in groups)
    if not rows:
        return None
    first, last, inside = _extent(engine, files, hour, groups, now)
    gaps, unproven, bare_ids = _proven(engine, files, types, columns)
    checks = [f"({c} BETWEEN 0 AND {METRICS[c].most}{f' OR {c} IS NULL' * (c in gaps)})" for c in unproven]
    checks += [f"{ID} IS NOT NULL"] * bare_ids
    if not inside:
        checks.append(f"{hour} BETWEEN TIMESTAMP '{EARLIEST}' AND {moment(now)}")
    return Measured(tuple(files), rows, first, last, resource, hour, frozenset(gaps), tuple(checks), groups)


def _footers(engine: Engine, files: list[str], columns: Sequence[str]) -> None:
    """Fill ``footer``: what the files say of each of these columns in each row group, read once."""
    names = ", ".join(f"'{c}'" for c in (ID, HOUR, *columns))
    engine.db.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE footer AS
        SELECT file_name, row_group_id, row_group_num_rows, path_in_schema, stats_min_value, stats_max_value,
            coalesce(stats_min_value, stats_min) AS least, coalesce(stats_max_value, stats_max) AS most,
            coalesce(stats_null_count = 0, false) AS whole
        FROM parquet_metadata({listing(files)}) WHERE path_in_schema IN ({names})
        """
    )


def _keys(types: dict[str, dict[str, str]]) -> tuple[str, str, bool]:
    """SQL of the id and of the hour as a UTC timestamp, and whether every file holds the hour as just that.

    Raises Invalid ``metrics.column_type``.
    """
    ids, hours = ({found[name] for found in types.values()} for name in (ID, HOUR))
    strange = hours - {"TIMESTAMP", "VARCHAR", *_TIMESTAMPS}
    if strange:
        path = next(path for path, found in types.items() if found[HOUR] in strange)
        params = {"column": HOUR, "type": types[path][HOUR]}
        raise Unreadable([Problem("metrics.column_type", Path(path).name, params=params)])
    resource = ID if len(ids) == 1 else f"CAST({ID} AS VARCHAR)"
    if hours == {"TIMESTAMP"}:
        return resource, HOUR, True
    if "VARCHAR" in hours:
        return resource, hour_sql(f"CAST({HOUR} AS VARCHAR)"), False
    return resource, f"CAST({HOUR} AS TIMESTAMP)", False


def _extent(
    engine: Engine, files: list[str], hour: str, groups: Sequence[Group], now: datetime
) -> tuple[datetime, datetime, bool]:
    """The first and the last hour that are plausible, and whether all are."""
    earliest = datetime.fromisoformat(EARLIEST).replace(tzinfo=UTC)
    spans = [group.hours for group in groups if group.rows]
    if spans and all(span is not None and earliest <= span[0] and span[1] <= now for span in spans):
        known = [span for span in spans if span is not None]
        return min(span[0] for span in known), max(span[1] for span in known), True
    first, last = engine.one(
        f"SELECT min(h), max(h) FROM (SELECT {hour} AS h FROM {parquet(files)})"
        f" WHERE h BETWEEN TIMESTAMP '{EARLIEST}' AND {moment(now)}"
    )
    return (now, now, False) if first is None else (first.replace(tzinfo=UTC), last.replace(tzinfo=UTC), False)


def _proven(
    engine: Engine, files: list[str], types: dict[str, dict[str, str]], columns: Sequence[str]
) -> tuple[set[str], list[str], bool]:
    """Metrics with gaps, metrics that the statistics do not prove to be in range, whether ids may be missing.

    A float's statistics pass over what is not a number, unless DuckDB wrote them: it leaves them out then.
    """
    seen: dict[str, tuple[Any, ...]] = {
        row[0]: row[1:]
        for row in engine.rows(
            """
            SELECT path_in_schema, bool_and(whole), min(TRY_CAST(least AS DOUBLE)), max(TRY_CAST(most AS DOUBLE)),
                bool_and(most IS NOT NULL)
            FROM footer GROUP BY 1
            """
        )
    }
    ours = engine.one(
        f"SELECT bool_and(coalesce(created_by, '') LIKE 'DuckDB%') FROM parquet_file_metadata({listing(files)})"
    )[0]
    gaps = {c for c in columns if not seen[c][0]}
    unproven = []
    for column in columns:
        _, least, most, complete = seen[column]
        whole = all(not found[column].startswith(("FLOAT", "DOUBLE")) for found in types.values())
        inside = least is not None and most is not None and least >= 0 and most <= METRICS[column].most
        if not (complete and inside and (ours or whole)):
            unproven.append(column)
    return gaps, unproven, not seen[ID][0]


def _groups(engine: Engine, types: dict[str, dict[str, str]], *, plain: bool) -> tuple[Group, ...]:
    """The row groups with their spans of hours (when they are plain timestamps) and of resource ids."""
    id_types = {found[ID] for found in types.values()}
    numeric = id_types <= {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}
    rows = engine.rows(
        f"""
        SELECT file_name, any_value(row_group_num_rows),
            any_value(TRY_CAST(stats_min_value AS TIMESTAMP)) FILTER (path_in_schema = '{HOUR}'),
            any_value(TRY_CAST(stats_max_value AS TIMESTAMP)) FILTER (path_in_schema = '{HOUR}'),
            any_value(stats_min_value) FILTER (path_in_schema = '{ID}'),
            any_value(stats_max_value) FILTER (path_in_schema = '{ID}'),
            bool_and(whole)
        FROM footer WHERE path_in_schema IN ('{ID}', '{HOUR}')
        GROUP BY file_name, row_group_id
        """
    )
    return tuple(
        Group(
            file,
            count,
            (first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)) if plain and whole and first and last else None,
            ((int(low), int(high)) if numeric else (low, high))
            if whole and low is not None and len(id_types) == 1
            else None,
        )
        for file, count, first, last, low, high, whole in rows
    )
