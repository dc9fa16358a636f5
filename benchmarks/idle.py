"""How long detection takes over a region's utilisation, beside the least that any reading of the same columns costs.

Goals: 100,000 resources x 90 days hourly (216 million rows) within 15 s on two cores, at most 2.5 times the bare scan
of the same Parquet columns, at most 1 GiB of memory. Two files of policies: one with the p95 condition alone, whose
usual price would be sorting, and the policies that are shipped, all at once (``…_shipped_…``).

The floor reads, for each of the two, every value of just the columns that its policies look at, the resource and the
hour, from the same files by the same engine with the same threads and memory (``utilisation.engine``), and keeps one
figure a column. It does not start Python, and prints nothing; the scan's time has both in it.

The samples are written by the very function of an import (``store.write_day``): a file a UTC day, its rows by local
day, resource and hour, packed with zstd. ``IDLE_TRACE`` names an hourly trace in the import's format to repeat
(Bitbrains has these columns; CSV or CSV.gz). No trace is shipped: of the public ones with a utilisation for each
machine, Bitbrains and PlanetLab come without a licence that lets others pass them on, and the Azure ones that do
(CC BY 4.0) hold, in a size that could be, requests or a fleet's sum only. Without one, traces of the same shape are
made up: quiet and busy resources, a day's rhythm, gaps, days off; the lines above the table say which it was.
``IDLE_FOLDER`` keeps what was made for the next run.

The scan is a process of its own, ``guiyun idle scan --json``, so that its peak is its own. Peers, in the same run at
10,000 resources: one resource after another in pandas, and SQL in PostgreSQL (the embedded one, index on resource and
hour, sorted p95).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psycopg
import yaml
from rich.console import Console

from broker.embedded.postgres import EmbeddedPostgres, libpq_url
from broker.utilisation import policy_file
from broker.utilisation.engine import engine, parquet
from broker.utilisation.policy_file import parse_policies
from broker.utilisation.samples import files_of
from broker.utilisation.store import write_day
from broker.utilisation.values import conditions

console = Console(stderr=True)

DAYS = 90
DISTINCT = 500
"""Traces that are made; more resources repeat them."""
SHIPPED = Path(policy_file.__file__).parent / "data" / "policies.yaml"
LIMIT = 5
RUN_DAYS = 30
POLICY = f"""
policies:
  - name: idle
    kind: server
    when: {{all: [{{metric: cpu_avg_pct, daily: p95, below: {LIMIT}}}]}}
    days: {RUN_DAYS}
    min_samples_per_day: 1
    missing_day: break
"""
_MADE_UP = f"""
CREATE TABLE trace AS
WITH hours AS (
    SELECT v, h, v * 7919 % 100 / 100.0 AS busy, TIMESTAMP '2026-08-01' + INTERVAL (h) HOUR AS hour_utc,
           hash(v * 100003 + h) % 1000 / 1000.0 AS chance
    FROM range({DISTINCT}) a(v), range({DAYS} * 24) b(h)
)
SELECT v, hour_utc, CASE WHEN v % 17 = 0 AND h // 24 BETWEEN 40 AND 60 THEN 0 ELSE 1 + v % 8 END::DOUBLE AS vcpu,
    (4 + v % 60)::DOUBLE AS mem_gib,
    round(60 * busy ** 3 * (1 + 0.5 * sin(h / 3.82)) + 4 * chance, 1)::DOUBLE AS cpu_avg_pct,
    round(70 * busy ** 3 * (1 + 0.5 * sin(h / 3.82)) + 40 * chance, 1)::DOUBLE AS cpu_max_pct,
    round(2 * busy + chance, 2)::DOUBLE AS mem_used_gib,
    round(500 * busy * chance, 1)::DOUBLE AS disk_kbps, round(300 * busy * chance, 1)::DOUBLE AS net_kbps,
    12 AS n_samples, 0 AS n_off
FROM hours WHERE hash(v * 31 + h // 30) % 200 <> 0
"""
_READ = """
CREATE TABLE trace AS SELECT dense_rank() OVER (ORDER BY vm_id) - 1 AS v,
    strptime(hour_utc, '%Y-%m-%dT%HZ') AS hour_utc, vcpu::DOUBLE AS vcpu, mem_gib::DOUBLE AS mem_gib,
    cpu_avg_pct::DOUBLE AS cpu_avg_pct, cpu_max_pct::DOUBLE AS cpu_max_pct, mem_used_gib::DOUBLE AS mem_used_gib,
    disk_kbps::DOUBLE AS disk_kbps, net_kbps::DOUBLE AS net_kbps, n_samples, n_off
FROM read_csv('{}')
"""
_DAY = """
SELECT printf('VM-%06d', k * {distinct} + v) AS vm_id, * EXCLUDE (v, d, k) FROM range({copies}) c(k), trace
WHERE d = DATE '{day}' AND k * {distinct} + v < {count}
"""
_POSTGRES = f"""
WITH daily AS (
    SELECT vm_id, date(hour_utc + interval '8 hours') AS d,
        percentile_disc(0.95) WITHIN GROUP (ORDER BY cpu_avg_pct) AS p95
    FROM sample GROUP BY 1, 2),
runs AS (
    SELECT vm_id, d, d - (row_number() OVER (PARTITION BY vm_id ORDER BY d))::int AS island
    FROM daily WHERE p95 < {LIMIT})
SELECT count(*) FROM (
    SELECT 1 FROM runs GROUP BY vm_id, island HAVING count(*) >= {RUN_DAYS}) found
"""
_PANDAS = f"""
import sys
import duckdb
import pandas as pd
frame = duckdb.sql("SELECT vm_id, hour_utc, cpu_avg_pct FROM '" + sys.argv[1] + "/*.parquet'").df()
frame["vm_id"] = frame["vm_id"].astype("category")
frame["day"] = (frame["hour_utc"] + pd.Timedelta(hours=8)).dt.floor("D")
found = 0
for _, one in frame.groupby("vm_id", sort=False, observed=True):
    ordered = one.sort_values(["day", "cpu_avg_pct"])
    n = ordered.groupby("day")["cpu_avg_pct"].size()
    p95 = ordered["cpu_avg_pct"].to_numpy()[(n.cumsum() - n - (-19 * n // 20) - 1).to_numpy()]
    idle = n.index[p95 < {LIMIT}].to_series()
    runs = (idle.diff() != pd.Timedelta(days=1)).cumsum()
    found += int((runs.value_counts() >= {RUN_DAYS}).sum())
print(found)
"""


def run(scale: str) -> Mapping[str, float | int]:
    """Ours at 10,000 (and, at full scale, 100,000) resources, the floor, and the peers at 10,000."""
    sizes = {"small": (10_000,), "full": (10_000, 100_000)}[scale]
    found: dict[str, float | int] = {}
    trace = os.environ.get("IDLE_TRACE")
    console.print(f"traces repeated: {Path(trace).name if trace else 'made up'}")
    with _folder() as folder:
        policy = folder / "policy.yaml"
        policy.write_text(POLICY)
        for count in sizes:
            name = f"{count // 1000}k"
            samples = folder / name
            rows = _make(samples, count)
            for kind, columns, file in (("", ["cpu_avg_pct"], policy), ("shipped_", _columns(SHIPPED), SHIPPED)):
                floor = min(_floor(samples, columns) for _ in range(2))
                took, peak, runs = _scan(samples, file)
                figures = {"scan_s": took, "scan_peak_mib": peak, "floor_scan_s": floor}
                found |= {f"{key.replace('scan_', f'scan_{kind}')}_{name}": value for key, value in figures.items()}
                title = f"{rows:,} rows of {count:,} resources, {kind or 'one_condition_'}policy"
                console.print(
                    f"{title}: {runs:,} runs; {took:.2f} s, {took / floor:.2f} x the bare scan, {peak:.0f} MiB"
                )
                if count == 10_000 and not kind:
                    found |= _peers(samples, folder, runs)
    return found


@contextmanager
def _folder() -> Iterator[Path]:
    kept = os.environ.get("IDLE_FOLDER")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="guiyun-bench-idle-") as name:
        yield Path(name)


def _make(folder: Path, count: int) -> int:
    """Write the samples of ``count`` resources; returns the rows."""
    trace = os.environ.get("IDLE_TRACE", "")
    mark = folder / "complete"
    if not mark.exists() or mark.read_text() != trace:
        for old in folder.glob("*.parquet"):
            old.unlink()
        folder.mkdir(exist_ok=True)
        began = time.perf_counter()
        with engine(memory_mib=3000) as scratch:
            db = scratch.db
            db.execute(_READ.format(trace) if trace else _MADE_UP)
            db.execute("ALTER TABLE trace ADD COLUMN d DATE")
            db.execute("UPDATE trace SET d = CAST(hour_utc AS DATE)")
            (distinct,) = db.execute("SELECT max(v) + 1 FROM trace").fetchone() or (0,)
            days = [day for (day,) in db.execute("SELECT DISTINCT d FROM trace ORDER BY 1").fetchall()]
            for day in days:
                path = folder / f"{day}.parquet"
                copies = -(-count // distinct)
                write_day(scratch, _DAY.format(distinct=distinct, copies=copies, day=day, count=count), day, path)
        mark.write_text(trace)
        console.print(f"made {folder.name} in {time.perf_counter() - began:.0f} s")
    found = duckdb.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata('{folder}/*.parquet')").fetchone()
    assert found is not None
    return int(found[0])


def _columns(file: Path) -> list[str]:
    """The metrics that a file of policies looks at."""
    policies = parse_policies(yaml.safe_load(file.read_text())).measured
    return sorted({leaf.metric for policy in policies for leaf in conditions(policy.when)})


def _floor(folder: Path, columns: Sequence[str]) -> float:
    """The bare scan: every value of these columns, the name and the hour is read, nothing is kept."""
    sums = "".join(f", sum({column})" for column in columns)
    with engine() as bare:
        began = time.perf_counter()
        bare.rows(f"SELECT max(vm_id), max(hour_utc){sums} FROM {parquet(files_of(folder))}")
        return time.perf_counter() - began


def _scan(folder: Path, policy: Path) -> tuple[float, float, int]:
    """Seconds, peak MiB and runs of the command, start and output included."""
    program = Path(sys.executable).parent / "guiyun"
    command = [str(program), "idle", "scan", "--metrics", str(folder), "--policy", str(policy), "--json"]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError("the scan failed")
        out.seek(0)
        runs = sum(1 for _ in out)
    return took, usage.ru_maxrss / 1024, runs


def _peers(samples: Path, folder: Path, runs: int) -> dict[str, float | int]:
    """What others would do; each must find as many runs."""
    found: dict[str, float | int] = {}
    for name, peer in (("pandas", _pandas), ("postgres", _postgres)):
        took, their_runs = peer(samples, folder)
        if their_runs != runs:
            raise RuntimeError(f"{name} finds {their_runs} runs, not {runs}")
        found[f"peer_{name}_s_10k"] = took
    return found


def _pandas(samples: Path, folder: Path) -> tuple[float, int]:
    script = folder / "peer.py"
    script.write_text(_PANDAS)
    began = time.perf_counter()
    said = subprocess.run([sys.executable, script, samples], check=True, capture_output=True, text=True)
    return time.perf_counter() - began, int(said.stdout)


def _postgres(samples: Path, folder: Path) -> tuple[float, int]:
    """Loading and indexing are not counted: a table that is there already."""
    server = EmbeddedPostgres(
        folder / "postgres", durable=False, settings={"work_mem": "256MB", "shared_buffers": "1GB"}
    )
    server.start()
    try:
        with psycopg.connect(libpq_url(server.superuser_url("guiyun")), autocommit=True) as db:
            db.execute(
                "CREATE UNLOGGED TABLE IF NOT EXISTS sample (vm_id text, hour_utc timestamp, cpu_avg_pct float8)"
            )
            db.execute("TRUNCATE sample")
            rows = folder / "sample.csv"
            duckdb.execute(
                f"COPY (SELECT vm_id, hour_utc, cpu_avg_pct FROM '{samples}/[0-9]*.parquet') TO '{rows}' (HEADER false)"
            )
            with rows.open("rb") as file, db.cursor().copy("COPY sample FROM STDIN (FORMAT csv)") as copy:
                while block := file.read(1 << 20):
                    copy.write(block)
            rows.unlink()
            db.execute("CREATE INDEX IF NOT EXISTS by_resource ON sample (vm_id, hour_utc) INCLUDE (cpu_avg_pct)")
            db.execute("VACUUM ANALYZE sample")
            began = time.perf_counter()
            answer = db.execute(_POSTGRES).fetchone()
            took = time.perf_counter() - began
            assert answer is not None
            return took, int(answer[0])
    finally:
        server.stop()
