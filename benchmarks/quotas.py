"""Quota holds of 16 writers on a tree of four levels and 5,000 leaves, finite at every level: ours, others, peers.

Called by: ``make bench BENCH=quotas``. Must not: turn fsync off, or answer a hold before it is durable.

Everything runs in one embedded PostgreSQL in one run: 16 processes, one connection each, one hold a call. Leaves are
picked at random, so that what all meet is the root. The tight runs end when nothing is granted any more, and are judged
by a recount of rows, not by counters.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg import Connection

from broker.db.migrate import upgrade
from broker.embedded.postgres import EmbeddedPostgres, libpq_url
from quotas import together as quotas_together
from quotas.values import Line, ResourceClass

WRITERS = 16
CITIES, COUNTIES, LEAVES = 14, 112, 5000
PLENTY = 10**12
TIGHT = 400
KIND = "vcpu_x86_64"
BATCH = 16
REFUSALS = 20

FLUSH_US = 2000
SLOW_DISK = {"commit_delay": str(FLUSH_US), "commit_siblings": "0"}
"""A disk that takes 2 ms more for a flush, as PostgreSQL itself can play it: every flush waits that long first. Kinder
than a disk in one point: who comes within the wait is flushed along, where a disk would make him wait for the next."""

Rows = Connection[tuple[Any, ...]]
Hold = Callable[[Rows, random.Random], int]
"""Asks for a unit at a random leaf; how many were granted and are durable. What is worth another try, it raises."""

SOON = datetime.now(UTC) + timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Tree:
    """The nodes' ids: the root first, then cities, counties, leaves; and the pool that has enough."""

    root: UUID
    leaves: Sequence[UUID]
    pool: UUID


def run(scale: str) -> Mapping[str, float | int]:
    """Measure and recount. What the keys mean: the table in ``docs/decisions/0006-quotas.md``."""
    seconds = 15.0 if scale == "full" else 5.0
    with tempfile.TemporaryDirectory(prefix="guiyun-bench-") as folder:
        with EmbeddedPostgres(Path(folder)) as postgres:
            upgrade(postgres.owner_url())
            url = libpq_url(postgres.superuser_url("guiyun"))
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(files("benchmarks").joinpath("quotas.sql").read_text(encoding="utf-8"))
                tree = plant(connection)
                found = _as_it_is(url, tree, seconds) | _oversold(connection, url, tree)
                assert not connection.execute("SELECT * FROM quotas.verify()").fetchall()
        with EmbeddedPostgres(Path(folder), settings=SLOW_DISK) as postgres:
            url = libpq_url(postgres.superuser_url("guiyun"))
            return found | _on_a_slow_disk(url, tree, seconds)


def _as_it_is(url: str, tree: Tree, seconds: float) -> dict[str, float | int]:
    """Ours, the other designs, the peers, and bare commits before and after, as the machine's load may change."""
    before = hammer(url, commit, seconds=seconds)
    ours = hammer(url, partial(together, tree), seconds=seconds)
    rates = {
        "design_row_locks_per_s_16": hammer(url, partial(plain, tree), seconds=seconds),
        "design_16_shards_per_s_16": hammer(url, partial(sharded, tree), seconds=seconds),
        "design_one_writer_16_a_commit_per_s": hammer(url, partial(batched, tree), seconds=seconds, writers=1),
        "peer_sum_then_insert_per_s_16": hammer(url, sum_then_insert, seconds=seconds),
        "peer_row_locks_per_s_16": hammer(url, row_locks, seconds=seconds),
        "peer_serializable_per_s_16": hammer(url, serializable, seconds=seconds),
    }
    again = hammer(url, partial(together, tree), seconds=seconds)
    after = hammer(url, commit, seconds=seconds)
    return {
        "holds_per_s_16": (ours.per_s + again.per_s) / 2,
        "hold_p50_s_16": max(ours.p50_s, again.p50_s),
        "hold_p99_s_16": max(ours.p99_s, again.p99_s),
        **{name: rate.per_s for name, rate in rates.items()},
        "commits_per_s_16": (before.per_s + after.per_s) / 2,
    }


def _oversold(connection: Rows, url: str, tree: Tree) -> dict[str, float | int]:
    """Limits that run out under 16 writers; what rows add up to beyond the limit."""
    recount = "SELECT sum(amount - voided - released)::bigint FROM quotas.hold_line"
    used = _number(connection, recount)
    _number(connection, "SELECT quotas.set_limit(%s, %s, NULL, NULL, 0, NULL) IS NULL", tree.root, KIND)
    _number(connection, "SELECT quotas.set_limit(%s, %s, NULL, %s, 0, NULL) IS NULL", tree.root, KIND, used + TIGHT)
    ours = hammer(url, partial(together, tree), seconds=60, until_full=True)
    connection.execute("TRUNCATE bench.allocation")
    connection.execute("UPDATE bench.node SET used = 0")
    connection.execute("UPDATE bench.node SET limit_amount = %s WHERE id = 0", (TIGHT,))
    peer = hammer(url, sum_then_insert, seconds=60, until_full=True)
    return {
        "oversold": max(0, _number(connection, recount) - used - TIGHT),
        "granted_of_400": ours.granted,
        "peer_sum_then_insert_oversold": max(
            0, _number(connection, "SELECT coalesce(sum(amount), 0)::bigint FROM bench.allocation") - TIGHT
        ),
        "peer_sum_then_insert_granted_of_400": peer.granted,
    }


def _on_a_slow_disk(url: str, tree: Tree, seconds: float) -> dict[str, float | int]:
    """Every commit waits ``FLUSH_US`` before its flush, see ``SLOW_DISK``."""
    with psycopg.connect(url, autocommit=True) as connection:
        _number(connection, "SELECT quotas.set_limit(%s, %s, NULL, %s, 0, NULL) IS NULL", tree.root, KIND, PLENTY)
    ours = hammer(url, partial(together, tree), seconds=seconds)
    return {
        "holds_per_s_16_flush_2ms": ours.per_s,
        "hold_p99_s_16_flush_2ms": ours.p99_s,
        "design_row_locks_per_s_16_flush_2ms": hammer(url, partial(plain, tree), seconds=seconds).per_s,
        "design_16_shards_per_s_16_flush_2ms": hammer(url, partial(sharded, tree), seconds=seconds).per_s,
        "commits_per_s_16_flush_2ms": hammer(url, commit, seconds=seconds).per_s,
    }


def _number(connection: Rows, sql: LiteralString, *values: object) -> int:
    row = connection.execute(sql, values).fetchone()
    assert row is not None
    return int(row[0])


def plant(connection: Rows) -> Tree:
    """The tree, twice: in our tables and, as numbers, in those of the others; every node with a limit never reached."""
    ids = [uuid4() for _ in range(1 + CITIES + COUNTIES + LEAVES)]
    parents = [None, *[0] * CITIES, *(1 + n % CITIES for n in range(COUNTIES))]
    parents += [1 + CITIES + n % COUNTIES for n in range(LEAVES)]
    pool = uuid4()
    with connection.transaction(), connection.cursor() as cursor:
        nodes = [(ids[n], None if p is None else ids[p]) for n, p in enumerate(parents)]
        cursor.executemany("SELECT quotas.add_node(%s, %s)", nodes)
        cursor.executemany("SELECT quotas.set_limit(%s, %s, NULL, %s, 0, NULL)", [(i, KIND, PLENTY) for i in ids])
        cursor.execute("SELECT quotas.set_inventory(%s, %s, NULL, 0, 1, 1)", (pool, KIND))
        cursor.execute("INSERT INTO bench.shard SELECT n, %s / 16, 0 FROM generate_series(0, 15) AS n", (PLENTY,))
        above = [(n, *_above(parents, n), PLENTY) for n in range(len(ids))]
        cursor.executemany("INSERT INTO bench.node (id, city, county, limit_amount) VALUES (%s, %s, %s, %s)", above)
    connection.execute("VACUUM ANALYZE")
    return Tree(ids[0], ids[1 + CITIES + COUNTIES :], pool)


def _above(parents: Sequence[int | None], node: int) -> tuple[int | None, int | None]:
    """City and county of a leaf; None for the levels above."""
    county = parents[node]
    city = None if county is None else parents[county]
    return (None, None) if city is None or parents[city] is None else (city, county)


def together(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Ours: the fast way."""
    line = Line(ResourceClass(KIND), 1, tree.pool)
    values = quotas_together.parameters(uuid4(), tree.root, dice.choice(tree.leaves), [line], SOON)
    return _answered(connection, quotas_together.HOLD, values)


def plain(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Design: a hold a transaction, the counters' rows locked from leaf to root; what a use-case of the road does."""
    return _answered(connection, "SELECT quotas.hold(%s, %s, %s, %s, %s, %s, %s, NULL)", _values(tree, dice))


def _values(tree: Tree, dice: random.Random) -> tuple[object, ...]:
    return (uuid4(), tree.root, dice.choice(tree.leaves), [KIND], [tree.pool], [1], SOON)


def _answered(connection: Rows, sql: LiteralString, values: Sequence[object]) -> int:
    row = connection.execute(sql, values).fetchone()
    assert row is not None
    return int(row[0]["outcome"] == "ok")


def sharded(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Design: 16 counters for the root. It counts a single line and no stock, which flatters it."""
    values = (uuid4(), tree.root, dice.choice(tree.leaves), KIND, tree.pool, 1, SOON)
    try:
        connection.execute("SELECT bench.hold_sharded(%s, %s, %s, %s, %s, %s, %s)", values)
    except psycopg.errors.RaiseException:
        return 0
    return 1


def batched(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Design: one writer that has collected 16 callers and counts for all in one transaction; for a single process."""
    connection.execute(
        "SELECT bench.hold_batch(%s, %s, %s, %s, %s)",
        (tree.root, dice.choices(tree.leaves, k=BATCH), KIND, tree.pool, SOON),
    )
    return BATCH


def commit(connection: Rows, _: random.Random) -> int:
    """A row of nothing: what the disk and the machine allow."""
    connection.execute("INSERT INTO bench.nothing VALUES (%s, now())", (uuid4(),))
    return 1


def _insert(connection: Rows, leaf: int, city: int, county: int) -> None:
    connection.execute("INSERT INTO bench.allocation VALUES (%s, 0, %s, %s, %s, 1)", (uuid4(), city, county, leaf))


def _place(dice: random.Random) -> tuple[int, int, int]:
    """A leaf with its city and county, by the numbers ``plant`` gave them."""
    leaf = dice.randrange(LEAVES)
    county = leaf % COUNTIES
    return 1 + CITIES + COUNTIES + leaf, 1 + county % CITIES, 1 + CITIES + county


def sum_then_insert(connection: Rows, dice: random.Random) -> int:
    """Peer: sum what is there at each level, compare, insert (CloudStack, ManageIQ, Waldur). Two see the same sum."""
    leaf, city, county = _place(dice)
    with connection.transaction():
        sums = connection.execute(
            "SELECT n.limit_amount, CASE n.id"
            " WHEN %(leaf)s THEN (SELECT sum(amount) FROM bench.allocation WHERE leaf = n.id)"
            " WHEN %(county)s THEN (SELECT sum(amount) FROM bench.allocation WHERE county = n.id)"
            " WHEN %(city)s THEN (SELECT sum(amount) FROM bench.allocation WHERE city = n.id)"
            " ELSE (SELECT sum(amount) FROM bench.allocation) END"
            " FROM bench.node n WHERE n.id IN (%(leaf)s, %(county)s, %(city)s, 0)",
            {"leaf": leaf, "city": city, "county": county},
        ).fetchall()
        if any((used or 0) + 1 > limit for limit, used in sums):
            return 0
        _insert(connection, leaf, city, county)
    return 1


def row_locks(connection: Rows, dice: random.Random) -> int:
    """Peer: lock the rows from leaf to root, look, add, insert; several round trips while the root is locked."""
    leaf, city, county = _place(dice)
    with connection.transaction():
        for node in (leaf, county, city, 0):
            row = connection.execute(
                "SELECT used < limit_amount FROM bench.node WHERE id = %s FOR UPDATE", (node,)
            ).fetchone()
            assert row is not None
            if not row[0]:
                return 0
        connection.execute("UPDATE bench.node SET used = used + 1 WHERE id = ANY (%s)", ([leaf, county, city, 0],))
        _insert(connection, leaf, city, county)
    return 1


def serializable(connection: Rows, dice: random.Random) -> int:
    """Peer: read the counters, add, insert, and let the database find who came between; again until it went well."""
    leaf, city, county = _place(dice)
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    with connection.transaction():
        nodes = [leaf, county, city, 0]
        full = connection.execute(
            "SELECT count(*) FROM bench.node WHERE id = ANY (%s) AND used >= limit_amount", (nodes,)
        ).fetchone()
        if full != (0,):
            return 0
        connection.execute("UPDATE bench.node SET used = used + 1 WHERE id = ANY (%s)", (nodes,))
        _insert(connection, leaf, city, county)
    return 1


@dataclass(frozen=True, slots=True)
class Rate:
    """What 16 writers did: granted per second, the slowest percent, and how many were granted."""

    per_s: float
    p50_s: float
    p99_s: float
    granted: int


def hammer(url: str, hold: Hold, *, seconds: float, until_full: bool = False, writers: int = WRITERS) -> Rate:
    """16 processes (or so many) for some seconds, or until each was refused ``REFUSALS`` times running."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(writers + 1)
    answers: SimpleQueue[list[float]] = context.SimpleQueue()
    processes = [
        context.Process(
            target=_write, args=(url, hold, random.Random(number), (seconds, until_full), (barrier, answers))
        )
        for number in range(writers)
    ]
    for writer in processes:
        writer.start()
    barrier.wait()
    began = time.monotonic()
    found = [answers.get() for _ in processes]
    took = time.monotonic() - began
    for writer in processes:
        writer.join()
    times = sorted(t for each in found for t in each)
    if len(times) < 2:
        return Rate(len(times) / took, 0.0, 0.0, len(times))
    cuts = statistics.quantiles(times, n=100)
    return Rate(len(times) / took, cuts[49], cuts[98], len(times))


def _write(
    url: str, hold: Hold, dice: random.Random, until: tuple[float, bool], ends: tuple[Barrier, SimpleQueue[list[float]]]
) -> None:
    (seconds, until_full), (barrier, answers) = until, ends
    times: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(0 if until_full else 20):  # plans are made, caches filled
            _again(hold, connection, dice)
        barrier.wait()
        stops_at, refused = time.monotonic() + seconds, 0
        while time.monotonic() < stops_at and not (until_full and refused >= REFUSALS):
            began = time.monotonic()
            granted = _again(hold, connection, dice)
            times.extend([time.monotonic() - began] * granted)
            refused = 0 if granted else refused + 1
    answers.put(times)


def _again(hold: Hold, connection: Rows, dice: random.Random) -> int:
    """Until the database has no more reason to have it tried again; the time counts."""
    while True:
        with suppress(psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            return hold(connection, dice)
