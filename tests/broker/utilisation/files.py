"""Files of samples for tests."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from tests.broker.utilisation.oracle import Row

METRICS = (
    "vcpu",
    "mem_gib",
    "cpu_avg_pct",
    "cpu_max_pct",
    "mem_used_gib",
    "disk_kbps",
    "net_kbps",
    "n_samples",
    "n_off",
)
COLUMNS = ("vm_id", "hour_utc", *METRICS)
NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
USUAL = {
    "vcpu": "2",
    "mem_gib": "4",
    "cpu_avg_pct": "1.5",
    "cpu_max_pct": "3",
    "mem_used_gib": "0.5",
    "disk_kbps": "7.5",
    "net_kbps": "0.2",
    "n_samples": "12",
    "n_off": "0",
}


def row(resource: str, hour: datetime, **values: str | None) -> Row:
    """A sample, idle unless told otherwise."""
    return Row(resource, hour, {**USUAL, **values})


def hours(start: datetime, count: int) -> list[datetime]:
    return [start + timedelta(hours=n) for n in range(count)]


def line(each: Row) -> list[str]:
    return [each.resource, f"{each.hour:%Y-%m-%dT%HZ}", *(each.values[name] or "" for name in METRICS)]


def write_csv(path: Path, rows: Iterable[Row], extra: Sequence[str] = (), header: Sequence[str] = COLUMNS) -> Path:
    """``extra``: lines as they stand, after the rows."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(line(each) for each in rows)
        file.writelines(f"{each}\n" for each in extra)
    return path


def write_parquet(path: Path, rows: Iterable[Row], types: Mapping[str, str] = {}) -> Path:
    """Through a CSV file; ``types`` where they are not the store's own."""
    source = write_csv(path.with_suffix(".csv"), rows)
    kinds = {"vm_id": "VARCHAR", "hour_utc": "TIMESTAMP", **dict.fromkeys(METRICS, "DOUBLE"), **types}
    columns = ", ".join(
        f"CAST({'left(hour_utc, 13) || $$:00:00$$' if n == 'hour_utc' and k != 'VARCHAR' else n} AS {k}) AS {n}"
        for n, k in kinds.items()
    )
    with duckdb.connect() as db:
        db.execute(
            f"COPY (SELECT {columns} FROM read_csv('{source}', all_varchar = true, header = true))"
            f" TO '{path}' (FORMAT parquet)"
        )
    source.unlink()
    return path
