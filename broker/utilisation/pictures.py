"""What pictures are drawn of: a resource's days, and how busy units are on clouds. Figures, not drawings.

Called by: the daily detection (``heat``), the console and the API (``days``). Must not: hold a transaction, or draw.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from broker.settings import Settings
from broker.utilisation import store
from broker.utilisation.engine import engine, literal, parquet
from broker.utilisation.local_days import day_number_sql, day_of, offsets
from broker.utilisation.samples import moment
from broker.utilisation.values import HOUR, ID, Facts

HEAT_DAYS = 30
"""A heat map is over so many days (ours)."""


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One local day of a server: means of its hours, the greatest of CPU; memory in percent of what it has.

    None: not measured that day.
    """

    day: date
    cpu_avg_pct: float | None
    cpu_max_pct: float | None
    memory_pct: float | None
    net_kbps: float | None
    disk_kbps: float | None
    hours: int
    off: bool


@dataclass(frozen=True, slots=True)
class Heat:
    """How busy a unit's servers on one cloud were, weighted by their cores (memory: by their size)."""

    unit: str
    sub_cloud: str
    servers: int
    vcpu: float
    cpu_pct: float | None
    memory_pct: float | None


def days(settings: Settings, names: Collection[str], first: date, last: date, zone: ZoneInfo) -> dict[date, DayFigures]:
    """The measured days of one resource (by any of its names) from ``first`` to ``last``."""
    start, end = _midnight(first, zone), _midnight(last + timedelta(days=1), zone)
    files = _files(settings, first - timedelta(days=1), last + timedelta(days=1))
    if not files or not names:
        return {}
    day = day_number_sql(f"epoch_us({HOUR})", offsets(zone, start, end))
    listed = ", ".join(literal(name) for name in sorted(names))
    with engine(settings.utilisation_memory_mib) as db:
        rows = db.rows(
            f"SELECT {day} AS d, avg(cpu_avg_pct), max(cpu_max_pct), 100 * avg(mem_used_gib / nullif(mem_gib, 0)),"
            f" avg(net_kbps), avg(disk_kbps), count(*), coalesce(bool_and(n_off >= n_samples AND n_samples > 0), false)"
            f" FROM {parquet(files)} WHERE {ID} IN ({listed}) AND {HOUR} >= {moment(start)} AND {HOUR} < {moment(end)}"
            " GROUP BY 1"
        )
    found = [DayFigures(day_of(row[0]), *row[1:]) for row in rows]
    return {each.day: each for each in found}


def heat(settings: Settings, facts: Mapping[str, Facts], day: date, zone: ZoneInfo) -> list[Heat]:
    """How busy each unit's servers were on each cloud over the ``HEAT_DAYS`` before ``day``."""
    start, end = _midnight(day - timedelta(days=HEAT_DAYS), zone), _midnight(day, zone)
    files = _files(settings, day - timedelta(days=HEAT_DAYS + 1), day)
    if not files:
        return []
    with engine(settings.utilisation_memory_mib) as db:
        rows = db.rows(
            f"SELECT CAST({ID} AS VARCHAR), avg(cpu_avg_pct), avg(mem_used_gib) FROM {parquet(files)}"
            f" WHERE {HOUR} >= {moment(start)} AND {HOUR} < {moment(end)} GROUP BY 1"
        )
    held: dict[tuple[str, str], list[tuple[Facts, float | None, float | None]]] = {}
    for name, cpu, memory in rows:
        known = facts.get(name)
        if known is not None and known.kind == "server":
            held.setdefault((known.unit, known.sub_cloud), []).append((known, cpu, memory))
    return [_heat(*where, servers) for where, servers in sorted(held.items())]


def _heat(unit: str, sub_cloud: str, servers: list[tuple[Facts, float | None, float | None]]) -> Heat:
    cores = [(known.vcpu, cpu) for known, cpu, _ in servers if cpu is not None and known.vcpu]
    sizes = [(known.memory_gib, used) for known, _, used in servers if used is not None and known.memory_gib]
    all_cores, all_memory = sum(n for n, _ in cores), sum(n for n, _ in sizes)
    return Heat(
        unit,
        sub_cloud,
        servers=len(servers),
        vcpu=sum(known.vcpu for known, _, _ in servers),
        cpu_pct=round(sum(n * pct for n, pct in cores) / all_cores, 2) if all_cores else None,
        memory_pct=round(100 * sum(used for _, used in sizes) / all_memory, 2) if all_memory else None,
    )


def _files(settings: Settings, first: date, last: date) -> list[str]:
    return [str(path) for path in store.hourly_files(settings, first, last)]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)
