"""Two real transactions in one pool: who must not wait long passes by what the other has not committed yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Network
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from broker.embedded.spawn import wait_until
from quotas import errors
from quotas.ipv6 import operating, transfer
from quotas.ipv6 import service as ipv6
from quotas.ipv6.values import Allocation, Wish
from tests.quotas.test_prefixes import pool, take
from tests.quotas.world import PATIENCE_S

POOL = IPv6Network("3fff:0:10::/45")
LOWER, UPPER = POOL.subnets(new_prefix=46)
"""A /46 is 65,536 places of a /62: tried one by one at 50 ms each, an hour."""
SOON_S = 30.0


@dataclass(frozen=True, slots=True)
class Pools:
    engine: Engine
    of: UUID
    elsewhere: UUID

    @contextmanager
    def at_work(self) -> Iterator[Session]:
        """Somebody who has written something before: others may wait for him, so he waits for nobody long."""
        with Session(self.engine) as session:
            take(session, self.elsewhere)
            yield session


@pytest.fixture
def pools(engine: Engine) -> Pools:
    """A pool of two /46, and another one."""
    with Session(engine) as session:
        made = Pools(engine, pool(session, str(POOL)), pool(session, "3fff:0:20::/48"))
        session.commit()
    return made


@contextmanager
def soon() -> Iterator[None]:
    """A few waits of 50 ms, on a machine however busy; place by place it would be an hour."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SOON_S


@pytest.mark.parametrize("commits", [True, False])
def test_an_uncommitted_block_is_passed_by_in_one_step_and_is_busy(
    engine: Engine,
    pools: Pools,
    commits: bool,  # noqa: FBT001
) -> None:
    """One took all that is free, as a /46: soon "busy", for nobody knows yet; "full" if he commits, or it is there."""
    with Session(engine) as one, pools.at_work() as other:
        take(one, pools.of, 46)
        one.commit()
        take(one, pools.of, 46)
        for length in (62, 46):
            with soon(), pytest.raises(errors.PrefixBusy):
                take(other, pools.of, length)
        answers = ipv6.allocate_many(other, [Wish(pools.of, uuid4(), 62) for _ in range(2)])
        assert [type(answer) for answer in answers] == [errors.PrefixBusy] * 2
        if commits:
            one.commit()
            with soon(), pytest.raises(errors.PoolFull) as full:
                take(other, pools.of, 62)
            assert full.value.fits is None
        else:
            one.rollback()
            take(other, pools.of, 62)
        other.commit()
    with Session(engine) as session:
        assert ipv6.verify(session) == []


@pytest.mark.parametrize("commits", [True, False])
def test_who_is_told_busy_tries_again_by_himself(
    engine: Engine,
    pools: Pools,
    monkeypatch: pytest.MonkeyPatch,
    commits: bool,  # noqa: FBT001
) -> None:
    """While he pauses the other ends: the one call gives the place, or says "full" and that nothing fits."""
    with Session(engine) as one, pools.at_work() as other:
        take(one, pools.of, 46)
        one.commit()
        take(one, pools.of, 46)
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                one.commit() if commits else one.rollback()

        monkeypatch.setattr(ipv6, "sleep", pause)
        if commits:
            with pytest.raises(errors.PoolFull) as full:
                take(other, pools.of, 62)
            assert full.value.fits is None
        else:
            take(other, pools.of, 62)
        assert len(pauses) == 2


@pytest.mark.parametrize("commits", [True, False])
def test_growth_beside_what_is_not_committed_is_busy(
    engine: Engine,
    pools: Pools,
    monkeypatch: pytest.MonkeyPatch,
    commits: bool,  # noqa: FBT001
) -> None:
    """Neither "blocked" by nothing that could be named, nor granted: tried again until the neighbour has ended."""
    mine, tries = uuid4(), []

    def pause(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 2:
            one.commit() if commits else one.rollback()

    with Session(engine) as one, Session(engine) as other:
        take(one, pools.of, 46, owner=mine)
        one.commit()
        take(one, pools.of, 46)
        monkeypatch.setattr(ipv6, "sleep", pause)
        if commits:
            with pytest.raises(errors.CannotGrow) as blocked:
                operating.grow(other, mine, 45)
            assert len(blocked.value.by) == 1
        else:
            assert operating.grow(other, mine, 45).prefix == POOL
        assert len(tries) == 2


@pytest.mark.parametrize("how", ["grown", "reserved"])
def test_growth_and_reservations_are_seen_before_they_are_committed(engine: Engine, pools: Pools, how: str) -> None:
    """An uncommitted /46, whoever makes it: what is free beside it is handed out without a wait."""
    with Session(engine) as one:
        mine = uuid4()
        first = take(one, pools.of, 62, owner=mine).prefix
        one.commit()
        if how == "grown":
            block = operating.grow(one, mine, 46).prefix
        else:
            block = UPPER if first.subnet_of(LOWER) else LOWER
            operating.reserve(one, routing_domain="shared", prefix=block, reason="预留")
        with pools.at_work() as other, soon():
            got = [take(other, pools.of, length).prefix for length in (62, 62, 60, 64)]
            other.commit()
        one.commit()
    assert not any(prefix.overlaps(block) for prefix in got)
    with Session(engine) as session:
        assert ipv6.verify(session) == []


def test_a_reservation_that_was_refused_is_in_nobodys_way(engine: Engine, pools: Pools) -> None:
    """Its claim goes with it, not with the transaction: the places beside what it met are there for others."""
    with Session(engine) as one, pools.at_work() as other:
        first = take(one, pools.of, 62).prefix
        one.commit()
        with pytest.raises(errors.PrefixOverlap):
            operating.reserve(one, routing_domain="shared", prefix=POOL, reason="预留")
        assert take(other, pools.of, 46).prefix == (UPPER if first.subnet_of(LOWER) else LOWER)


def test_what_cannot_be_seen_is_busy_and_not_full(engine: Engine, pools: Pools) -> None:
    """An import claims nothing: after a few short waits "busy", never "full" with places that nobody looked at."""
    lines = [{"prefix": str(UPPER), "owner": "somebody"}]
    with Session(engine) as one:
        operating.reserve(one, routing_domain="shared", prefix=LOWER, reason="预留")
        one.commit()
        assert transfer.take_over(one, lines, partial=False, dry_run=False).written
        with pools.at_work() as other, soon(), pytest.raises(errors.PrefixBusy):
            take(other, pools.of, 62)
        one.commit()
    with pools.at_work() as other, soon(), pytest.raises(errors.PoolFull):
        take(other, pools.of, 62)


@pytest.mark.parametrize("commits", [True, False])
def test_many_at_once_pass_by_what_another_is_taking(engine: Engine, pools: Pools, commits: bool) -> None:  # noqa: FBT001
    """``allocate_many`` meets an uncommitted import and block: short waits, a place for each, no overlap."""
    lines = [{"prefix": str(subnet), "owner": str(subnet)} for subnet in list(LOWER.subnets(new_prefix=50))]
    with Session(engine) as one, Session(engine) as other:
        assert transfer.take_over(one, lines, partial=False, dry_run=False).written
        block = take(one, pools.of, 48).prefix
        with soon():
            answers = ipv6.allocate_many(other, [Wish(pools.of, uuid4(), active=True) for _ in range(20)])
        got = [answer.prefix for answer in answers if isinstance(answer, Allocation)]
        assert len(set(got)) == 20
        assert not any(prefix.subnet_of(LOWER) or prefix.overlaps(block) for prefix in got)
        one.commit() if commits else one.rollback()
        other.commit()
    with Session(engine) as session:
        assert ipv6.verify(session) == []


def test_two_batches_and_a_block_want_the_same_end_of_a_pool(engine: Engine) -> None:
    """Two open batches of /64 and one who wants the whole: nobody deadlocks, all 16 places are given once."""
    with Session(engine) as session:
        of = pool(session, "3fff:0:1:f0::/60")
        session.commit()
    with Session(engine) as one, Session(engine) as other:
        with soon():
            first = ipv6.allocate_many(one, [Wish(of, uuid4()) for _ in range(5)])
            second = ipv6.allocate_many(other, [Wish(of, uuid4()) for _ in range(11)])
            with pytest.raises((errors.PoolFull, errors.PrefixBusy)):
                take(one, of, 60)
        one.commit()
        other.commit()
    assert len({answer.prefix for answer in (*first, *second) if isinstance(answer, Allocation)}) == 16


def test_two_whose_places_were_taken_do_not_wait_for_each_others_cursors(engine: Engine) -> None:
    """Each has a cursor and waits for a place that an import takes; then each would want the other's cursor."""
    with Session(engine) as session:
        of = pool(session, "3fff:0:1:f0::/62")
        session.commit()
    with Session(engine) as session:
        taken = [take(session, of).prefix, take(session, of).prefix]
        session.commit()

    def ask(_: int) -> str:
        with Session(engine) as session:
            try:
                return str(take(session, of).prefix)
            except errors.PoolFull:
                return "full"

    left = set(IPv6Network("3fff:0:1:f0::/62").subnets(new_prefix=64)) - set(taken)
    lines = [{"prefix": str(prefix), "owner": str(prefix)} for prefix in left]
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'"
    )
    with Session(engine) as one, ThreadPoolExecutor(2) as threads, Session(engine) as watch:
        assert transfer.take_over(one, lines, partial=False, dry_run=False).written
        answers = threads.map(ask, range(2))

        def both_wait() -> bool:
            watch.rollback()
            return bool(watch.scalar(waiting) == 2)

        assert wait_until(both_wait, timeout_s=PATIENCE_S, poll_s=0.002)
        one.commit()
        assert list(answers) == ["full", "full"]
    with Session(engine) as session:
        assert ipv6.verify(session) == []
