"""Prefixes handed out per second by eight processes, with 1,000 to 1,000,000 there, beside NetBox's and Neutron's.

Goals: 2,000 allocations/s, at most 10 % fewer at 1,000,000 than at 1,000, at least 100 x NetBox's algorithm at 10,000.
PostgreSQL as shipped, fsync on; each allocation is one statement, one transaction, and durable before it is answered;
``together`` has each process answer 16 callers with one statement and commit. ``bare_commits`` is what the same eight
processes reach with one INSERT of a row each, right beside: what disk and machine give.

The machine's speed changes within minutes more than the plan's. So each size has a database of its own, the sizes are
measured in short turns, there and back, and a figure is the median of its turns. ``times_1m_of_1k`` is the median of
what the turns of one round are to each other: they lie some seconds apart. CPU tells the same with less noise:
``alloc_client_cpu_us_at_…`` and ``alloc_server_cpu_us_at_…`` are microseconds of an allocation.

The others' algorithms are written after their sources, for comparison only: NetBox 4 (``ipam/api/views.py``,
``AvailablePrefixesView``; ``ipam/models/ip.py``, ``get_available_prefixes``), Neutron (``ipam/subnet_alloc.py``,
``SubnetAllocator``). They fill their pools from the start, as theirs do, and nothing in their tables slows an insert.
"""

from __future__ import annotations

import multiprocessing
import operator
import os
import random
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import netaddr
import psycopg
from rich.console import Console
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from benchmarks.writers import children, cpu_s
from broker.db.migrate import upgrade
from broker.db.session import make_engine
from broker.embedded.postgres import EmbeddedPostgres, libpq_url
from quotas.ipv6 import service as ipv6
from quotas.ipv6.values import Wish, Zone

console = Console(stderr=True)

WRITERS = 8
WARM_S, SECONDS = 0.5, 1.5
ROUNDS = 4
"""There and back, so many times."""
SIZES = {"small": {"1k": 1_000, "100k": 100_000}, "full": {"1k": 1_000, "100k": 100_000, "1m": 1_000_000}}
PEER_PREFIXES = 10_000
POOL = "3fff:100::/36"
NETBOX_LOCK = 100100
TOGETHER = 16

Call = Callable[[], object]

_LOAD = """
INSERT INTO quotas.prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state)
SELECT gen_random_uuid(), p.id, p.domain_id, gen_random_uuid(), quotas.prefix_at(p.prefix, 64, place), place, 1,
       'active'
FROM quotas.prefix_pool p, generate_series(0::bigint, CAST(%(count)s AS bigint) - 1) AS n,
     LATERAL (SELECT quotas.slot(64 - masklen(p.prefix), CAST(n %% 16 AS int), n / 16, 64) AS place) AS s
WHERE p.id = %(pool)s AND n %% %(loaders)s = %(loader)s
"""
_PEERS = f"""
CREATE SCHEMA peer;
CREATE TABLE peer.bare (id uuid PRIMARY KEY);
CREATE TABLE peer.prefix (id bigserial PRIMARY KEY, prefix cidr NOT NULL UNIQUE);
CREATE TABLE peer.pool (id int PRIMARY KEY, hash uuid NOT NULL);
CREATE TABLE peer.subnet (id bigserial PRIMARY KEY, cidr cidr NOT NULL);
INSERT INTO peer.pool VALUES (1, gen_random_uuid());
INSERT INTO peer.prefix (prefix)
SELECT quotas.prefix_at('{POOL}', 64, n) FROM generate_series(0, {PEER_PREFIXES - 1}) n;
INSERT INTO peer.subnet (cidr) SELECT prefix FROM peer.prefix;
ANALYZE;
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """A database with so many prefixes in one pool."""

    name: str
    size: int
    app: str
    superuser: str
    pool: UUID


@dataclass(frozen=True, slots=True)
class Turn:
    """Calls a second, and microseconds of CPU for each."""

    per_s: float
    client_us: float
    server_us: float


def run(scale: str) -> Mapping[str, float | int]:
    """Measure everything on one server, a database for each size."""
    folder = tempfile.TemporaryDirectory(prefix="guiyun-bench-")
    with folder as home, EmbeddedPostgres(Path(home) / "postgres") as postgres:
        filled = [_filled(postgres, name, size) for name, size in SIZES[scale].items()]
        return _measured(postgres.pid, filled)


def _filled(postgres: EmbeddedPostgres, name: str, size: int) -> Filled:
    database = f"filled_{name}"
    postgres.create_database(database)
    upgrade(postgres.owner_url(database))
    app, superuser = postgres.app_url(database), libpq_url(postgres.superuser_url(database))
    made = Filled(name, size, app, superuser, _pool(app))
    begun = time.monotonic()
    _load(superuser, made.pool, size)
    _execute(superuser, _PEERS, {})
    console.print(f"{name}: {size:,} prefixes loaded in {time.monotonic() - begun:.0f} s")
    return made


def _measured(server: int, filled: Sequence[Filled]) -> dict[str, float | int]:
    turns: defaultdict[str, list[float]] = defaultdict(list)
    for there in (filled, filled[::-1]) * ROUNDS:
        for one in there:
            turns[f"bare_commits_per_s_8_at_{one.name}"].append(_turn(server, _bare, one.superuser).per_s)
            turn = _allocating(server, one)
            turns[f"allocs_per_s_8_at_{one.name}"].append(turn.per_s)
            turns[f"alloc_client_cpu_us_at_{one.name}"].append(turn.client_us)
            turns[f"alloc_server_cpu_us_at_{one.name}"].append(turn.server_us)
    for one in filled:
        together = _turn(server, _together, one.app, one.pool)
        turns[f"allocs_together_per_s_8_at_{one.name}"].append(TOGETHER * together.per_s)
    first, last = filled[0], filled[-1]
    turns["peer_netbox_per_s_at_10k"].append(_turn(server, _netbox, first.superuser).per_s)
    turns["peer_neutron_per_s_at_10k"].append(_turn(server, _neutron, first.superuser).per_s)
    for key, rates in turns.items():
        console.print(f"{key}: {', '.join(f'{rate:,.1f}' for rate in rates)}")
    found: dict[str, float | int] = {key: statistics.median(rates) for key, rates in turns.items()}
    at_first, at_last = (turns[f"allocs_per_s_8_at_{one.name}"] for one in (first, last))
    for peer in ("netbox", "neutron"):
        rate = found[f"peer_{peer}_per_s_at_10k"]
        found[f"times_{peer}"] = found[f"allocs_per_s_8_at_{first.name}"] / max(rate, 1e-9)
    beside = zip(at_last, at_first, strict=True)
    found[f"times_{last.name}_of_{first.name}"] = statistics.median(many / few for many, few in beside)
    found["differences"] = sum(_differences(one.app) for one in filled)
    return found


def _allocating(server: int, one: Filled) -> Turn:
    """Allocations a second, each its own commit; a small plan that has grown under earlier turns is made anew."""
    if _prefixes(one.superuser) > 2 * one.size:
        _execute(one.superuser, "TRUNCATE quotas.prefix_allocation", {})
        _execute(one.superuser, "UPDATE quotas.prefix_cursor SET next = 0", {})
        _load(one.superuser, one.pool, one.size)
    there, written = _prefixes(one.superuser), _wal(one.superuser)
    turn = _turn(server, _ours, one.app, one.pool)
    made = _prefixes(one.superuser) - there
    wal, images = (float(after - before) / made for before, after in zip(written, _wal(one.superuser), strict=True))
    console.print(
        f"{one.name}: {turn.per_s:,.0f}/s with {there:,} there; {turn.client_us:.0f} + {turn.server_us:.0f} µs of CPU,"
        f" {wal:,.0f} bytes of WAL and {images:.2f} whole pages each; load {os.getloadavg()[0]:.1f}"
    )
    return turn


def _differences(app: str) -> int:
    with Session(make_engine(app)) as session:
        return len(ipv6.verify(session))


def _pool(app: str) -> UUID:
    pool = uuid4()
    with Session(make_engine(app)) as session:
        ipv6.ensure_pool(session, id=pool, zone=Zone.SHARED, routing_domain="gx-shared", prefix=POOL)
        session.commit()
    return pool


def _load(superuser: str, pool: UUID, wanted: int) -> None:
    """Fill the pool as allocations would have, through the same constraints; two connections at once."""
    loaders = 2
    context = multiprocessing.get_context("fork")
    rows = {"pool": pool, "count": wanted, "loaders": loaders}
    processes = [
        context.Process(target=_execute, args=(superuser, _LOAD, {**rows, "loader": n})) for n in range(loaders)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"{wanted:,} prefixes could not be loaded")
    _execute(superuser, "UPDATE quotas.prefix_cursor SET next = greatest(next, %(next)s)", {"next": wanted // 16})
    for statement in ("VACUUM ANALYZE quotas.prefix_allocation", "CHECKPOINT"):
        _execute(superuser, statement, {})


def _execute(url: str, statement: str, values: Mapping[str, Any]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement, values or None)


def _wal(superuser: str) -> tuple[int, int]:
    """Bytes and full-page images of WAL so far."""
    with psycopg.connect(superuser) as connection:
        size, images = connection.execute("SELECT wal_bytes, wal_fpi FROM pg_stat_wal").fetchone() or (0, 0)
    return int(size), int(images)


def _prefixes(superuser: str) -> int:
    with psycopg.connect(superuser) as connection:
        (number,) = connection.execute("SELECT count(*) FROM quotas.prefix_allocation").fetchone() or (0,)
    return int(number)


def _turn(server: int, make: Callable[..., Call], *arguments: object) -> Turn:
    """Calls that ended within the measured time, by eight processes together.

    Raises RuntimeError when a process did not come to its end: a rate without it would be another thing's.
    """
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    barrier = context.Barrier(WRITERS + 1)

    def work() -> None:
        done = None
        try:
            call = make(*arguments)
            call()
            barrier.wait()
            begins, count = time.monotonic() + WARM_S, 0
            while (now := time.monotonic()) < begins + SECONDS:
                call()
                count += now >= begins
            done = count
        finally:
            if done is None:
                barrier.abort()
            results.put(done)

    processes = [context.Process(target=work) for _ in range(WRITERS)]
    for process in processes:
        process.start()
    with suppress(threading.BrokenBarrierError):
        barrier.wait()
        time.sleep(WARM_S)
    clients, servers = [process.pid or 0 for process in processes], children(server)
    before = cpu_s(clients), cpu_s(servers)
    time.sleep(SECONDS * 0.9)
    after = cpu_s(clients), cpu_s(servers)
    counts = [results.get() for _ in processes]
    for process in processes:
        process.join()
    if None in counts:
        raise RuntimeError(f"{make.__name__}: {counts.count(None)} of {WRITERS} writers failed")
    in_between = max(0.9 * sum(counts), 1)
    client_us, server_us = ((a - b) / in_between * 1e6 for a, b in zip(after, before, strict=True))
    return Turn(sum(counts) / SECONDS, client_us, server_us)


def _bare(url: str) -> Call:
    connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
    return lambda: connection.execute("INSERT INTO peer.bare VALUES (%s)", (uuid7(),))


def _ours(app: str, pool: UUID) -> Call:
    session = _autocommitting(app)
    return lambda: ipv6.allocate(session, pool_id=pool, owner=uuid7(), expires_at=None, active=True)


def _together(app: str, pool: UUID) -> Call:
    session = _autocommitting(app)
    return lambda: ipv6.allocate_many(session, [Wish(pool, uuid7(), active=True) for _ in range(TOGETHER)])


def _autocommitting(app: str) -> Session:
    """A session in which each statement is a transaction of its own."""
    return Session(make_engine(app, pool_size=1).execution_options(isolation_level="AUTOCOMMIT"))


def _netbox(url: str) -> Call:
    connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)

    def call() -> None:
        connection.execute("SELECT pg_advisory_lock(%s)", (NETBOX_LOCK,))
        try:
            with connection.transaction():
                children = connection.execute("SELECT prefix::text FROM peer.prefix WHERE prefix << %s::cidr", (POOL,))
                free = netaddr.IPSet(netaddr.IPNetwork(POOL)) - netaddr.IPSet([row[0] for row in children])
                first = next(block for block in free.iter_cidrs() if block.prefixlen <= 64)
                connection.execute("INSERT INTO peer.prefix (prefix) VALUES (%s)", (f"{first.network}/64",))
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (NETBOX_LOCK,))

    return call


def _neutron(url: str) -> Call:
    connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)

    def call() -> None:
        tries = 0
        while not _neutron_once(connection):
            tries += 1
            time.sleep(random.random() * 0.02 * min(tries, 10))

    return call


def _neutron_once(connection: psycopg.Connection[Any]) -> bool:
    """False: another process changed the pool's hash first; all is done again."""
    (known,) = connection.execute("SELECT hash FROM peer.pool WHERE id = 1").fetchone() or (None,)
    with connection.transaction():
        swapped = connection.execute("UPDATE peer.pool SET hash = %s WHERE id = 1 AND hash = %s", (uuid4(), known))
        if swapped.rowcount == 0:
            return False
        taken = netaddr.IPSet([row[0] for row in connection.execute("SELECT cidr::text FROM peer.subnet")])
        free = netaddr.IPSet([POOL]) - taken
        free.compact()
        blocks = sorted(free.iter_cidrs(), key=operator.attrgetter("prefixlen"), reverse=True)
        subnet = next(next(block.subnet(64)) for block in blocks if block.prefixlen <= 64)
        connection.execute("INSERT INTO peer.subnet (cidr) VALUES (%s)", (str(subnet.cidr),))
    return True
