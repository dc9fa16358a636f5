"""Where a sub-cloud's samples come from, and how they become rows that bear the inventory's names.

Called by: ``utilisation.collectors``. Must not: hold a transaction (clouds are asked), or write into the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from broker.utilisation import counters, prometheus
from broker.utilisation.counters import Looks
from broker.utilisation.prometheus import PrometheusSource, Row
from broker.utilisation.values import HOUR, ID, Facts
from providers.contract import Provider, ServerCounters, ServerHour, Telemetry

PROMETHEUS = "prometheus"
_FIRST = 3


@dataclass(frozen=True, slots=True)
class Source:
    """One sub-cloud's. ``looks``: where counters are kept until their hours are whole."""

    prometheus: PrometheusSource | None
    provider: Callable[[], Provider]
    looks: Looks

    @property
    def name(self) -> str:
        """``prometheus``, or the adapter's name when the cloud is asked itself."""
        return PROMETHEUS if self.prometheus else self.provider().capabilities.provider

    @property
    def telemetry(self) -> Telemetry:
        return Telemetry.HOURS if self.prometheus else self.provider().capabilities.telemetry

    def look(self, at: datetime) -> None:
        """Of a cloud that only counts: see what it shows now. Raises ``providers.errors``."""
        if self.telemetry is Telemetry.COUNTERS:
            counters.keep(self.looks, at, cast("Sequence[ServerCounters]", self.provider().utilisation(at, at)))

    def rows(self, start: datetime, end: datetime) -> Iterator[Row]:
        """The samples of the hours in [start, end), under the source's own names. Raises ``providers.errors``."""
        if self.prometheus:
            yield from prometheus.read(self.prometheus, start, end)
        elif self.telemetry is Telemetry.COUNTERS:
            yield from counters.hours(self.looks, start, end)
        elif self.telemetry is Telemetry.HOURS:
            hours = cast("Sequence[ServerHour]", self.provider().utilisation(start, end))
            yield from (row_of(hour) for hour in hours)


@dataclass(slots=True)
class Named:
    """Gives rows the inventory's numbers; those of servers that it does not know are counted and left out."""

    facts: Mapping[str, Facts]
    unknown: int = 0
    first: list[str] = field(default_factory=list)

    def __call__(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            known = self.facts.get(row[ID])
            if known is None or known.kind != "server":
                self.unknown += 1
                if len(self.first) < _FIRST and row[ID] not in self.first:
                    self.first.append(row[ID])
                continue
            yield row | {ID: known.number} | _sizes(row, known)


def _sizes(row: Row, known: Facts) -> Row:
    """What a source does not say of a server's size, the inventory does; one that was off all hour had no core."""
    sizes = {}
    if not row.get("vcpu"):
        off = row.get("n_off") and float(row["n_off"]) >= float(row.get("n_samples") or 1)
        sizes["vcpu"] = "0" if off else str(known.vcpu)
    if not row.get("mem_gib"):
        sizes["mem_gib"] = str(known.memory_gib)
    return sizes


def row_of(hour: ServerHour) -> Row:
    figures: Mapping[str, float | None] = {
        "vcpu": hour.vcpu,
        "mem_gib": hour.memory_gib,
        "cpu_avg_pct": hour.cpu_avg_pct,
        "cpu_max_pct": hour.cpu_max_pct,
        "mem_used_gib": hour.memory_used_gib,
        "disk_kbps": hour.disk_kbps,
        "net_kbps": hour.net_kbps,
        "n_samples": hour.samples,
        "n_off": hour.off,
    }
    written = {name: str(value) for name, value in figures.items() if value is not None}
    return {ID: str(hour.server_id), HOUR: f"{hour.hour:%Y-%m-%dT%HZ}", **written}
