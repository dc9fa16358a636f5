"""Random walks of everything the plan does, against an oracle that is a set of networks in Python."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from quotas import errors
from quotas.ipv6 import operating
from quotas.ipv6 import service as ipv6
from quotas.ipv6.overview import overview
from quotas.ipv6.values import Zone

POOL = IPv6Network("3fff:0:1:e0::/59")
NOW = datetime.now(UTC)
LENGTHS = st.integers(59, 64)
WHO = st.integers(0, 15)


class Plan(RuleBasedStateMachine):
    """One pool of 32 /64s; the oracle knows who has which network, what rests and what is reserved."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.connection = self.engine.connect()
        self.session = Session(self.connection)
        self.pool = uuid4()
        ipv6.ensure_pool(self.session, id=self.pool, zone=Zone.SHARED, routing_domain="shared", prefix=POOL)
        self.owners = [uuid4() for _ in range(16)]
        self.has: dict[UUID, IPv6Network] = {}
        self.resting: set[IPv6Network] = set()
        self.reserved: dict[UUID, IPv6Network] = {}

    def teardown(self) -> None:
        self.session.rollback()
        self.session.close()
        self.connection.close()

    @property
    def live(self) -> list[IPv6Network]:
        return [*self.has.values(), *self.resting, *self.reserved.values()]

    def free(self, block: IPv6Network, but: IPv6Network | None = None) -> bool:
        return not any(block.overlaps(other) for other in self.live if other != but)

    def longest(self, lengths: Iterable[int]) -> int | None:
        """The shortest prefix length of which a block is free."""
        return next((n for n in lengths if any(map(self.free, POOL.subnets(new_prefix=n)))), None)

    @rule(who=WHO, length=LENGTHS)
    def allocate(self, who: int, length: int) -> None:
        owner = self.owners[who]
        call: dict[str, Any] = {"pool_id": self.pool, "owner": owner, "length": length, "expires_at": None}
        if owner in self.has and self.has[owner].prefixlen == length:
            assert ipv6.allocate(self.session, **call, active=True).prefix == self.has[owner]
        elif owner in self.has:
            with pytest.raises(errors.HasAnother):
                ipv6.allocate(self.session, **call, active=True)
        elif self.longest([length]) is None:
            with pytest.raises(errors.PoolFull) as full:
                ipv6.allocate(self.session, **call, active=True)
            assert full.value.fits == self.longest(range(59, 65))
        else:
            got = ipv6.allocate(self.session, **call, active=True).prefix
            assert got.prefixlen == length
            assert got.subnet_of(POOL)
            assert self.free(got)
            self.has[owner] = got

    @rule(who=WHO, length=LENGTHS)
    def grow(self, who: int, length: int) -> None:
        owner = self.owners[who]
        mine = self.has.get(owner)
        if mine is None:
            with pytest.raises(errors.PrefixGone):
                operating.grow(self.session, owner, length)
        elif length > mine.prefixlen:
            with pytest.raises(errors.BadPrefix):
                operating.grow(self.session, owner, length)
        elif self.free(mine.supernet(new_prefix=length), mine):
            self.has[owner] = operating.grow(self.session, owner, length).prefix
            assert self.has[owner] == mine.supernet(new_prefix=length)
        else:
            with pytest.raises(errors.CannotGrow) as no:
                operating.grow(self.session, owner, length)
            could = range(length + 1, mine.prefixlen)
            assert no.value.fits == next((n for n in could if self.free(mine.supernet(new_prefix=n), mine)), None)
            assert no.value.by

    @rule(who=WHO)
    def give_back(self, who: int) -> None:
        owner = self.owners[who]
        if owner not in self.has:
            with pytest.raises(errors.PrefixGone):
                operating.give_back(self.session, owner, quarantine_until=NOW)
            return
        operating.give_back(self.session, owner, quarantine_until=NOW)
        self.resting.add(self.has.pop(owner))

    @rule()
    def sweep(self) -> None:
        assert ipv6.sweep(self.session, NOW - timedelta(seconds=1)) == []
        assert {s.prefix for s in ipv6.sweep(self.session, NOW)} == self.resting
        self.resting.clear()

    @rule(number=st.integers(0, 31), length=LENGTHS)
    def reserve(self, number: int, length: int) -> None:
        blocks = list(POOL.subnets(new_prefix=length))
        block = blocks[number % len(blocks)]
        if not self.free(block):
            with pytest.raises(errors.PrefixOverlap):
                operating.reserve(self.session, routing_domain="shared", prefix=block, reason="测试")
            return
        made = operating.reserve(self.session, routing_domain="shared", prefix=block, reason="测试")
        self.reserved[made.id] = made.prefix

    @rule()
    def lift(self) -> None:
        for reservation in list(self.reserved):
            operating.lift(self.session, reservation)
        self.reserved.clear()

    @invariant()
    def the_plan_is_the_oracle(self) -> None:
        seen = overview(self.session, self.pool, cells=32)
        taken = {cell.prefix for cell in seen.cells}
        assert taken == {part for block in self.live for part in block.subnets(new_prefix=64)}
        assert seen.pool.live == len(self.live)
        assert ipv6.verify(self.session) == []


def test_every_walk_of_the_plan_agrees_with_a_set_of_networks(shared_engine: Engine) -> None:
    """Given out when and only when it fits, what would fit is right, growth exact, nothing lost, nothing overlaps."""
    machine = type("Walk", (Plan,), {"engine": shared_engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
