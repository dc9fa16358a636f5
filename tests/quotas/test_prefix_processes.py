"""Sixteen processes on one plan, and processes that are killed in the middle: recounted exactly at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import IPv6Network
from itertools import pairwise
from uuid import UUID, uuid4

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from broker.embedded.spawn import wait_until
from quotas import models
from quotas.ipv6 import service as ipv6
from quotas.ipv6.values import LIVE, Zone
from tests.conftest import Database
from tests.quotas.world import PATIENCE_S

PROGRAM = """
import json, sys
from ipaddress import IPv6Network
from random import Random
from uuid import UUID, uuid4
from sqlalchemy.orm import Session
from broker.db.session import make_engine
from quotas import errors
from quotas.ipv6 import operating, service as ipv6
from datetime import UTC, datetime
url, pool, seed, rounds = sys.argv[1], UUID(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
engine, die, mine = make_engine(url), Random(seed), []
for _ in range(rounds):
    with Session(engine) as session:
        what, owner = die.random(), uuid4()
        try:
            if what < 0.65 or not mine:
                got = ipv6.allocate(session, pool_id=pool, owner=owner, length=die.choice((64, 64, 62, 60)),
                                    expires_at=None, active=True)
                change = ("has", str(owner), str(got.prefix))
            elif what < 0.8:
                owner = die.choice(mine)
                change = ("has", str(owner), str(operating.grow(session, owner, die.choice((61, 59))).prefix))
            else:
                owner = mine.pop(die.randrange(len(mine)))
                operating.give_back(session, owner, quarantine_until=datetime.now(UTC))
                ipv6.sweep(session, datetime.now(UTC), limit=3)
                change = ("gone", str(owner), "")
        except (errors.PoolFull, errors.CannotGrow, errors.BadPrefix, errors.PrefixBusy):
            session.rollback()
            continue
        session.commit()
    if change[0] == "has" and UUID(change[1]) not in mine:
        mine.append(UUID(change[1]))
    print(json.dumps(change), flush=True)
"""


def pool(engine: Engine, prefix: str) -> UUID:
    made = uuid4()
    with Session(engine) as session:
        ipv6.ensure_pool(session, id=made, zone=Zone.SHARED, routing_domain="shared", prefix=prefix)
        session.commit()
    return made


def start(database: Database, of: UUID, rounds: int, writers: int) -> list[subprocess.Popen[str]]:
    words = (database.app_url, str(of))
    return [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words, str(seed), str(rounds)], stdout=subprocess.PIPE, text=True
        )
        for seed in range(writers)
    ]


def told(outputs: Sequence[str]) -> dict[str, str]:
    """Owner -> prefix, as the processes were told; half a line of a killed one is dropped."""
    has: dict[str, str] = {}
    for output in outputs:
        for line in output.splitlines(keepends=True):
            if line.endswith("\n"):
                what, owner, prefix = json.loads(line)
                has[owner] = prefix if what == "has" else ""
    return {owner: prefix for owner, prefix in has.items() if prefix}


def counted(engine: Engine) -> dict[str, str]:
    """Owner -> prefix, from the rows; and nothing overlaps, by Python's own account."""
    a = models.prefix_allocation
    with Session(engine) as session:
        rows = session.execute(select(a).where(a.c.state.in_(LIVE))).all()
        assert ipv6.verify(session) == []
    networks = sorted(IPv6Network(row.prefix) for row in rows)
    assert not any(before.overlaps(after) for before, after in pairwise(networks))
    return {str(row.owner): str(row.prefix) for row in rows if row.state in {"held", "active"}}


def others(engine: Engine) -> int:
    """How many are connected to this database beside us."""
    theirs = "datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    engine.dispose()
    with Session(engine) as session:
        return int(session.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {theirs}")) or 0)


def test_sixteen_processes_are_recounted_exactly(engine: Engine, database: Database) -> None:
    """Allocations of three lengths, growth, release and reuse: what each was told is exactly what is there."""
    processes = start(database, pool(engine, "3fff:0:1::/55"), rounds=25, writers=16)
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 16
    has = told(outputs)
    assert len(has) > 100
    assert counted(engine) == has


def test_writers_killed_in_the_middle_leave_nothing_half_done(engine: Engine, database: Database) -> None:
    """Kill -9: what was answered is there; at most one change a process was made and not answered."""
    of = pool(engine, "3fff:0:1::/48")
    processes = start(database, of, rounds=10_000, writers=4)
    outputs = []
    for process in processes:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        outputs.append("".join(seen) + process.stdout.read())
        process.wait()
        process.stdout.close()
    # What a killed one had sent is still carried out, to its commit, by a server process that nobody listens to.
    assert wait_until(lambda: others(engine) == 0, timeout_s=PATIENCE_S)
    has, there = told(outputs), counted(engine)
    different = {owner for owner in {*has, *there} if has.get(owner) != there.get(owner)}
    assert len(different) <= len(processes)
    with Session(engine) as session:
        ipv6.allocate(session, pool_id=of, owner=uuid4(), expires_at=None)
        session.commit()
