"""Rating a month of 10,000, 100,000 and a million resources from Parquet, with ``guiyun rate`` as people type it.

Goals: a million resources (about four million lines) within 8 s and 2 GiB on two cores, growth no worse than linear.
Beside it, in the same run: a loop in Python over Decimals (what the exact path by rows costs), and a bare scan of the
same file, below which nothing can go.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import duckdb
from rich.console import Console

from benchmarks.close import SIZES, peak_of

console = Console(stderr=True)

METERS = ("vcpu_x86_64", "memory_gib", "vcpu_aarch64", "block_gib_ssd", "block_gib_hdd")
CHANGE = "2026-10-15T04:00:01Z"

# The resources, sizes and spans of ``benchmarks.close``, so as many lines; what still runs ends with the month. Payers
# and prices are of its own: a file names them, a database works them out.
_SPANS = """
COPY (
  SELECT 'r-' || lpad(CAST(n AS VARCHAR), 9, '0') AS resource_id, 'p' || (n * 7919 % 120) AS payer_id,
         CAST(450100 + 100 * (n * 7919 % 14) AS VARCHAR) AS city_code, 'cloud-' || (n % 16) AS sub_cloud, m.meter,
         CAST(CASE WHEN m.factor = 0 THEN 20 + 10 * ((n + i) % 50) ELSE (1 + (n + i) % 16) * m.factor END
              AS DECIMAL(18, 3)) AS quantity,
         strftime(make_timestamp((begin_s + i * step_s) * 1000000), '%Y-%m-%dT%H:%M:%SZ') AS start_at,
         strftime(make_timestamp(CASE WHEN i < n % 4 OR n % 10 = 0 THEN begin_s + (i + 1) * step_s ELSE 1793462400 END
                                 * 1000000), '%Y-%m-%dT%H:%M:%SZ') AS end_at
  FROM (SELECT n, n % 20 AS k, 1790784000 + n * 7907 % 432000 AS begin_s, 500000 + n * 104729 % 80000 AS step_s
        FROM range({count}) AS t(n)) AS r
  JOIN (VALUES ('vcpu_x86_64', 1, 0), ('memory_gib', 2, 0), ('vcpu_aarch64', 1, 1), ('memory_gib', 2, 1),
               ('block_gib_ssd', 0, 1), ('block_gib_hdd', 0, 2)) AS m(meter, factor, kind)
    ON m.kind = CASE WHEN k < 9 THEN 0 WHEN k < 14 THEN 1 ELSE 2 END
  CROSS JOIN range(4) AS q(i)
  WHERE i < 1 + n % 4
) TO '{path}' (FORMAT parquet)
"""


def tariff() -> str:
    """Every meter's price changes once, at an odd second."""
    entries = []
    for number, meter in enumerate(METERS):
        first, second = Decimal("0.096") + number, Decimal("47.5") + number
        entries.append(
            f"- {{meter: {meter}, price_cny: {first}, per: hour, valid_from: 2026-01-01T00:00:00Z, valid_to: {CHANGE}}}"
        )
        entries.append(f"- {{meter: {meter}, price_cny: {second}, per: month, valid_from: {CHANGE}}}")
    return "prices:\n" + "\n".join(entries) + "\n"


def run(scale: str) -> Mapping[str, float | int]:
    """Rate a month of each size."""
    found: dict[str, float | int] = {}
    with tempfile.TemporaryDirectory(prefix="guiyun-bench-") as name:
        folder = Path(name)
        folder.joinpath("tariff.yaml").write_text(tariff())
        for size, count in SIZES[scale].items():
            spans = folder / f"{size}.parquet"
            with duckdb.connect() as connection:
                connection.execute(_SPANS.format(count=count, path=spans))
            found[f"rate_s_{size}"], found[f"rate_peak_mib_{size}"] = _rate(spans, folder)
            found[f"floor_scan_s_{size}"] = _scan(spans)
        found["peer_python_decimal_s_10k"] = _loop(folder / "10k.parquet")
    return found


def _rate(spans: Path, folder: Path) -> tuple[float, float]:
    program = str(Path(sys.executable).parent / "guiyun")
    options = ["--tariff", str(folder / "tariff.yaml"), "--month", "2026-10", "--out", str(folder / "out")]
    began = time.perf_counter()
    with subprocess.Popen([program, "rate", "--spans", str(spans), *options], stdout=subprocess.PIPE) as process:
        with peak_of(process.pid) as peak:
            said, _ = process.communicate()
        seconds = time.perf_counter() - began
        if process.returncode:
            raise RuntimeError(f"guiyun rate: {process.returncode}")
    console.print(f"{said.decode().strip()}, load {os.getloadavg()[0]:.1f}")
    return seconds, peak.mib


def _scan(spans: Path) -> float:
    began = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute(f"SELECT count(*), min(COLUMNS(*)) FROM '{spans}'").fetchall()
    return time.perf_counter() - began


def _loop(spans: Path) -> float:
    """What a plain program does: one row after the other, Decimal arithmetic, one dictionary."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT payer_id, resource_id, meter, quantity, CAST(epoch(CAST(start_at AS TIMESTAMP)) AS BIGINT),"
            f" CAST(epoch(CAST(end_at AS TIMESTAMP)) AS BIGINT) FROM '{spans}'"
        ).fetchall()
    start, change, end = 1790784000, 1792036801, 1793462400
    began = time.perf_counter()
    sums: dict[tuple[str, str, str, int], Decimal] = {}
    for payer, resource, meter, quantity, begun, over in rows:
        for version, (low, high) in enumerate(((start, change), (change, end))):
            seconds = min(over, high) - max(begun, low)
            if seconds > 0:
                key = (payer, resource, meter, version)
                sums[key] = sums.get(key, Decimal(0)) + quantity * seconds
    whole = Decimal(end - start)
    total = 0
    for (_, _, meter, version), used in sorted(sums.items()):
        number = METERS.index(meter)
        fen = (Decimal("47.5") + number) * 100 * used / whole if version else (Decimal("0.096") + number) * used / 36
        total += int(fen.to_integral_value())
    console.print(f"Python loop: {len(sums)} lines, {total} fen")
    return time.perf_counter() - began
