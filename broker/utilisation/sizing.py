"""Right-sizing: what a server needs by its p95s with head-room, and what a smaller size would save and risk. Ours.

Called by: the API, the console (a resource, an assessment), the command line. Must not: resize anything, or hold a
transaction while samples are read.

No article names a figure: the shares, days and ladder below are our own (自定规则). Only a smaller size is proposed;
who needs a larger one asks for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
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
from broker.utilisation.engine import engine, literal, parquet
from broker.utilisation.values import HOUR, ID

DAYS = 30
"""So many days are looked at,"""
LEAST_HOURS = 14 * 24
"""and so many measured hours there must be: two weeks."""
CPU_AVG_SHARE, CPU_MAX_SHARE, MEMORY_SHARE = 0.6, 0.9, 0.8
"""At the proposed size the p95 of an hour's mean and greatest CPU, and of memory, take no larger share than this."""
VCPU = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
MEMORY_GIB = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Risk(StrEnum):
    """What may go wrong at the smaller size."""

    LOW = "low"
    """Even the busiest moment that was measured fits."""
    PEAKS = "peaks"
    """The busiest moments need more than the smaller size has: it will be slower then."""
    MEMORY_UNKNOWN = "memory_unknown"
    """Memory was not measured, so that it stays as it is."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What was measured of a running server. CPU in percent of its cores; None: not measured."""

    hours: int
    cpu_avg_p95: float | None
    cpu_max_p95: float | None
    cpu_peak: float | None
    memory_p95_gib: float | None


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
        to_memory = min(memory_gib, _step(MEMORY_GIB, needs.memory_p95_gib / MEMORY_SHARE, memory_gib))
    return None if (to_vcpu, to_memory) == (vcpu, memory_gib) else (to_vcpu, to_memory)


def risks_of(vcpu: int, to_vcpu: int, needs: Needs) -> tuple[Risk, ...]:
    """What may go wrong at the smaller size. Pure."""
    found = []
    if needs.cpu_peak is not None and vcpu * needs.cpu_peak / 100 > to_vcpu:
        found.append(Risk.PEAKS)
    if needs.memory_p95_gib is None:
        found.append(Risk.MEMORY_UNKNOWN)
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
    measured = _measure(settings, {name for server in servers for name in server.names}, now)
    found = (_one(server, measured) for server in servers)
    return sorted((each for each in found if each is not None), key=lambda each: (-(each.saved_fen or 0), each.number))


def _one(server: Server, measured: Mapping[str, Needs]) -> Proposal | None:
    needs = next((measured[name] for name in server.names if name in measured), None)
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
        risks=risks_of(spec["vcpu"], size[0], needs),
    )
    return replace(made, saved_fen=_saved(server, made))


def _saved(server: Server, made: Proposal) -> int | None:
    changed = {f"vcpu_{server.resource.spec['cpu_arch']}": made.to_vcpu, "memory_gib": made.to_memory_gib}
    now = pricing.quote(server.quantities, server.prices, server.at)
    then = pricing.quote({**server.quantities, **changed}, server.prices, server.at)
    return None if now.missing or then.missing else now.total_fen - then.total_fen


def _measure(settings: Settings, names: Iterable[str], now: datetime) -> dict[str, Needs]:
    """What was measured of each over the last days, in hours that it was not off."""
    start = now - timedelta(days=DAYS)
    files = store.hourly_files(settings, start.date())
    listed = ", ".join(literal(name) for name in sorted(names))
    if not files or not listed:
        return {}
    with engine(settings.utilisation_memory_mib) as db:
        rows = db.rows(
            f"SELECT CAST({ID} AS VARCHAR), count(cpu_avg_pct), quantile_disc(cpu_avg_pct, 0.95),"
            f" quantile_disc(cpu_max_pct, 0.95), max(cpu_max_pct), quantile_disc(mem_used_gib, 0.95)"
            f" FROM {parquet(files)} WHERE {ID} IN ({listed}) AND epoch({HOUR}) >= {start.timestamp():.0f}"
            f" AND coalesce(n_off, 0) < coalesce(n_samples, 1) GROUP BY 1"
        )
    return {name: Needs(*figures) for name, *figures in rows}
