"""Many writers at once on the real database: no oversell, no deadlock, exact counts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from quotas import availability, service
from quotas.errors import HoldGone, QuotaExceeded
from quotas.values import Line, ResourceClass
from tests.quotas.world import SOON, Tree, hammer

X86 = ResourceClass.VCPU_X86_64
ARM = ResourceClass.VCPU_AARCH64


def test_writers_on_one_limit_never_oversell_and_use_it_up_exactly(engine: Engine, committed: Tree) -> None:
    """Zero oversell by the database: of 240 asked, exactly the 100 that the root allows are granted."""
    with Session(engine) as session:
        service.set_limit(session, committed.root, ResourceClass.VCPU, None, 100)
        session.commit()

    def ask(session: Session, writer: int, number: int) -> UUID:
        line = Line(X86 if number % 2 else ARM, 1, committed.pool)
        return service.hold(session, owner=uuid4(), node=committed.units[writer], lines=[line], expires_at=SOON)

    granted = hammer(engine, ask, writers=8, rounds=30, refused=(QuotaExceeded, HoldGone))
    with Session(engine) as session:
        assert len(granted) == 100
        assert [limit.used for limit in availability.snapshot(session, committed.root).limits] == [100]
        assert service.verify(session) == []


def test_writers_and_sweepers_on_crossing_paths_do_not_deadlock(engine: Engine, committed: Tree) -> None:
    """Limits at every level and in every class, holds, voids, releases and sweeps at once: all end, all adds up."""
    nodes = (committed.root, committed.city, committed.county, *committed.units)
    other = uuid4()
    with Session(engine) as session:
        service.alone(session)
        for node in nodes:
            for kind in (ResourceClass.VCPU, X86, ARM):
                service.set_limit(session, node, kind, None, 60)
                service.set_limit(session, node, kind, committed.pool, 50)
        for kind in (X86, ARM):
            service.set_inventory(session, other, kind, total=40)
        session.commit()
    seeds = random.Random(7)
    dice = [random.Random(seeds.random()) for _ in range(8)]

    def turn(session: Session, writer: int, number: int) -> None:
        die = dice[writer]
        if number % 5 == 4:
            service.sweep(session, datetime.now(UTC) + timedelta(hours=1), limit=20)
            return
        lines = [
            Line(k, die.randint(1, 3), p) for k in (ARM, X86) for p in (committed.pool, other) if die.random() > 0.3
        ]
        node = die.choice(nodes)
        expires = datetime.now(UTC) + timedelta(minutes=die.choice((1, 600)))
        held = service.hold(session, owner=uuid4(), node=node, lines=lines or [Line(ARM, 1, other)], expires_at=expires)
        session.commit()
        if die.random() < 0.4:
            service.void(session, held)
        elif die.random() < 0.5:
            service.pin(session, held, now=datetime(2000, 1, 1, tzinfo=UTC))
            service.post(session, held)
            session.commit()
            service.release(session, key=uuid4(), hold_id=held)

    hammer(engine, turn, writers=8, rounds=25, refused=(QuotaExceeded, HoldGone))
    with Session(engine) as session:
        assert service.verify(session) == []


def test_a_limit_that_appears_under_load_starts_from_an_exact_count(engine: Engine, committed: Tree) -> None:
    """Unlimited to finite while others count: nobody is missed, nobody is counted twice."""

    def turn(session: Session, writer: int, number: int) -> None:
        if writer == 0:
            limit = None if number % 3 == 2 else 50 + number
            service.set_limit(session, committed.city, ResourceClass.VCPU, None, limit)
            return
        line = Line(X86, 1, committed.pool)
        service.hold(session, owner=uuid4(), node=committed.units[writer], lines=[line], expires_at=SOON)

    hammer(engine, turn, writers=6, rounds=25, refused=(QuotaExceeded, HoldGone))
    with Session(engine) as session:
        service.set_limit(session, committed.city, ResourceClass.VCPU, None, 1000)
        assert service.verify(session) == []
