"""Quota holds of 16 writers on a tree of four levels and 5,000 leaves, finite at every level: ours, others, peers.

Called by: ``make bench BENCH=quotas``. Must not: turn fsync off, or answer a hold before it is durable.

Everything runs in one embedded PostgreSQL in one run: 16 processes, one connection each, one hold a call, ``ROUNDS``
rounds of all ways one after the other, of which the medians count. Leaves are picked at random, so that what all meet
is the root. The tight runs end when nothing is granted any more, and are judged by a recount of rows, not by counters.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import LiteralString

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks import quota_designs as designs
from benchmarks.quota_designs import KIND, PLENTY, Tree, number
from benchmarks.writers import Hold, Rate, Rows, Server, hammer
from broker.db.migrate import upgrade
from broker.embedded.postgres import EmbeddedPostgres, libpq_url

TIGHT = 400
ROUNDS = 3

FLUSH_US = 2000
SLOW_DISK = {"commit_delay": str(FLUSH_US), "commit_siblings": "0"}
"""A disk that takes 2 ms more for a flush, as PostgreSQL itself can play it: every flush waits that long first. Kinder
than a disk in one point: who comes within the wait is flushed along, where a disk would make him wait for the next."""

OURS = "ours: callers share a commit"
POOLED = "ours, through the broker's pool"
LOCKS = "row locks, leaf to root, one call"
SHARDS = "the same, 16 shards at the root"
WRITER = "one writer, 16 a commit (1 process)"
COMMITS = "bare commits"
SUM = "peer: sum, then insert"
PEER_LOCKS = "peer: SELECT FOR UPDATE"
SERIALIZABLE = "peer: serializable, retried"

SET_ROOT: LiteralString = "SELECT quotas.set_limit(%s, %s, NULL, %s, 0, NULL) IS NULL"
RECOUNT: LiteralString = "SELECT coalesce(sum(amount - voided - released), 0)::bigint FROM quotas.hold_line"
HOLDS_IN_1000_COMMITS: LiteralString = (
    "SELECT coalesce(1000 * count(*) / nullif(count(DISTINCT xmin::text), 0), 0) FROM quotas.hold WHERE created_at > %s"
)

console = Console(stderr=True)


def run(scale: str) -> Mapping[str, float | int]:
    """Measure and recount. What the keys mean: the table in ``docs/decisions/0006-quotas.md``."""
    seconds = 6.0 if scale == "full" else 1.5
    with tempfile.TemporaryDirectory(prefix="guiyun-bench-") as folder:
        with EmbeddedPostgres(Path(folder)) as postgres:
            upgrade(postgres.owner_url())
            server = Server(libpq_url(postgres.superuser_url("guiyun")), postgres.pid)
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(files("benchmarks").joinpath("quotas.sql").read_text(encoding="utf-8"))
                tree = designs.plant(connection)
                found = _as_it_is(connection, server, tree, seconds) | _oversold(connection, server, tree)
        with EmbeddedPostgres(Path(folder), settings=SLOW_DISK) as postgres:
            server = Server(libpq_url(postgres.superuser_url("guiyun")), postgres.pid)
            with psycopg.connect(server.url, autocommit=True) as connection:
                return found | _on_a_slow_disk(connection, server, tree, seconds)


def _as_it_is(connection: Rows, server: Server, tree: Tree, seconds: float) -> dict[str, float | int]:
    """Ours, the other designs, the peers and bare commits, in turns, as the machine's load may change."""
    ways: dict[str, Hold] = {
        COMMITS: designs.commit,
        OURS: partial(designs.together, tree),
        POOLED: partial(designs.pooled, tree),
        LOCKS: partial(designs.plain, tree),
        SHARDS: partial(designs.sharded, tree),
        WRITER: partial(designs.batched, tree),
        SUM: designs.sum_then_insert,
        PEER_LOCKS: designs.row_locks,
        SERIALIZABLE: designs.serializable,
    }
    rates = _in_turns(connection, server, tree, ways, seconds)
    show("flush as it is", rates)
    ours = rates[OURS]
    return {
        "holds_per_s_16": ours.per_s,
        "hold_p50_s_16": ours.p50_s,
        "hold_p99_s_16": ours.p99_s,
        "hold_client_cpu_us": ours.client_us,
        "hold_server_cpu_us": ours.server_us,
        "holds_a_commit": _holds_a_commit(connection, server, tree),
        "holds_per_s_16_pooled": rates[POOLED].per_s,
        "design_row_locks_per_s_16": rates[LOCKS].per_s,
        "design_16_shards_per_s_16": rates[SHARDS].per_s,
        "design_one_writer_16_a_commit_per_s": rates[WRITER].per_s,
        "peer_sum_then_insert_per_s_16": rates[SUM].per_s,
        "peer_row_locks_per_s_16": rates[PEER_LOCKS].per_s,
        "peer_serializable_per_s_16": rates[SERIALIZABLE].per_s,
        "commits_per_s_16": rates[COMMITS].per_s,
        **_finite_stock(connection, server, tree, seconds),
    }


def _in_turns(
    connection: Rows, server: Server, tree: Tree, ways: Mapping[str, Hold], seconds: float
) -> dict[str, Rate]:
    """Each way once a round. Shards stand in for the root's limit, which is therefore taken away for them."""
    rounds: defaultdict[str, list[Rate]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            number(connection, SET_ROOT, tree.root, KIND, None if name == SHARDS else PLENTY)
            rounds[name].append(hammer(server, way, seconds=seconds, writers=1 if name == WRITER else 16))
        number(connection, SET_ROOT, tree.root, KIND, PLENTY)
        assert not connection.execute("SELECT * FROM quotas.verify()").fetchall()
    return {name: Rate.median(rates) for name, rates in rounds.items()}


def _holds_a_commit(connection: Rows, server: Server, tree: Tree) -> float:
    """How many of ours a transaction holds: those of one more run."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    hammer(server, partial(designs.together, tree), seconds=1.0)
    return number(connection, HOLDS_IN_1000_COMMITS, row[0]) / 1000


def _finite_stock(connection: Rows, server: Server, tree: Tree, seconds: float) -> dict[str, float]:
    """The cloud's stock is bounded, too, so that there are two counters which everybody needs."""
    connection.execute("SELECT quotas.set_inventory(%s, %s, %s, 0, 1, 1)", (tree.pool, KIND, PLENTY))
    ways: dict[str, Hold] = {OURS: partial(designs.together, tree), SHARDS: partial(designs.sharded, tree)}
    rates = _in_turns(connection, server, tree, ways, seconds)
    show("finite stock, too", rates)
    return {
        "holds_per_s_16_finite_stock": rates[OURS].per_s,
        "design_16_shards_per_s_16_finite_stock": rates[SHARDS].per_s,
    }


def _oversold(connection: Rows, server: Server, tree: Tree) -> dict[str, float | int]:
    """Limits that run out under 16 writers; what rows add up to beyond the limit."""
    used = number(connection, RECOUNT)
    number(connection, SET_ROOT, tree.root, KIND, used + TIGHT)
    ours = hammer(server, partial(designs.together, tree), seconds=60, until_full=True)
    connection.execute("TRUNCATE bench.allocation")
    connection.execute("UPDATE bench.node SET used = 0")
    connection.execute("UPDATE bench.node SET limit_amount = %s WHERE id = 0", (TIGHT,))
    peer = hammer(server, designs.sum_then_insert, seconds=60, until_full=True)
    allocated = number(connection, "SELECT coalesce(sum(amount), 0)::bigint FROM bench.allocation")
    assert not connection.execute("SELECT * FROM quotas.verify()").fetchall()
    return {
        "oversold": max(0, number(connection, RECOUNT) - used - TIGHT),
        "granted_of_400": ours.granted,
        "peer_sum_then_insert_oversold": max(0, allocated - TIGHT),
        "peer_sum_then_insert_granted_of_400": peer.granted,
    }


def _on_a_slow_disk(connection: Rows, server: Server, tree: Tree, seconds: float) -> dict[str, float | int]:
    """Every commit waits ``FLUSH_US`` before its flush, see ``SLOW_DISK``."""
    connection.execute("SELECT quotas.set_inventory(%s, %s, NULL, 0, 1, 1)", (tree.pool, KIND))
    ways: dict[str, Hold] = {
        COMMITS: designs.commit,
        OURS: partial(designs.together, tree),
        LOCKS: partial(designs.plain, tree),
        SHARDS: partial(designs.sharded, tree),
    }
    rates = _in_turns(connection, server, tree, ways, seconds)
    show("2 ms more for a flush", rates)
    return {
        "holds_per_s_16_flush_2ms": rates[OURS].per_s,
        "hold_p99_s_16_flush_2ms": rates[OURS].p99_s,
        "design_row_locks_per_s_16_flush_2ms": rates[LOCKS].per_s,
        "design_16_shards_per_s_16_flush_2ms": rates[SHARDS].per_s,
        "commits_per_s_16_flush_2ms": rates[COMMITS].per_s,
    }


def show(title: str, rates: Mapping[str, Rate]) -> None:
    """A row a way: medians, and how they stand to ours."""
    table = Table(title=f"{title} (medians of {ROUNDS})", box=None)
    headings: Sequence[str] = ("", "/s", "x ours", "p50 ms", "p99 ms", "client µs CPU", "server µs CPU")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for name, rate in rates.items():
        table.add_row(
            name,
            f"{rate.per_s:,.0f}",
            f"{rate.per_s / rates[OURS].per_s:.2f}",
            f"{rate.p50_s * 1e3:.1f}",
            f"{rate.p99_s * 1e3:.1f}",
            f"{rate.client_us:,.0f}",
            f"{rate.server_us:,.0f}",
        )
    console.print(table)
