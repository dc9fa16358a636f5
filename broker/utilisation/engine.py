"""DuckDB within its limits: a memory limit, a folder to spill into, no download of extensions.

Called by: ``utilisation.scan``, ``utilisation.store``, the benchmark. Must not: know what a sample is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

MEMORY_MIB = 640
"""With what Python and the reading of Parquet take beside it, a scan stays below 1 GiB."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A connection and the scratch folder that dies with it."""

    db: duckdb.DuckDBPyConnection
    folder: Path

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.db.execute(sql).fetchall()

    def one(self, sql: str) -> tuple[Any, ...]:
        """The only row of an aggregate."""
        found = self.db.execute(sql).fetchone()
        assert found is not None
        return found


@contextmanager
def engine(memory_mib: int = MEMORY_MIB, threads: int | None = None) -> Iterator[Engine]:
    """A database in a scratch folder: its tables are compressed and may leave memory."""
    with tempfile.TemporaryDirectory(prefix="guiyun-utilisation-") as name:
        folder = Path(name)
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mib}MiB",
            "temp_directory": str(folder / "spill"),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if threads is not None:
            config["threads"] = threads
        db = duckdb.connect(folder / "scratch.duckdb", config=config)
        try:
            db.execute("SET TimeZone = 'UTC'")
            db.execute("SET enable_progress_bar = false")  # it would be drawn on standard output, into an answer
            db.execute("SET parquet_metadata_cache = true")  # a day lies in two files: each is opened twice
            yield Engine(db, folder)
        finally:
            db.close()


def literal(text: object) -> str:
    """A value as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def listing(paths: object) -> str:
    """Paths as an SQL list. A path is taken as it stands: what would be a pattern is escaped."""
    assert isinstance(paths, list | tuple)
    return "[" + ", ".join(literal(_plain(str(path))) for path in paths) + "]"


def parquet(paths: object, *options: str) -> str:
    """A table of Parquet files, columns matched by their names; ``day=...`` in a path is no column."""
    return f"read_parquet({', '.join((listing(paths), 'union_by_name = true', 'hive_partitioning = false', *options))})"


def _plain(path: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)
