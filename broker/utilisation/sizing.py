"""Right-sizing: what a server needs by its p95s with head-room, and what a smaller size would save and risk. Ours.

Called by: the API, the console (a resource, an assessment), the command line. Must not: resize anything, or hold a
transaction while samples are read.

No article names a figure: the shares, days and ladder below are our own (自定规则). Only a smaller size is proposed;
who needs a larger one asks for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil
from pathlib import Path
from uuid import UUID

from broker.db.base import AnyRow
from broker.inventory import repository as inventory
from broker.inventory.models import Resource
from broker.pricing import rules as pricing
from broker.pricing import service as prices
from broker.pricing.values import PriceVersion
from broker.settings import Settings
from broker.tenancy.work import Work
from broker.utilisation import store
from broker.utilisation.engine import Engine, engine, literal, parquet
from broker.utilisation.samples import moment
from broker.utilisation.values import HOUR, ID

DAYS = 30
"""So many days are looked at,"""
LEAST_HOURS = 14 * 24
"""and so many measured hours there must be, of each figure for itself: two weeks."""
CPU_AVG_SHARE, CPU_MAX_SHARE, MEMORY_SHARE = 0.6, 0.9, 0.8
"""At the proposed size the p95 of an hour's mean and greatest CPU, and of memory, take no larger share than this."""
MEMORY_PEAK_SHARE = 0.9
"""And the most memory that any hour took no larger than this: who lacks cores waits, who lacks memory is killed."""
VCPU = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
MEMORY_GIB = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_AT_ONCE = 5000
"""Servers whose hours are in memory at once (a p95 needs them all): some 100 MB."""


class Risk(StrEnum):
    """What may go wrong at the smaller size."""

    LOW = "low"
    """Even the busiest moment that was measured fits."""
    PEAKS = "peaks"
    """The busiest moments need more than the smaller size has: it will be slower then."""
    PEAKS_UNKNOWN = "peaks_unknown"
    """How much the busiest moments need was not measured."""
    MEMORY_PEAKS = "memory_peaks"
    """In some hours memory took more of the smaller size than is left as head-room; it fits."""
    MEMORY_UNKNOWN = "memory_unknown"
    """Memory was not measured, or in too few hours, so that it stays as it is."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What was measured of a running server, in hours that it was not off. None: not measured, or in too few hours.

    CPU in percent of the cores that it has now, whatever it had in that hour.
    """

    hours: int
    cpu_avg_p95: float | None
    cpu_max_p95: float | None
    cpu_peak: float | None
    memory_p95_gib: float | None
    memory_peak_gib: float | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A smaller size for a server. ``saved_fen``: less in a month by the tariff; None where a price is missing."""

    resource_id: UUID
    number: str
    name: str
    vcpu: int
    memory_gib: int
    to_vcpu: int
    to_memory_gib: int
    needs: Needs
    risks: tuple[Risk, ...]
    saved_fen: int | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server in use and what is charged for it."""

    resource: Resource
    names: tuple[str, ...]
    quantities: Mapping[str, int]
    prices: tuple[PriceVersion, ...]
    at: datetime


def propose(vcpu: int, memory_gib: int, needs: Needs) -> tuple[int, int] | None:
    """The smallest size that is enough; None when there is no smaller one or too little was measured. Pure."""
    if needs.hours < LEAST_HOURS or needs.cpu_avg_p95 is None:
        return None
    cores = vcpu * needs.cpu_avg_p95 / 100 / CPU_AVG_SHARE
    if needs.cpu_max_p95 is not None:
        cores = max(cores, vcpu * needs.cpu_max_p95 / 100 / CPU_MAX_SHARE)
    to_vcpu = min(vcpu, _step(VCPU, cores, vcpu))
    to_memory = memory_gib
    if needs.memory_p95_gib is not None:
        least = max(needs.memory_p95_gib / MEMORY_SHARE, (needs.memory_peak_gib or 0) / MEMORY_PEAK_SHARE)
        to_memory = min(memory_gib, _step(MEMORY_GIB, least, memory_gib))
    return None if (to_vcpu, to_memory) == (vcpu, memory_gib) else (to_vcpu, to_memory)


def risks_of(vcpu: int, to: tuple[int, int], needs: Needs) -> tuple[Risk, ...]:
    """What may go wrong at the smaller size. Pure."""
    to_vcpu, to_memory_gib = to
    found = []
    if needs.cpu_peak is not None and vcpu * needs.cpu_peak / 100 > to_vcpu:
        found.append(Risk.PEAKS)
    if needs.cpu_peak is None and to_vcpu < vcpu:
        found.append(Risk.PEAKS_UNKNOWN)
    if needs.memory_p95_gib is None:
        found.append(Risk.MEMORY_UNKNOWN)
    elif (needs.memory_peak_gib or 0) > to_memory_gib * MEMORY_SHARE:
        found.append(Risk.MEMORY_PEAKS)
    return tuple(found) or (Risk.LOW,)


def _step(ladder: tuple[int, ...], least: float, most: int) -> int:
    return next((size for size in ladder if size >= ceil(least * 1000) / 1000), most)


def servers_of(work: Work, *, system_id: UUID | None = None, resource_id: UUID | None = None) -> list[Server]:
    """Running servers that the actor may see: of a system, one of them, or all. What is charged comes along."""
    statement = inventory.visible(work.actor, work.now).where(Resource.kind == "server", Resource.state == "active")
    if system_id is not None:
        statement = statement.where(Resource.system_id == system_id)
    if resource_id is not None:
        statement = statement.where(Resource.id == resource_id)
    rows = list(work.session.execute(statement))
    metered = inventory.metered_now(work.session, [row[0].id for row in rows]) if rows else {}
    known = {
        cloud: prices.prices_at(work.session, sub_cloud_id=cloud, at=work.now)
        for cloud in {row[0].sub_cloud_id for row in rows}
    }
    return [_server(row, metered, known, work.now) for row in rows]


def _server(
    row: AnyRow,
    metered: Mapping[UUID, tuple[str, dict[str, int]]],
    known: Mapping[UUID, tuple[PriceVersion, ...]],
    now: datetime,
) -> Server:
    resource: Resource = row[0]
    names = tuple(name for name in (str(resource.id), resource.number, resource.ref) if name)
    return Server(resource, names, metered.get(resource.id, ("", {}))[1], known[resource.sub_cloud_id], now)


def proposals(settings: Settings, servers: Collection[Server], now: datetime) -> list[Proposal]:
    """The smaller sizes for these servers, what saves most first; reads samples, so no transaction is open."""
    measured = _measure(settings, servers, now)
    found = (_one(server, measured.get(server.resource.id)) for server in servers)
    return sorted((each for each in found if each is not None), key=lambda each: (-(each.saved_fen or 0), each.number))


def _one(server: Server, needs: Needs | None) -> Proposal | None:
    spec = server.resource.spec
    size = propose(spec["vcpu"], spec["memory_gib"], needs) if needs is not None else None
    if needs is None or size is None:
        return None
    made = Proposal(
        server.resource.id,
        server.resource.number,
        server.resource.name,
        spec["vcpu"],
        spec["memory_gib"],
        *size,
        needs=needs,
        risks=risks_of(spec["vcpu"], size, needs),
    )
    return replace(made, saved_fen=_saved(server, made))


def _saved(server: Server, made: Proposal) -> int | None:
    changed = {f"vcpu_{server.resource.spec['cpu_arch']}": made.to_vcpu, "memory_gib": made.to_memory_gib}
    now = pricing.quote(server.quantities, server.prices, server.at)
    then = pricing.quote({**server.quantities, **changed}, server.prices, server.at)
    return None if now.missing or then.missing else now.total_fen - then.total_fen


def _measure(settings: Settings, servers: Collection[Server], now: datetime) -> dict[UUID, Needs]:
    """What was measured of each over the last days, under all its names, in hours that it was not off."""
    start = now - timedelta(days=DAYS)
    files = store.hourly_files(settings, start.astimezone(UTC).date())
    if not files or not servers:
        return {}
    found: dict[UUID, Needs] = {}
    with engine(settings.utilisation_memory_mib) as db:
        for some in _in_parts(db, files, servers):
            found |= _measured(db, files, some, start)
    return found


def _in_parts(db: Engine, files: Sequence[Path], servers: Collection[Server]) -> Iterator[list[Server]]:
    """So many servers at once as memory has room for: of a region only those with samples, neighbours together.

    Files are sorted by names, so that a part reads its own stretch of each.
    """
    if len(servers) <= _AT_ONCE:
        yield list(servers)
        return
    known = {str(row[0]) for row in db.rows(f"SELECT DISTINCT {ID} FROM {parquet(files)}")}
    named = (replace(each, names=tuple(sorted(known.intersection(each.names)))) for each in servers)
    ordered = sorted((each for each in named if each.names), key=lambda each: each.names)
    for at in range(0, len(ordered), _AT_ONCE):
        yield ordered[at : at + _AT_ONCE]


def _measured(db: Engine, files: Sequence[Path], servers: Sequence[Server], start: datetime) -> dict[UUID, Needs]:
    named = [(name, n, each.resource.spec["vcpu"]) for n, each in enumerate(servers) for name in each.names]
    if not named:
        return {}
    listed = ", ".join(f"({literal(name)}, {n}, {int(vcpu)})" for name, n, vcpu in named)
    # A share of the cores of that hour is another share of today's: it may have been resized meanwhile.
    of_now = "coalesce(nullif(s.vcpu, 0), now_has) / now_has"
    rows = db.rows(
        f"SELECT n, count(cpu), quantile_disc(cpu, 0.95), count(peak), quantile_disc(peak, 0.95), max(peak),"
        f" count(memory), quantile_disc(memory, 0.95), max(memory) FROM ("
        f"SELECT n, cpu_avg_pct * {of_now} AS cpu, cpu_max_pct * {of_now} AS peak, mem_used_gib AS memory"
        f" FROM {parquet(files)} s JOIN (VALUES {listed}) e(name, n, now_has) ON CAST({ID} AS VARCHAR) = name"
        f" WHERE {HOUR} >= {moment(start)} AND coalesce(n_off, 0) < coalesce(n_samples, 1)"
        f") GROUP BY 1"
    )
    return {servers[n].resource.id: _needs(*figures) for n, *figures in rows}


def _needs(hours: int, cpu: float, peak_hours: int, peak_p95: float, peak: float, *memory: float) -> Needs:
    """Each figure for itself: of what was measured in too few hours nothing is known."""
    memory_hours, memory_p95, most = memory
    peaks = (peak_p95, peak) if peak_hours >= LEAST_HOURS else (None, None)
    return Needs(hours, cpu, *peaks, *((memory_p95, most) if memory_hours >= LEAST_HOURS else (None, None)))
