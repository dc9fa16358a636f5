"""The IPv6 plan on the real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from quotas import errors
from quotas.ipv6 import service as ipv6
from quotas.ipv6.values import Allocation, Layout, Level, PrefixState, Zone, slash64s
from tests.quotas.world import SOON, hammer

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=30)


def pool(session: Session, prefix: str, *, zone: Zone = Zone.SHARED, domain: str | None = None) -> UUID:
    """A pool that hands out prefixes."""
    made = uuid4()
    ipv6.ensure_pool(session, id=made, zone=zone, routing_domain=domain or zone, prefix=prefix)
    return made


def take(session: Session, of: UUID, length: int = 64, owner: UUID | None = None) -> Allocation:
    return ipv6.allocate(session, pool_id=of, owner=owner or uuid4(), length=length, expires_at=SOON)


def test_an_allocation_says_where_it_is_and_the_same_owner_gets_the_same(session: Session) -> None:
    """Idempotent per owner; every prefix carries its routing domain."""
    of, owner = pool(session, "3fff:0:1::/48"), uuid4()
    first = take(session, of, owner=owner)
    assert (first.routing_domain, first.zone, first.state) == ("shared", Zone.SHARED, PrefixState.HELD)
    assert first.prefix.prefixlen == 64
    assert first.prefix.subnet_of(IPv6Network("3fff:0:1::/48"))
    again = ipv6.allocate(session, pool_id=of, owner=owner, expires_at=LATER)
    assert (again.id, again.until) == (first.id, LATER)
    with pytest.raises(errors.HasAnother):
        take(session, of, 60, owner=owner)


def test_neighbours_in_time_lie_far_apart_so_that_each_can_grow_in_place(session: Session) -> None:
    """Sparse: 256 segments of a /48 lie in 256 different /56."""
    of = pool(session, "3fff:0:1::/48")
    blocks = {take(session, of).prefix.supernet(new_prefix=56) for _ in range(256)}
    assert len(blocks) == 256


def test_a_full_pool_says_so_and_says_what_would_fit(session: Session) -> None:
    """Never "full" while something is free: all 16 are given out; a /61 asked of fragments is told what fits."""
    of = pool(session, "3fff:0:1:f0::/60")
    owners = [uuid4() for _ in range(16)]
    prefixes = {owner: take(session, of, owner=owner).prefix for owner in owners}
    assert len(set(prefixes.values())) == 16
    with pytest.raises(errors.PoolFull) as full:
        take(session, of)
    assert full.value.fits is None
    for owner, prefix in prefixes.items():
        if prefix.subnet_of(IPv6Network("3fff:0:1:f4::/62")):
            ipv6.cancel(session, owner)
    with pytest.raises(errors.PoolFull) as full:
        take(session, of, 61)
    assert full.value.fits == 62
    assert take(session, of, 62).prefix == IPv6Network("3fff:0:1:f4::/62")
    with pytest.raises(errors.PoolFull):
        take(session, of)
    assert ipv6.verify(session) == []


def test_a_released_prefix_rests_and_is_then_reused(session: Session) -> None:
    """Quarantine: not free before the date, however full the pool is; a cancelled hold is free at once."""
    of = pool(session, "3fff:0:1:f0::/63")
    (kept, gone), until = (uuid4(), uuid4()), NOW + timedelta(hours=12)
    first, second = take(session, of, owner=kept), take(session, of, owner=gone)
    ipv6.activate(session, gone)
    for _ in range(2):
        resting = ipv6.release(session, gone, until)
        assert resting is not None
        assert (resting.state, resting.until) == (PrefixState.QUARANTINED, until)
    with pytest.raises(errors.PrefixGone, match="quarantined"):
        ipv6.activate(session, gone)
    assert ipv6.sweep(session, NOW) == []
    with pytest.raises(errors.PoolFull):
        take(session, of)
    assert [(s.owner, s.prefix, s.was) for s in ipv6.sweep(session, until)] == [(gone, second.prefix, "quarantined")]
    assert take(session, of).prefix == second.prefix
    for _ in range(2):
        ipv6.cancel(session, kept)
    assert take(session, of).prefix == first.prefix


def test_a_hold_expires_unless_it_is_pinned_or_active(session: Session) -> None:
    """A prefix held at assessment has a date; pinned by delivery it cannot expire."""
    of, late = pool(session, "3fff:0:1::/48"), SOON + timedelta(seconds=1)
    due, pinned, active = uuid4(), uuid4(), uuid4()
    for owner in (due, pinned, active):
        take(session, of, owner=owner)
    for _ in range(2):
        ipv6.pin(session, pinned)
        ipv6.activate(session, active)
    for attempt in (ipv6.pin, ipv6.activate):
        with pytest.raises(errors.PrefixGone, match="overdue"):
            attempt(session, due, now=late)
        with pytest.raises(errors.PrefixGone, match="unknown"):
            attempt(session, uuid4())
    assert [s.owner for s in ipv6.sweep(session, late)] == [due]
    ipv6.activate(session, pinned, now=late)
    assert ipv6.cancel(session, uuid4()) is None
    assert ipv6.release(session, uuid4(), LATER) is None
    still = ipv6.cancel(session, active)
    assert still is not None
    assert still.state is PrefixState.ACTIVE


def test_private_zones_reuse_space_and_the_shared_zone_never_overlaps(session: Session) -> None:
    """The database excludes on routing domain and prefix."""
    for department in ("private:edu", "private:health"):
        take(session, pool(session, "fd00:1::/64", zone=Zone.PRIVATE, domain=department))
    pool(session, "3fff:0:1::/48")
    with pytest.raises(errors.PrefixOverlap):
        pool(session, "3fff:0:1:8000::/49")
    with pytest.raises(errors.BadPrefix, match="wrong_zone"):
        pool(session, "3fff:0:9::/48", zone=Zone.SHARED, domain="private:edu")
    with pytest.raises(errors.BadPrefix, match="wrong_zone"):
        pool(session, "3fff:0:9::/48", zone=Zone.SHARED, domain="a second shared one")
    with pytest.raises(errors.BadPrefix, match="unique_local"):
        pool(session, "fd00:1::/48")


def test_the_plan_goes_from_the_zone_down_to_units_by_level(session: Session) -> None:
    """Province, city, county or department, unit; lengths per level are a setting; use adds up along the way."""
    layout = Layout()
    province, city, county, unit = (uuid4() for _ in range(4))
    zone = str(layout.zones[Zone.SHARED].supernet(new_prefix=20))
    ipv6.ensure_pool(
        session, id=province, zone=Zone.SHARED, routing_domain="shared", prefix=zone, level="province", hands_out=False
    )
    for _ in range(2):
        ipv6.carve(session, id=city, parent_id=province, level=Level.CITY)
        ipv6.carve(session, id=county, parent_id=city, level=Level.COUNTY, layout=layout)
        ipv6.carve(session, id=unit, parent_id=county, level=Level.UNIT, length=52, hands_out=True)
    take(session, unit, 62)
    nodes = ipv6.plan(session, province)
    assert [(n.id, n.prefix.prefixlen, n.live_64) for n in nodes] == [
        (province, 20, 4), (city, 32, 4), (county, 40, 4), (unit, 52, 4)
    ]  # fmt: skip
    assert all(below.prefix.subnet_of(above.prefix) for above, below in pairwise(nodes))
    assert [n.id for n in ipv6.plan(session, county)] == [county, unit]
    with pytest.raises(errors.BadPrefix):
        take(session, county)
    with pytest.raises(errors.BadPrefix):
        ipv6.carve(session, id=uuid4(), parent_id=unit, level=Level.UNIT, length=56)
    assert ipv6.verify(session) == []


def test_carving_fills_a_parent_and_then_says_full(session: Session) -> None:
    """Children of one parent never overlap, and every place is found."""
    parent = uuid4()
    ipv6.ensure_pool(session, id=parent, zone=Zone.SHARED, routing_domain="shared", prefix="3fff::/44", hands_out=False)
    for _ in range(16):
        ipv6.carve(session, id=uuid4(), parent_id=parent, level=Level.UNIT)
    with pytest.raises(errors.PoolFull):
        ipv6.carve(session, id=uuid4(), parent_id=parent, level=Level.UNIT)
    assert len({n.prefix for n in ipv6.plan(session, parent)}) == 17


@pytest.mark.parametrize("prefix", ["10.0.0.0/8", "3fff::1/48", "3fff::/65", "::/0", "nonsense"])
def test_what_is_no_ipv6_prefix_of_a_pool_is_refused(session: Session, prefix: str) -> None:
    """IPv4, unaligned, too long, too short: one stable code."""
    with pytest.raises(errors.BadPrefix) as bad:
        pool(session, prefix)
    assert bad.value.code in {"prefix.not_ipv6", "prefix.host_bits", "prefix.too_long", "prefix.too_short"}


def test_a_prefix_outside_its_parent_or_pool_is_refused(session: Session) -> None:
    """A child lies inside its parent; a segment is not larger than its pool nor smaller than a /64."""
    parent = uuid4()
    ipv6.ensure_pool(session, id=parent, zone=Zone.SHARED, routing_domain="shared", prefix="3fff::/40", hands_out=False)
    with pytest.raises(errors.BadPrefix, match="outside_parent"):
        ipv6.ensure_pool(
            session, id=uuid4(), zone=Zone.SHARED, routing_domain="shared", prefix="3fff:100::/48", parent_id=parent
        )
    of = pool(session, "3fff:200::/48")
    for length in (47, 65):
        with pytest.raises(errors.BadPrefix):
            take(session, of, length)
    with pytest.raises(errors.UnknownPool):
        take(session, uuid4())
    assert slash64s(62) == 4


def test_each_verb_is_one_statement(session: Session) -> None:
    """One round trip an allocation."""
    of, owner = pool(session, "3fff:0:1::/48"), uuid4()
    statements: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    take(session, of, owner=owner)
    ipv6.pin(session, owner)
    ipv6.activate(session, owner)
    ipv6.release(session, owner, LATER)
    ipv6.sweep(session, NOW)
    ipv6.verify(session)
    assert len(statements) == 6


def test_writers_at_once_never_overlap_and_use_the_pool_up_exactly(engine: Engine) -> None:
    """8 writers want 320 of a pool of 256: 256 get one, the others hear that it is full."""
    with Session(engine) as session:
        of = pool(session, "3fff:0:1::/56")
        session.commit()

    def turn(session: Session, writer: int, number: int) -> IPv6Network:
        return take(session, of).prefix

    given_out = hammer(engine, turn, writers=8, rounds=40, refused=(errors.PoolFull,))
    assert len(given_out) == len(set(given_out)) == 256
    with Session(engine) as session:
        assert ipv6.verify(session) == []


def test_writers_of_several_lengths_and_releases_at_once_never_overlap(engine: Engine) -> None:
    """Lost races are inserts that did nothing; nothing deadlocks and nothing is lost."""
    with Session(engine) as session:
        of = pool(session, "3fff:0:1::/54")
        session.commit()

    def turn(session: Session, writer: int, number: int) -> None:
        owner = uuid4()
        take(session, of, (64, 62, 60, 58)[(writer + number) % 4], owner=owner)
        session.commit()
        if number % 3 == 0:
            ipv6.cancel(session, owner)
        elif number % 3 == 1:
            ipv6.activate(session, owner)
            ipv6.release(session, owner, NOW)
            ipv6.sweep(session, NOW, limit=5)

    hammer(engine, turn, writers=8, rounds=40, refused=(errors.PoolFull, errors.PrefixBusy))
    with Session(engine) as session:
        assert ipv6.verify(session) == []


def test_the_same_owner_asking_twice_at_once_gets_one_prefix(engine: Engine) -> None:
    """Two runs of one step hold one prefix."""
    with Session(engine) as session:
        of = pool(session, "3fff:0:1::/48")
        session.commit()
    owners = [uuid4() for _ in range(20)]

    def turn(session: Session, writer: int, number: int) -> tuple[UUID, IPv6Network]:
        return owners[number], take(session, of, owner=owners[number]).prefix

    got = hammer(engine, turn, writers=4, rounds=20, refused=())
    assert len(got) == 80
    assert len(set(got)) == 20


def test_two_open_transactions_share_the_last_places_without_waiting_for_each_other(engine: Engine) -> None:
    """A prefix that somebody is taking right now is passed by: no wait, so no deadlock, even in the last gap."""
    with Session(engine) as session:
        of, whole_pool = pool(session, "3fff:0:1::/62"), uuid4()
        take(session, of, 62, owner=whole_pool)
        with pytest.raises(errors.PoolFull):
            take(session, of)  # the cursors of /64 are used up from here on: only the gaps are left
        ipv6.cancel(session, whole_pool)
        session.commit()
    with Session(engine) as one, Session(engine) as other:
        for session in (one, other):
            session.execute(text("SET LOCAL lock_timeout = '10s'"))
        given_out = [take(session, of).prefix for session in (one, other, one, other)]
        one.commit()
        other.commit()
    assert len(set(given_out)) == 4


def test_a_short_prefix_beside_long_ones_takes_few_locks(session: Session) -> None:
    """A /46 and /62s in one /44: what lies in the short one is passed by, not tried place by place with a lock each."""
    of = pool(session, "3fff:0:10::/44")
    for length in (46, 62, 62, 46, 62, 62):
        take(session, of, length)
    with pytest.raises(errors.PoolFull):
        take(session, of, 45)
    locks = session.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"))
    assert locks is not None
    assert locks < 100
    assert ipv6.verify(session) == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "take", "take", "cancel", "rest"]), st.integers(60, 64), st.integers(0, 99)),
        min_size=15,
        max_size=60,
    )
)
def test_an_answer_is_full_exactly_when_no_aligned_block_is_free(
    shared_engine: Engine, moves: list[tuple[str, int, int]]
) -> None:
    """Against a brute-force oracle of 32 slots: given out when and only when it fits, and what would fit is right."""
    with shared_engine.connect() as connection, Session(connection) as session:
        of = pool(session, "3fff:0:1:e0::/59")
        live: dict[UUID, IPv6Network] = {}

        def fits(length: int) -> bool:
            blocks = IPv6Network("3fff:0:1:e0::/59").subnets(new_prefix=length)
            return any(not any(block.overlaps(taken) for taken in live.values()) for block in blocks)

        for what, length, number in moves:
            if what == "take":
                owner = uuid4()
                if fits(length):
                    got = take(session, of, length, owner=owner).prefix
                    assert not any(got.overlaps(taken) for taken in live.values())
                    live[owner] = got
                    continue
                with pytest.raises(errors.PoolFull) as full:
                    take(session, of, length, owner=owner)
                assert full.value.fits == next((n for n in range(length + 1, 65) if fits(n)), None)
            elif live:
                owner = list(live)[number % len(live)]
                del live[owner]
                if what == "rest":
                    ipv6.activate(session, owner)
                    ipv6.release(session, owner, NOW)
                    ipv6.sweep(session, NOW)
                else:
                    ipv6.cancel(session, owner)
        assert ipv6.verify(session) == []
        session.rollback()
