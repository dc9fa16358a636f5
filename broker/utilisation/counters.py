"""Counters of two looks, made into hourly samples. What was seen is kept in small files until its hours are stored.

Called by: ``utilisation.sources``. Must not: guess: between two looks that are far apart, or of which the second shows
less than the first (a server that was started anew), nothing was measured.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from broker.utilisation.prometheus import Row
from broker.utilisation.values import HOUR, ID
from providers.contract import ServerCounters

EVERY = timedelta(minutes=5)
FAR = timedelta(minutes=20)
"""Two looks further apart than this say nothing about an hour."""
KEPT = timedelta(hours=4)
_KIB = 1024


def keep(folder: Path, at: datetime, seen: Sequence[ServerCounters]) -> None:
    """Write down what was seen at ``at``; the same look written twice is one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = folder / f".{int(at.timestamp())}.draft"
    with draft.open("w", encoding="utf-8") as file:
        for each in seen:
            file.write(json.dumps(asdict(each) | {"server_id": str(each.server_id)}) + "\n")
    draft.replace(folder / f"{int(at.timestamp())}.jsonl")
    for old in folder.glob("*.jsonl"):
        if int(old.stem) < (at - KEPT).timestamp():
            old.unlink()


def hours(folder: Path, start: datetime, end: datetime) -> Iterator[Row]:
    """The samples of the hours in [start, end) that the looks kept in ``folder`` tell of."""
    before: dict[str, tuple[int, dict[str, Any]]] = {}
    sums: dict[tuple[str, int], list[dict[str, float | None]]] = {}
    sizes: dict[tuple[str, int], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.jsonl"), key=lambda each: int(each.stem)):
        at = int(path.stem)
        with path.open(encoding="utf-8") as file:
            for line in file:
                now = json.loads(line)
                server = now["server_id"]
                if server in before:
                    since, earlier = before[server]
                    hour = since // 3600 * 3600
                    if start.timestamp() <= hour < end.timestamp() and at - since <= FAR.total_seconds():
                        sums.setdefault((server, hour), []).append(_between(earlier, now, at - since))
                        sizes[server, hour] = now
                before[server] = at, now
    for (server, hour), looks in sums.items():
        yield _row(server, hour, looks, sizes[server, hour])


def _between(earlier: dict[str, Any], now: dict[str, Any], seconds: int) -> dict[str, float | None]:
    """Rates between two looks; ``off`` 1 when it was off at the second."""
    if not now["running"]:
        return {"off": 1.0, "cpu": 0.0, "disk": 0.0, "net": 0.0, "memory": 0.0}

    def grown(name: str) -> float | None:
        a, b = earlier[name], now[name]
        return None if a is None or b is None or b < a or not earlier["running"] else (b - a) / seconds

    cpu, disk, net = grown("cpu_s"), grown("disk_bytes"), grown("net_bytes")
    return {
        "off": 0.0,
        "cpu": None if cpu is None else 100 * cpu / now["vcpu"],
        "disk": None if disk is None else disk / _KIB,
        "net": None if net is None else net / _KIB,
        "memory": now["memory_used_gib"],
    }


def _row(server: str, hour: int, looks: Sequence[dict[str, float | None]], size: dict[str, Any]) -> Row:
    def figures(name: str) -> list[float]:
        return [value for look in looks if (value := look[name]) is not None]

    def mean(name: str) -> str:
        found = figures(name)
        return f"{sum(found) / len(found):.4f}" if found else ""

    cpu = figures("cpu")
    off = int(sum(figures("off")))
    return {
        ID: server,
        HOUR: f"{datetime.fromtimestamp(hour, UTC):%Y-%m-%dT%HZ}",
        "vcpu": "0" if off == len(looks) else str(size["vcpu"]),
        "mem_gib": str(size["memory_gib"]),
        "cpu_avg_pct": mean("cpu"),
        "cpu_max_pct": f"{max(cpu):.4f}" if cpu else "",
        "mem_used_gib": mean("memory"),
        "disk_kbps": mean("disk"),
        "net_kbps": mean("net"),
        "n_samples": str(len(looks)),
        "n_off": str(off),
    }


def write(path: Path, rows: Iterator[Row], columns: Sequence[str]) -> None:
    """Rows as a CSV file that the import reads; what a source does not measure stays empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
