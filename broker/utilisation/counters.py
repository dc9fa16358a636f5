"""Counters of two looks, made into hourly samples. What was seen is kept in small files until its hours are stored.

Called by: ``utilisation.sources``. Must not: guess: between two looks that are far apart, or of which the second shows
less than the first (a server that was started anew), nothing was measured.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from typing import Any

from broker.utilisation.prometheus import Row
from broker.utilisation.storage import Kept, Storage
from broker.utilisation.values import HOUR, ID
from providers.contract import ServerCounters

EVERY = timedelta(minutes=5)
FAR = timedelta(minutes=20)
"""Two looks further apart than this say nothing about an hour."""
KEPT = timedelta(hours=4)
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks at one sub-cloud, beside the samples: whichever worker took one, all read it."""

    storage: Storage
    sub_cloud: str

    @property
    def folder(self) -> str:
        return f"looks/{self.sub_cloud}"

    def taken(self) -> list[tuple[int, Kept]]:
        """Those that are kept, by the second they were taken at, oldest first."""
        return sorted((int(PurePath(kept.name).stem), kept) for kept in self.storage.listed(self.folder))


def keep(looks: Looks, at: datetime, seen: Sequence[ServerCounters]) -> None:
    """Write down what was seen at ``at``; the same look written twice is one."""
    name = f"{looks.folder}/{int(at.timestamp())}.jsonl"
    draft = looks.storage.draft(name)
    with draft.open("w", encoding="utf-8") as file:
        for each in seen:
            file.write(json.dumps(asdict(each) | {"server_id": str(each.server_id)}) + "\n")
    looks.storage.put(name, draft)
    for old, kept in looks.taken():
        if old < (at - KEPT).timestamp():
            looks.storage.remove(kept.name)


def hours(looks: Looks, start: datetime, end: datetime) -> Iterator[Row]:
    """The samples of the hours in [start, end) that the looks tell of."""
    before: dict[str, tuple[int, dict[str, Any]]] = {}
    sums: dict[tuple[str, int], list[dict[str, float | None]]] = {}
    sizes: dict[tuple[str, int], dict[str, Any]] = {}
    for at, now in _seen(looks):
        server = now["server_id"]
        if server in before:
            since, earlier = before[server]
            hour = since // 3600 * 3600
            if start.timestamp() <= hour < end.timestamp() and at - since <= FAR.total_seconds():
                sums.setdefault((server, hour), []).append(_between(earlier, now, at - since))
                sizes[server, hour] = now
        before[server] = at, now
    for (server, hour), rates in sums.items():
        yield _row(server, hour, rates, sizes[server, hour])


def _seen(looks: Looks) -> Iterator[tuple[int, dict[str, Any]]]:
    """(when, what one server showed), look after look."""
    for at, kept in looks.taken():
        for path in looks.storage.local([kept]):
            with path.open(encoding="utf-8") as file:
                yield from ((at, json.loads(line)) for line in file)


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
