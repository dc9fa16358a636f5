"""Small worlds for the tests of ``quotas``: a tree, a pool, and many writers at once.

Called by: the tests beside it. Must not: replace any of our own code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from broker.embedded.spawn import wait_until
from quotas import moving, service
from quotas.values import ResourceClass

SOON = datetime.now(UTC) + timedelta(days=1)
PATIENCE_S = 120.0
"""How long a busy machine may take; nothing waits that long when all is well."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Region, city, county and some units below it; one pool that offers plenty of most classes."""

    root: UUID
    city: UUID
    county: UUID
    units: tuple[UUID, ...]
    pool: UUID


def plant(session: Session, units: int = 4) -> Tree:
    """A tree of four levels and a pool whose stock does not bind."""
    tree = Tree(uuid4(), uuid4(), uuid4(), tuple(uuid4() for _ in range(units)), uuid4())
    moving.alone(session)  # a test in one transaction counts and moves as it likes
    service.add_node(session, id=tree.root, parent_id=None)
    service.add_node(session, id=tree.city, parent_id=tree.root)
    service.add_node(session, id=tree.county, parent_id=tree.city)
    for unit in tree.units:
        service.add_node(session, id=unit, parent_id=tree.county)
    for kind in (ResourceClass.VCPU_X86_64, ResourceClass.VCPU_AARCH64, ResourceClass.MEMORY_GIB_X86_64):
        service.set_inventory(session, tree.pool, kind, total=10**6)
    service.set_inventory(session, tree.pool, ResourceClass.IPV6_64, total=None)
    return tree


Work = Callable[[Session, int, int], object]


def hammer(
    engine: Engine, work: Work, *, writers: int, rounds: int, refused: tuple[type[Exception], ...]
) -> list[object]:
    """What ``work(session, writer, round)`` returned, each in a transaction of its own; refusals are left out."""
    start = threading.Barrier(writers)

    def run(writer: int) -> list[object]:
        done = []
        start.wait()
        for number in range(rounds):
            with Session(engine) as session:
                try:
                    result = work(session, writer, number)
                except refused:
                    session.rollback()
                    continue
                session.commit()
                done.append(result)
        return done

    with ThreadPoolExecutor(writers) as pool:
        return [result for done in pool.map(run, range(writers)) for result in done]


def somebody_waits(engine: Engine) -> None:
    """Returns when a backend of this database waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with engine.connect() as looks:

        def seen() -> bool:
            looks.rollback()
            return bool(looks.execute(waiting).scalar_one())

        assert wait_until(seen, timeout_s=PATIENCE_S, poll_s=0.002), "nobody waits"
