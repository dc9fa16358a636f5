"""Closing a month of 10,000, 100,000 and a million resources on the embedded PostgreSQL.

Goals: a million resources (about four million lines) within 60 s and 2 GiB on two cores, growth no worse than linear.

Each resource has one to four spans and one to three of five meters, and every price changes once in the month, at an
odd second. ``month_of`` makes it in SQL; ``benchmarks.rate`` rates the same resources, sizes and spans from files.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from rich.console import Console
from sqlalchemy import Engine, create_engine

from broker.chargeback import closing
from broker.db.migrate import upgrade
from broker.db.session import make_engine, make_sessions
from broker.embedded.postgres import EmbeddedPostgres
from broker.pricing.months import Month
from broker.region.loader import load
from broker.region.reading import read_region
from broker.tenancy.values import SYSTEM
from broker.tenancy.work import Work
from broker.workdays import load_calendar

console = Console(stderr=True)

SIZES = {"small": {"10k": 10_000, "100k": 100_000}, "full": {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}}
MONTH = Month(2026, 10)
AFTER = datetime(2026, 11, 2, tzinfo=UTC)
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)

_PRICES = """
UPDATE broker.tariff_price SET during = tstzrange(lower(during), '2026-10-15 04:00:01Z') WHERE upper_inf(during);
INSERT INTO broker.tariff_price (id, side, meter, price_cny, per, version, source, during)
SELECT gen_random_uuid(), side, meter, price_cny * 1.1, per, 'next', source, tstzrange('2026-10-15 04:00:01Z', NULL)
FROM broker.tariff_price;
INSERT INTO broker.project (id, unit_id, sub_cloud_id)
SELECT gen_random_uuid(), u.id, c.id FROM broker.unit u CROSS JOIN broker.sub_cloud c
WHERE c.tier = 'main' OR (c.tier = 'city' AND c.division_code = u.division_code)
ON CONFLICT DO NOTHING;
"""

# Constraints, keys and the trigger that hints at late usage would only slow down the making: the spans below are
# disjoint by construction, and no month is closed yet.
_RESOURCES = """
SET LOCAL session_replication_role = replica;
ALTER TABLE broker.resource_period DROP CONSTRAINT ex_resource_period;
CREATE TEMP TABLE home AS
SELECT row_number() OVER (ORDER BY id) - 1 AS n, id, unit_id, sub_cloud_id FROM broker.project;
INSERT INTO broker.resource (id, number, kind, origin, unit_id, sub_cloud_id, project_id, name, spec, state)
SELECT gen_random_uuid(), 'B-' || g.n, CASE WHEN g.n % 20 < 14 THEN 'server' ELSE 'volume' END, 'adopted',
       h.unit_id,
       h.sub_cloud_id, h.id, 'bench ' || g.n, '{{}}', 'active'
FROM generate_series(0, {count} - 1) AS g(n)
JOIN home h ON h.n = CAST(g.n AS bigint) * 7919 % (SELECT count(*) FROM home);
INSERT INTO broker.resource_period (id, resource_id, state, cpu_arch, vcpu, memory_gib, block_gib, block_class, during)
SELECT gen_random_uuid(), r.id, 'active',
       CASE WHEN r.k < 9 THEN 'x86_64' WHEN r.k < 14 THEN 'aarch64' END,
       CASE WHEN r.k < 14 THEN 1 + (r.n + i) % 16 ELSE 0 END,
       CASE WHEN r.k < 14 THEN 2 * (1 + (r.n + i) % 16) ELSE 0 END,
       CASE WHEN r.k >= 9 THEN 20 + 10 * ((r.n + i) % 50) ELSE 0 END,
       CASE WHEN r.k >= 14 THEN 'hdd' WHEN r.k >= 9 THEN 'ssd' END,
       tstzrange(to_timestamp(r.begin_s + i * r.step_s),
                 CASE WHEN i + 1 < r.spans OR r.n % 10 = 0 THEN to_timestamp(r.begin_s + (i + 1) * r.step_s) END)
FROM (SELECT id, n, n % 20 AS k, 1 + n % 4 AS spans,
             extract(epoch FROM timestamptz '2026-09-30 16:00:00Z') + n * 7907 % 432000 AS begin_s,
             500000 + n * 104729 % 80000 AS step_s
      FROM (SELECT id, substr(number, 3)::bigint AS n FROM broker.resource) AS x) AS r
CROSS JOIN LATERAL generate_series(0, r.spans - 1) AS i;
ANALYZE;
"""


@dataclass
class Peak:
    """The most memory seen, in MiB."""

    mib: float = 0


@contextmanager
def peak_of(*roots: int) -> Iterator[Peak]:
    """Watch the proportional memory (PSS) of these processes with all below them."""
    found, over = Peak(), Event()

    def watch() -> None:
        while not over.wait(0.25):
            found.mib = max(found.mib, sum(_pss(pid) for pid in _family(roots)) / 1024)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _family(roots: tuple[int, ...]) -> set[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


@contextmanager
def month_of(count: int) -> Iterator[tuple[EmbeddedPostgres, Engine]]:
    """A database with the demonstration region and ``count`` resources; the runtime role's engine."""
    folder = tempfile.TemporaryDirectory(prefix="guiyun-bench-")
    with folder, EmbeddedPostgres(Path(folder.name) / "postgres") as postgres:
        upgrade(postgres.owner_url())
        engine = make_engine(postgres.app_url(), pool_size=2)
        with make_sessions(engine).begin() as session:
            load(session, read_region(), now=LONG_AGO, demonstration=True, hasher=lambda _: "none")
        owner = create_engine(postgres.superuser_url("guiyun"))
        with owner.begin() as connection:
            plain = connection.execution_options(no_parameters=True)
            plain.exec_driver_sql(_PRICES)
            plain.exec_driver_sql(_RESOURCES.format(count=count))
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
        owner.dispose()
        yield postgres, engine
        engine.dispose()


def run(scale: str) -> Mapping[str, float | int]:
    """Close a month of each size."""
    found: dict[str, float | int] = {}
    for name, count in SIZES[scale].items():
        with month_of(count) as (postgres, engine), peak_of(os.getpid(), postgres.pid) as peak:
            began = time.perf_counter()
            with make_sessions(engine).begin() as session:
                closed = closing.close(Work(session, SYSTEM, AFTER, load_calendar(None)), MONTH)
            found[f"close_s_{name}"] = time.perf_counter() - began
        found[f"close_peak_mib_{name}"] = peak.mib
        console.print(
            f"{count} resources: {closed.lines} lines, {closed.statements} statements, {closed.total_fen} fen,"
            f" load {os.getloadavg()[0]:.1f}"
        )
    return found
