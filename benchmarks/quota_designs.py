"""One hold, in each of the ways that ``benchmarks.quotas`` compares: ours, other designs of ours, and what others do.

Called by: ``benchmarks.quotas``. Must not: answer a hold before it is durable, or give the others less than theirs do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from benchmarks.writers import Rows
from broker.db.session import make_engine
from quotas import service
from quotas import together as quotas_together
from quotas.values import Line, ResourceClass

CITIES, COUNTIES, LEAVES = 14, 112, 5000
PLENTY = 10**12
KIND = "vcpu_x86_64"
BATCH = 16

SOON = datetime.now(UTC) + timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Tree:
    """The nodes' ids: the root first, then cities, counties, leaves; and the pool that has enough."""

    root: UUID
    leaves: Sequence[UUID]
    pool: UUID


def number(connection: Rows, sql: LiteralString, *values: object) -> int:
    """The one number that a statement gives."""
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


def _values(tree: Tree, dice: random.Random) -> tuple[str, ...]:
    line = Line(ResourceClass(KIND), 1, tree.pool)
    return service.parameters(uuid7(), tree.root, dice.choice(tree.leaves), [line], SOON)


_prepared: dict[Any, dict[Any, Any]] = {}


def together(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Ours, on a connection that the caller keeps."""
    known = _prepared.setdefault(connection.pgconn, {})
    answer = quotas_together.ask(connection, known, _values(tree, dice))
    if answer is None:
        raise psycopg.errors.DeadlockDetected("the group stands and falls together: ask again")
    return int(answer["outcome"] == "ok")


_engines: dict[str, Engine] = {}


def pooled(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Ours, as the broker calls it: with a connection of its pool."""
    info = connection.info
    url = f"postgresql+psycopg://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"
    if url not in _engines:
        _engines[url] = make_engine(url, pool_size=1)
    line = Line(ResourceClass(KIND), 1, tree.pool)
    quotas_together.hold(_engines[url], owner=tree.root, node=dice.choice(tree.leaves), lines=[line], expires_at=SOON)
    return 1


def plain(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Design: a hold a transaction, the counters' rows locked from leaf to root; what a use-case of the road does."""
    row = connection.execute("SELECT quotas.hold(%s, %s, %s, %s, %s, %s, %s, NULL)", _values(tree, dice)).fetchone()
    assert row is not None
    return int(row[0]["outcome"] == "ok")


def sharded(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Design: the same, but the root has 16 counters instead of a limit; see ``bench.hold_sharded``."""
    try:
        row = connection.execute(
            "SELECT bench.hold_sharded(%s, %s, %s, %s, %s, %s, %s)", _values(tree, dice)
        ).fetchone()
    except psycopg.errors.RaiseException:
        return 0
    assert row is not None
    return int(row[0]["outcome"] == "ok")


def batched(tree: Tree, connection: Rows, dice: random.Random) -> int:
    """Design: one writer that has collected 16 callers and counts for all in one transaction; for a single process.

    How callers reach it and are answered is not in it.
    """
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
    connection.execute("INSERT INTO bench.allocation VALUES (%s, 0, %s, %s, %s, 1)", (uuid7(), city, county, leaf))


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
