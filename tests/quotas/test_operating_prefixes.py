"""What operators do to the plan: give back, grow in place, reserve ranges; and what is merged for reuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from quotas import errors
from quotas.ipv6 import operating
from quotas.ipv6 import service as ipv6
from quotas.ipv6.values import Allocation, PrefixState, Wish, Zone
from tests.quotas.test_prefixes import pool, take

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=30)


def active(session: Session, of: UUID, length: int = 64, owner: UUID | None = None) -> IPv6Network:
    owner = owner or uuid4()
    return ipv6.allocate(session, pool_id=of, owner=owner, length=length, expires_at=None, active=True).prefix


def test_a_prefix_grows_where_it_is_until_something_is_beside_it(session: Session) -> None:
    """Sparse: neighbours can grow in place; blocked, the answer says by what and how far it could."""
    of, mine, other = pool(session, "3fff:0:1::/48"), uuid4(), uuid4()
    before = active(session, of, owner=mine)
    grown = operating.grow(session, mine, 60)
    assert grown.prefix == before.supernet(new_prefix=60)
    assert operating.grow(session, mine, 60) == grown
    beside = active(session, of, owner=other)
    with pytest.raises(errors.CannotGrow) as no:
        operating.grow(session, mine, 48)
    assert [b.prefix for b in no.value.by] == [str(beside)]
    assert no.value.fits is not None
    assert operating.grow(session, mine, no.value.fits).prefix.prefixlen == no.value.fits
    assert not operating.grow(session, mine, no.value.fits).prefix.overlaps(beside)
    with pytest.raises(errors.CannotGrow) as no:
        operating.grow(session, mine, 48)
    assert no.value.fits is None
    assert ipv6.verify(session) == []


def test_growth_that_is_none_is_refused(session: Session) -> None:
    """Longer, larger than the pool, nothing there, given back: each with its code, nothing changed."""
    of, mine = pool(session, "3fff:0:1::/56"), uuid4()
    active(session, of, 60, owner=mine)
    for length, code in ((62, "prefix.too_long"), (55, "prefix.too_short")):
        with pytest.raises(errors.BadPrefix) as bad:
            operating.grow(session, mine, length)
        assert bad.value.code == code
    with pytest.raises(errors.PrefixGone, match="unknown"):
        operating.grow(session, uuid4(), 60)
    operating.give_back(session, mine, quarantine_until=LATER)
    with pytest.raises(errors.PrefixGone, match="quarantined"):
        operating.grow(session, mine, 58)


def test_sparse_neighbours_can_all_grow_in_place(session: Session) -> None:
    """Each of 256 segments of a /48 can become a /56: 8 bits of growth for everybody."""
    of = pool(session, "3fff:0:1::/48")
    owners = [uuid4() for _ in range(256)]
    ipv6.allocate_many(session, [Wish(of, owner, active=True) for owner in owners])
    assert len({operating.grow(session, owner, 56).prefix for owner in owners}) == 256
    with pytest.raises(errors.PoolFull):
        active(session, of)
    assert ipv6.verify(session) == []


def test_pieces_are_merged_for_a_larger_one(session: Session) -> None:
    """A /60 asked of fragmented /64s: when the last of a block is back, the block is one again."""
    of = pool(session, "3fff:0:1:e0::/59")
    owners = {owner: active(session, of, owner=owner) for owner in (uuid4() for _ in range(32))}
    for owner, prefix in owners.items():
        if prefix.subnet_of(IPv6Network("3fff:0:1:f0::/60")):
            operating.give_back(session, owner, quarantine_until=LATER)
    with pytest.raises(errors.PoolFull) as full:
        active(session, of, 60)
    assert full.value.fits is None
    assert len(ipv6.sweep(session, LATER)) == 16
    taken = active(session, of, 64)
    with pytest.raises(errors.PoolFull) as full:
        active(session, of, 60)
    assert full.value.fits == 61
    assert not active(session, of, 61).overlaps(taken)


def test_a_freed_block_is_split_for_smaller_ones(session: Session) -> None:
    """A freed /60 serves sixteen /64s, and none of it is dropped."""
    of, block = pool(session, "3fff:0:1:f0::/60"), uuid4()
    active(session, of, 60, owner=block)
    operating.give_back(session, block, quarantine_until=NOW)
    ipv6.sweep(session, NOW)
    assert len({active(session, of) for _ in range(16)}) == 16
    with pytest.raises(errors.PoolFull):
        active(session, of)


def test_giving_back_what_is_not_there_or_not_yours_is_told_apart(session: Session) -> None:
    """Double release, release of another's, of nothing: a code each, nothing changed."""
    of, mine, theirs = pool(session, "3fff:0:1::/48"), uuid4(), uuid4()
    my_prefix, their_prefix = active(session, of, owner=mine), active(session, of, owner=theirs)
    with pytest.raises(errors.NotYourPrefix):
        operating.give_back(session, mine, prefix=their_prefix, quarantine_until=LATER)
    back = operating.give_back(session, mine, prefix=my_prefix, quarantine_until=LATER)
    assert (back.state, back.until) == (PrefixState.QUARANTINED, LATER)
    for prefix in (my_prefix, None):
        with pytest.raises(errors.PrefixGone, match="quarantined"):
            operating.give_back(session, mine, prefix=prefix, quarantine_until=LATER)
    with pytest.raises(errors.PrefixGone, match="unknown"):
        operating.give_back(session, uuid4(), quarantine_until=LATER)
    held = uuid4()
    take(session, of, owner=held)
    assert operating.give_back(session, held, quarantine_until=LATER).state is PrefixState.FREED


def test_nothing_is_allocated_in_a_reserved_range_until_it_is_lifted(session: Session) -> None:
    """An operator keeps a range with a reason; what is in use there cannot be reserved."""
    of = pool(session, "3fff:0:1:f0::/60")
    kept = operating.reserve(session, routing_domain="shared", prefix="3fff:0:1:f8::/61", reason="省级视频会议扩容")
    assert (kept.state, kept.label, kept.owner) == (PrefixState.RESERVED, "省级视频会议扩容", kept.id)
    prefixes = {active(session, of) for _ in range(8)}
    assert all(p.subnet_of(IPv6Network("3fff:0:1:f0::/61")) for p in prefixes)
    with pytest.raises(errors.PoolFull):
        active(session, of)
    for taken in ("3fff:0:1:f0::/60", "3fff:0:1:f8::/64"):
        with pytest.raises(errors.PrefixOverlap) as overlap:
            operating.reserve(session, routing_domain="shared", prefix=taken, reason="再留一段")
        assert overlap.value.by
    assert operating.lift(session, kept.id).state is PrefixState.FREED
    with pytest.raises(errors.PrefixGone):
        operating.lift(session, kept.id)
    assert active(session, of, 61) == IPv6Network("3fff:0:1:f8::/61")
    assert ipv6.verify(session) == []


def test_a_reservation_keeps_pools_away_and_may_cover_whole_ones(session: Session) -> None:
    """Reserved above: no pool is made or carved there, and a pool below it hands out nothing, at once."""
    root, leaf = uuid4(), uuid4()
    common = {"zone": Zone.SHARED, "routing_domain": "shared"}
    ipv6.ensure_pool(session, id=root, prefix="3fff:100::/28", hands_out=False, **common)  # type: ignore[arg-type]
    ipv6.ensure_pool(session, id=leaf, prefix="3fff:108::/40", parent_id=root, **common)  # type: ignore[arg-type]
    operating.reserve(session, routing_domain="shared", prefix="3fff:108::/29", reason="预留给新设的市")
    with pytest.raises(errors.PoolFull) as full:
        active(session, leaf)
    assert full.value.fits is None
    with pytest.raises(errors.PrefixOverlap):
        ipv6.ensure_pool(session, id=uuid4(), prefix="3fff:10a::/32", parent_id=root, **common)  # type: ignore[arg-type]
    carved = [uuid4() for _ in range(8)]
    for made in carved:
        ipv6.carve(session, id=made, parent_id=root, level="city", length=32)
    assert all(
        node.prefix.subnet_of(IPv6Network("3fff:100::/29")) for node in ipv6.plan(session, root) if node.id in carved
    )
    with pytest.raises(errors.PoolFull):
        ipv6.carve(session, id=uuid4(), parent_id=root, level="city", length=32)


@pytest.mark.parametrize(
    ("prefix", "code"),
    [
        ("10.0.0.0/8", "prefix.not_ipv6"),
        ("nonsense", "prefix.not_ipv6"),
        ("3fff:0:1::1/64", "prefix.host_bits"),
        ("3fff:0:1::/65", "prefix.too_long"),
        ("::/0", "prefix.too_short"),
        ("3fff:fff::/48", "prefix.outside"),
    ],
)
def test_what_cannot_be_reserved_has_its_own_code(session: Session, prefix: str, code: str) -> None:
    """IPv4, unaligned, too long, too short, outside; and a reason and a known domain are needed."""
    pool(session, "3fff:0:1::/48")
    with pytest.raises(errors.BadPrefix) as bad:
        operating.reserve(session, routing_domain="shared", prefix=prefix, reason="测试")
    assert bad.value.code == code
    with pytest.raises(errors.BadPrefix, match="no_reason"):
        operating.reserve(session, routing_domain="shared", prefix="3fff:0:1::/64", reason=" ")
    with pytest.raises(errors.UnknownDomain):
        operating.reserve(session, routing_domain="moon", prefix="3fff:0:1::/64", reason="测试")


def test_only_unique_local_space_is_reused_and_only_by_private_domains(session: Session) -> None:
    """RFC 4193 space is each private domain's own; all other space is given once, whatever the zone."""
    pool(session, "fd00:1::/48", zone=Zone.PRIVATE, domain="private:edu")
    pool(session, "fd00:1::/48", zone=Zone.PRIVATE, domain="private:health")
    pool(session, "3fff:0:1::/48")
    for prefix, zone, domain in (
        ("3fff:0:1::/48", Zone.PRIVATE, "private:edu"),
        ("3fff::/32", Zone.INTERNET, "internet"),
        ("fd00:1::/56", Zone.PRIVATE, "private:edu"),
    ):
        with pytest.raises(errors.PrefixOverlap):
            pool(session, prefix, zone=zone, domain=domain)
    assert ipv6.verify(session) == []


def test_many_are_answered_one_by_one(session: Session) -> None:
    """One statement; the one that does not fit spoils nothing for the others."""
    of, owner = pool(session, "3fff:0:1:f0::/63"), uuid4()
    wishes = [Wish(of, owner), Wish(of, uuid4(), 60), Wish(uuid4(), uuid4()), Wish(of, owner), Wish(of, uuid4(), 65)]
    first, large, nowhere, same, long = ipv6.allocate_many(session, wishes)
    assert first == same
    codes = [e.code for e in (large, nowhere, long) if isinstance(e, errors.QuotaError)]
    assert codes == ["prefix.too_short", "prefix.unknown_pool", "prefix.too_long"]


def test_who_has_something_passes_by_what_another_is_taking(engine: Engine) -> None:
    """Two open transactions of different lengths, each wanting what the other has: no deadlock, no long wait."""
    with Session(engine) as session:
        left, right = pool(session, "3fff:0:1:f0::/63"), pool(session, "3fff:0:2:f0::/63")
        session.commit()
    with Session(engine) as one, Session(engine) as other:
        take(one, left, 64)
        take(other, right, 64)
        for session, of in ((one, right), (other, left)):
            with pytest.raises(errors.PrefixBusy):
                take(session, of, 63)
        one.commit()
        other.commit()
        with pytest.raises(errors.PoolFull) as full:
            take(one, right, 63)
        assert full.value.fits == 64


def test_a_full_shard_beside_empty_ones_is_passed_by(session: Session) -> None:
    """A sixteenth of the pool is taken from the start: the other 240 places are all found, then it is full."""
    of = pool(session, "3fff:0:1::/56")
    operating.reserve(session, routing_domain="shared", prefix="3fff:0:1::/60", reason="一个分片")
    answers = ipv6.allocate_many(session, [Wish(of, uuid4(), active=True) for _ in range(241)])
    assert [isinstance(a, errors.PoolFull) for a in answers] == [False] * 240 + [True]
    assert ipv6.verify(session) == []


def test_the_last_free_block_of_a_large_pool_is_found(session: Session) -> None:
    """4,096 places, 256 of them free in one block that was given back: found one by one although all cursors miss."""
    of, gone = pool(session, "3fff:0:1::/52"), uuid4()
    ipv6.allocate_many(session, [Wish(of, uuid4(), 56, active=True) for _ in range(15)])
    block = active(session, of, 56, owner=gone)
    operating.give_back(session, gone, quarantine_until=NOW)
    ipv6.sweep(session, NOW)
    answers = ipv6.allocate_many(session, [Wish(of, uuid4(), active=True) for _ in range(257)])
    got = [a.prefix for a in answers if isinstance(a, Allocation)]
    assert len(set(got)) == 256
    assert all(prefix.subnet_of(block) for prefix in got)
    assert isinstance(answers[-1], errors.PoolFull)
    assert answers[-1].fits is None
