"""Sixteen processes hold at once on a server of their own, writers and the server are killed: nothing is oversold."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from broker.db.migrate import upgrade
from broker.db.session import make_engine
from broker.embedded.postgres import EmbeddedPostgres
from broker.embedded.spawn import wait_until
from quotas import availability, service, together
from quotas.errors import HoldConflict, QuotaExceeded, UnknownNode
from quotas.values import Line, ResourceClass
from tests.quotas.world import PATIENCE_S, SOON, Tree, hammer, plant

X86 = ResourceClass.VCPU_X86_64

WRITERS = 16
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


def write(where: tuple[str, UUID, UUID], rounds: int, answers: Path, begun: Semaphore) -> None:
    """One process: holds one after the other, each answer written down before the next; says so after the third."""
    url, node, pool = where
    engine = make_engine(url, pool_size=1)
    with answers.open("w", encoding="utf-8", buffering=1) as out, suppress(OperationalError):
        for number in range(rounds):
            line = Line(X86, 1, pool)
            try:
                made = together.hold(engine, owner=node, node=node, lines=[line], expires_at=SOON).hold
            except QuotaExceeded:
                continue
            out.write(f"{made}\n")
            if number == 2:
                begun.release()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own that may be killed: what it answered is in the log (no flush needed for a process)."""
    with EmbeddedPostgres(tmp_path / "postgres", durable=False, settings={"synchronous_commit": "on"}) as made:
        upgrade(made.owner_url())
        yield made


@dataclass(frozen=True, slots=True)
class Writers:
    """Processes on the units of a tree, and where each writes down what it was answered."""

    processes: list[BaseProcess]
    files: list[Path]
    begun: Semaphore

    @classmethod
    def start(cls, url: str, tree: Tree, rounds: int, folder: Path) -> Writers:
        begun = PROCESSES.Semaphore(0)
        files = [folder / f"{rounds}-{n}" for n in range(WRITERS)]
        made: list[BaseProcess] = [
            PROCESSES.Process(target=write, args=((url, tree.units[n], tree.pool), rounds, files[n], begun))
            for n in range(WRITERS)
        ]
        for process in made:
            process.start()
        return cls(made, files, begun)

    def answered(self) -> set[UUID]:
        """All that was answered, when all have ended."""
        for process in self.processes:
            process.join(PATIENCE_S)
            assert not process.is_alive()
        return {UUID(line) for file in self.files for line in file.read_text().splitlines() if len(line) == 36}


def counted(session: Session) -> int:
    """From rows alone."""
    return int(session.scalar(text("SELECT coalesce(sum(amount - voided - released), 0) FROM quotas.hold_line")) or 0)


def test_sixteen_processes_killed_writers_and_a_killed_server_oversell_nothing(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """All limits hold after kill -9 of writers and of PostgreSQL; every hold that was answered is there."""
    engine = make_engine(server.app_url())
    with Session(engine) as session:
        tree = plant(session, units=WRITERS)
        service.set_limit(session, tree.root, ResourceClass.VCPU, None, 10**6)
        service.set_limit(session, tree.city, X86, tree.pool, 10**6)
        service.set_limit(session, tree.county, X86, None, 10**6)
        session.commit()

    # When all are at it, a quarter of the writers is killed, then the whole server under the others.
    running = Writers.start(server.app_url(), tree, 10_000, tmp_path)
    for _ in running.processes:
        assert running.begun.acquire(timeout=PATIENCE_S)
    for victim in running.processes[::4]:
        victim.kill()
    for _ in range(3):
        together.hold(engine, owner=tree.county, node=tree.county, lines=[Line(X86, 1, tree.pool)], expires_at=SOON)
    os.kill(server.pid, signal.SIGKILL)
    answered = running.answered()
    engine.dispose()
    server.stop()
    server.start()

    engine = make_engine(server.app_url())
    with Session(engine) as session:
        assert len(answered) >= 3 * WRITERS
        assert answered <= {hold.id for hold in availability.holds(session, owners=tree.units)}
        assert service.verify(session) == []
        before = counted(session)
        # A limit as it is near the end of the budget year: less is left than is asked for.
        service.set_limit(session, tree.county, X86, None, before + 150)
        session.commit()

    granted = Writers.start(server.app_url(), tree, 20, tmp_path).answered()
    with Session(engine) as session:
        assert len(granted) == 150
        assert counted(session) == before + 150
        assert service.verify(session) == []
    engine.dispose()


def test_the_fast_way_and_use_cases_count_on_the_same_rows(engine: Engine, committed: Tree) -> None:
    """Group holds beside plain ones, resizes, voids and sweeps: exact to the unit, and nobody deadlocks."""
    with Session(engine) as session:
        service.alone(session)
        service.set_limit(session, committed.root, ResourceClass.VCPU, None, 150)
        service.set_limit(session, committed.county, ResourceClass.VCPU, None, 140, borrowing=5, lending=100)
        for unit in committed.units[:4]:
            service.set_limit(session, unit, X86, None, 30, borrowing=None, lending=25)
        session.commit()

    def turn(session: Session, writer: int, number: int) -> object:
        line, unit = Line(X86, 1 + number % 3, committed.pool), committed.units[writer]
        if writer % 2:
            return together.hold(engine, owner=unit, node=unit, lines=[line], expires_at=SOON)
        made = service.hold(session, owner=unit, node=unit, lines=[line], expires_at=SOON)
        if number % 4 == 0:
            session.commit()
            service.void(session, made)
        return made

    hammer(engine, turn, writers=8, rounds=25, refused=(QuotaExceeded,))
    with Session(engine) as session:
        assert counted(session) <= 145
        assert service.verify(session) == []


def test_a_statement_that_the_driver_forgot_is_prepared_again(engine: Engine, committed: Tree) -> None:
    """After a rollback the driver may have dropped all that is prepared: the hold stays on its connection."""

    def alone(_: object) -> None:
        raise AssertionError("counted by itself")

    asked = replace(together._ALONE, write=alone)  # nothing may be done by itself
    unit, pid = committed.units[0], text("SELECT pg_backend_pid()")
    one = create_engine(engine.url, pool_size=1, max_overflow=0)
    try:
        with one.connect() as connection:
            before = connection.scalar(pid)
        for _ in range(2):
            lines = [Line(X86, 1, committed.pool)]
            together.hold(one, owner=unit, node=unit, lines=lines, expires_at=SOON, before=asked)
            with one.connect() as connection:
                connection.exec_driver_sql("DEALLOCATE ALL")
        with one.connect() as connection:
            assert connection.scalar(pid) == before
    finally:
        one.dispose()


def test_the_fast_way_answers_as_the_plain_one_does(engine: Engine, committed: Tree) -> None:
    """The same id again counts once, other lines conflict, an unknown node is one, and a refusal lists its reasons."""
    unit = committed.units[0]
    with Session(engine) as session:
        service.set_limit(session, committed.root, X86, None, 5)
        session.commit()

    def hold(amount: int, hold_id: UUID, node: UUID = unit) -> UUID:
        line = Line(X86, amount, committed.pool)
        return together.hold(engine, owner=unit, node=node, lines=[line], expires_at=SOON, hold_id=hold_id).hold

    mine = uuid4()
    assert [hold(3, mine), hold(3, mine)] == [mine, mine]
    asked = {"owner": unit, "node": unit, "lines": [Line(X86, 3, committed.pool)], "hold_id": mine}
    later = together.hold(engine, **asked, expires_at=SOON + timedelta(days=9))  # type: ignore[arg-type]
    assert later == (mine, SOON)  # the date that it has, which is not the one that was asked for now
    with pytest.raises(HoldConflict):
        hold(2, mine)
    with pytest.raises(UnknownNode):
        hold(1, uuid4(), node=uuid4())
    with pytest.raises(QuotaExceeded) as refused:
        hold(3, uuid4())
    assert [(r.node, r.used, r.asked, r.fits) for r in refused.value.refusals] == [(committed.root, 3, 3, 2)]
    with ThreadPoolExecutor(8) as pool:
        same = uuid4()
        assert set(pool.map(lambda _: hold(2, same), range(8))) == {same}
    with Session(engine) as session:
        assert counted(session) == 5
        assert service.verify(session) == []


def advisory_waiters(session: Session) -> int:
    """How many wait for a lock that holds take, at this moment."""
    session.rollback()
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = 1902458740")
    return int(session.scalar(waiting) or 0)


def test_who_waited_for_a_leader_that_never_served_holds_all_the_same(engine: Engine, committed: Tree) -> None:
    """The first of a group is gone before he counts: each of the others gets his hold, counted once."""
    with Session(engine) as session:
        service.set_limit(session, committed.root, X86, None, 100)
        session.commit()
    leader = engine.connect()
    seat = "SELECT pg_advisory_xact_lock(1902458740, quotas.group_that_gathers())"
    leader.execute(text(seat))

    def hold(unit: UUID) -> UUID:
        return together.hold(engine, owner=unit, node=unit, lines=[Line(X86, 1, committed.pool)], expires_at=SOON).hold

    with ThreadPoolExecutor(6) as pool, Session(engine) as session:
        asked = [pool.submit(hold, unit) for unit in committed.units[:6]]
        assert wait_until(lambda: advisory_waiters(session) == 6, timeout_s=PATIENCE_S, poll_s=0.005)
        assert not any(each.done() for each in asked)
        leader.close()
        assert len({each.result(PATIENCE_S) for each in asked}) == 6
        session.rollback()
        assert counted(session) == 6
        assert service.verify(session) == []


def test_wishes_of_connections_that_are_gone_are_forgotten(
    engine: Engine, owner_engine: Engine, committed: Tree
) -> None:
    """A broker that comes and goes for years leaves no rows behind that every group would have to read."""
    unit = committed.units[0]

    def hold() -> None:
        together.hold(engine, owner=unit, node=unit, lines=[Line(X86, 1, committed.pool)], expires_at=SOON)

    hold()
    with Session(owner_engine) as session:
        long_ago = "UPDATE quotas.wish SET backend = -backend, asked_at = asked_at - interval '2 hours'"
        session.execute(text(long_ago))
        session.commit()
        hold()
        assert session.scalar(text("SELECT count(*) FROM quotas.wish WHERE backend < 0")) == 0
