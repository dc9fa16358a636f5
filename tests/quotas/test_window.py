"""A part of a pool from near: exact against a list of the prefixes, wherever one looks."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Network
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from quotas import errors
from quotas.ipv6 import service as ipv6
from quotas.ipv6.values import PrefixState, Zone
from quotas.ipv6.window import window
from tests.quotas.world import SOON

POOL = IPv6Network("3fff:1aa:0:a00::/56")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(lengths=st.lists(st.sampled_from([58, 60, 61, 62, 63, 64]), max_size=6), data=st.data())
def test_cells_and_prefixes_are_those_of_a_list(session: Session, lengths: list[int], data: st.DataObject) -> None:
    """Every cell holds what overlaps it, clipped to it; whole prefixes are named in order of address."""
    with session.begin_nested() as nested:
        pool = uuid4()
        ipv6.ensure_pool(session, id=pool, zone=Zone.PRIVATE, routing_domain=str(pool), prefix=POOL, level="unit")
        taken = []
        for length in lengths:
            with suppress(errors.PoolFull):
                taken.append(ipv6.allocate(session, pool_id=pool, owner=uuid4(), length=length, expires_at=SOON).prefix)
        at = data.draw(st.sampled_from([POOL, *taken]))
        within = at.supernet(new_prefix=data.draw(st.integers(POOL.prefixlen, at.prefixlen)))
        seen = window(session, pool, within, cells=16)
        nested.rollback()
    here = sorted(p for p in taken if p.overlaps(within))
    assert [each.prefix for each in seen.taken] == here
    assert seen.cell_length == min(within.prefixlen + 4, 64)
    expected = {}
    for cell in within.subnets(new_prefix=seen.cell_length):
        inside = [max(p, cell, key=lambda n: n.prefixlen) for p in here if p.overlaps(cell)]
        if inside:
            expected[cell] = sum(1 << (64 - p.prefixlen) for p in inside)
    assert {cell.prefix: cell.by_state[PrefixState.HELD] for cell in seen.cells} == expected


def test_only_what_lies_in_the_pool_is_looked_at(session: Session) -> None:
    """Outside the pool, or of a pool that is not."""
    pool = uuid4()
    ipv6.ensure_pool(session, id=pool, zone=Zone.PRIVATE, routing_domain=str(pool), prefix=POOL, level="unit")
    with pytest.raises(errors.BadPrefix):
        window(session, pool, IPv6Network("3fff:1aa:0:b00::/60"))
    with pytest.raises(errors.UnknownPool):
        window(session, uuid4(), POOL)
