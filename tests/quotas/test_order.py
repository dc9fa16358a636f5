"""The one order of locks: what would deadlock is refused before it locks, and what is allowed ends under load."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from quotas import errors, service
from quotas.ipv6 import service as ipv6
from quotas.values import Line, ResourceClass
from tests.quotas.world import PATIENCE_S, SOON, Tree, hammer, somebody_waits

X86 = ResourceClass.VCPU_X86_64
ARM = ResourceClass.VCPU_AARCH64
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def ask(session: Session, tree: Tree, unit: int, kind: ResourceClass = X86, **more: UUID) -> UUID:
    line = Line(kind, 1, tree.pool)
    return service.hold(session, owner=tree.pool, node=tree.units[unit], lines=[line], expires_at=SOON, **more)


def made(engine: Engine, tree: Tree, *units: int) -> list[UUID]:
    """A hold of each unit's, committed, in the order of ids."""
    held = []
    for unit in units:
        with Session(engine) as session:
            held.append(ask(session, tree, unit))
            session.commit()
    return sorted(held)


Step = Callable[[Session, Tree, UUID, UUID], None]


def hold(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    ask(session, tree, 0)


def pin(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    service.pin(session, early, now=LONG_AGO)


def pin_late(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    service.pin(session, late, now=LONG_AGO)


def post(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    service.post(session, early, now=LONG_AGO)


def void(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    service.void(session, early)


def alone(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    service.alone(session)


def limit(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    service.set_limit(session, tree.county, X86, None, 50)


def sweep_prefixes(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    ipv6.sweep(session, LONG_AGO)


def node(session: Session, tree: Tree, early: UUID, late: UUID) -> None:
    service.add_node(session, id=uuid4(), parent_id=tree.city)


@pytest.mark.parametrize(
    "steps",
    [
        (hold, pin), (hold, post), (hold, hold), (hold, void), (hold, alone), (hold, limit), (limit, limit),
        (pin_late, pin), (pin_late, void), (pin, alone), (pin, limit),
        (sweep_prefixes, hold), (sweep_prefixes, pin), (sweep_prefixes, alone), (sweep_prefixes, limit),
        (hold, node), (pin, node), (alone, node), (sweep_prefixes, node),
    ],
    ids=lambda steps: "-".join(step.__name__ for step in steps),
)  # fmt: skip
def test_what_could_deadlock_is_refused_before_it_locks(session: Session, tree: Tree, steps: tuple[Step, Step]) -> None:
    """Each pair that goes up the list again; the transaction stays usable, and the second has done nothing."""
    early, late = sorted(ask(session, tree, unit) for unit in (1, 2))
    session.commit()
    steps[0](session, tree, early, late)
    with pytest.raises(errors.OutOfOrder) as refused:
        steps[1](session, tree, early, late)
    assert refused.value.code == "quota.out_of_order"
    assert session.scalar(text("SELECT count(*) FROM quotas.hold WHERE state = 'void'")) == 0


@pytest.mark.parametrize(
    "steps",
    [
        (pin, post, pin_late, hold, sweep_prefixes), (post, void), (node, pin, hold),
        (node, alone, limit, hold, hold, pin_late, pin, void, limit, sweep_prefixes, hold),
    ],
    ids=lambda steps: "-".join(step.__name__ for step in steps),
)  # fmt: skip
def test_the_way_down_is_open(session: Session, tree: Tree, steps: tuple[Step, ...]) -> None:
    """Pins and posts in the order of ids, one count, prefixes; whoever is alone as he likes."""
    early, late = sorted(ask(session, tree, unit) for unit in (1, 2))
    session.commit()
    for step in steps:
        step(session, tree, early, late)
    assert service.verify(session) == []


def test_a_hold_and_a_pin_after_it_cannot_wait_in_a_ring_with_a_void(engine: Engine, committed: Tree) -> None:
    """A void has the hold and waits for the limit that we hold; our pin would wait for the hold. It is refused."""
    with Session(engine) as session:
        service.set_limit(session, committed.root, X86, None, 100)
        session.commit()
    (held,) = made(engine, committed, 1)
    with Session(engine) as ours, Session(engine) as theirs, ThreadPoolExecutor(1) as other:
        ask(ours, committed, 0)
        voiding = other.submit(service.void, theirs, held)
        somebody_waits(engine)
        with pytest.raises(errors.OutOfOrder):
            service.pin(ours, held)
        ours.commit()
        voiding.result(timeout=PATIENCE_S)
        theirs.commit()
    with Session(engine) as session:
        assert service.verify(session) == []


@pytest.mark.parametrize("odd", ["a used id", "an unknown node", "a class that is none"])
def test_a_group_that_is_counted_one_by_one_locks_as_one(
    engine: Engine, owner_engine: Engine, committed: Tree, odd: str
) -> None:
    """Its second wish's leaf is not locked after its first one's root: a hold on that leaf waits, or goes first."""
    with Session(engine) as session:
        service.alone(session)
        for at in (committed.root, *committed.units[:2]):
            service.set_limit(session, at, X86, None, 100)
        session.commit()
    (used,) = made(engine, committed, 2)
    wish = text(
        "INSERT INTO quotas.wish (backend, hold_id, owner, node_id, classes, pools, amounts, expires_at)"
        " VALUES (:backend, :hold, :owner, :node, ARRAY[:kind], ARRAY[CAST(:pool AS uuid)], ARRAY[1::bigint], :until)"
    )
    asked = [
        {"hold": uuid4(), "node": committed.units[0], "kind": X86.value},
        {"hold": uuid4(), "node": committed.units[1], "kind": X86.value},
        {
            "hold": used if odd == "a used id" else uuid4(),
            "node": uuid4() if odd == "an unknown node" else committed.units[2],
            "kind": "none" if odd == "a class that is none" else X86.value,
        },
    ]

    def together() -> list[str]:
        with Session(owner_engine) as session:
            for number, each in enumerate(asked):
                more = {"backend": -number, "owner": committed.pool, "pool": committed.pool, "until": SOON}
                session.execute(wish, each | more)
            session.execute(text("SELECT quotas.serve_wishes()"))
            answers = "SELECT answer ->> 'outcome' FROM quotas.wish ORDER BY backend DESC"
            found = [row[0] for row in session.execute(text(answers))]
            session.execute(text("DELETE FROM quotas.wish"))
            session.commit()
        return found

    def alone_at(unit: int) -> None:
        with Session(engine) as session:
            ask(session, committed, unit)
            session.commit()

    with ThreadPoolExecutor(2) as others, Session(engine) as first:
        ask(first, committed, 3)  # has the root
        group = others.submit(together)
        somebody_waits(owner_engine)  # each role sees its own wait
        single = others.submit(alone_at, 1)
        somebody_waits(engine)
        first.commit()
        answers = group.result(timeout=PATIENCE_S)
        single.result(timeout=PATIENCE_S)
    assert answers[:2] == ["ok", "ok"]
    with Session(engine) as session:
        assert service.verify(session) == []


def test_pins_posts_and_counts_in_order_never_deadlock(engine: Engine, committed: Tree) -> None:
    """Pins of several holds and then a count, beside voids, sweeps, whole requests and limits that come and go."""
    with Session(engine) as session:
        service.alone(session)
        for at in (committed.root, committed.county, *committed.units[:4]):
            service.set_limit(session, at, X86, None, 10_000)
        session.commit()
    held = made(engine, committed, *(n % 4 for n in range(24)))
    seeds = random.Random(11)
    dice = [random.Random(seeds.random()) for _ in range(6)]

    def turn(session: Session, writer: int, number: int) -> None:
        die = dice[writer]
        some = sorted(die.sample(held, 4))
        match die.randrange(6):
            case 0 | 1:
                for each in some[:3]:
                    (service.pin if die.random() < 0.5 else service.post)(session, each, now=LONG_AGO)
                service.void(session, some[3])
            case 2:
                service.void(session, some[0])
            case 3:
                service.alone(session)
                for each in reversed(some):
                    service.void(session, each)
                    service.pin(session, some[1], now=LONG_AGO)
            case 4:
                service.sweep(session, datetime.now(UTC) + timedelta(days=2), limit=3)
            case _:
                service.pin(session, some[0], now=LONG_AGO)
                ask(session, committed, number % 4)

    hammer(engine, turn, writers=6, rounds=25, refused=(errors.HoldGone, errors.QuotaExceeded))
    with Session(engine) as session:
        assert service.verify(session) == []


@pytest.mark.parametrize("other_class", [False, True], ids=["the same class", "another class"])
@pytest.mark.parametrize("kind", ["post", "release"])
def test_one_key_on_two_holds_at_once_serves_one_of_them(
    engine: Engine, committed: Tree, kind: str, *, other_class: bool
) -> None:
    """The second waits for the first and has a code; nothing of it is there, and the first repeats without harm."""
    held = []
    for number in range(2):
        with Session(engine) as session:
            held.append(ask(session, committed, number, ARM if other_class and number else X86))
            session.commit()
            if kind == "release":
                service.post(session, held[-1])
                session.commit()
    key = uuid4()

    def move(session: Session, which: UUID) -> None:
        if kind == "post":
            service.post(session, which, key=key)
        else:
            service.release(session, hold_id=which, key=key)

    with Session(engine) as first, Session(engine) as second, ThreadPoolExecutor(1) as other:
        move(first, held[0])
        late = other.submit(move, second, held[1])
        somebody_waits(engine)
        first.commit()
        with pytest.raises(errors.KeyReused):
            late.result(timeout=PATIENCE_S)
        second.commit()
        move(first, held[0])
        first.commit()
        found = text("SELECT DISTINCT hold_id FROM quotas.movement WHERE key = :key AND kind = :kind")
        assert first.scalars(found, {"key": key, "kind": kind}).all() == [held[0]]
        assert service.verify(first) == []


def test_nobody_is_alone_inside_a_savepoint(engine: Engine, committed: Tree) -> None:
    """Its lock would go with the savepoint, and the guard would let pass what deadlocks."""
    with Session(engine) as session:
        with pytest.raises(errors.OutOfOrder), session.begin_nested():
            service.alone(session)
        service.alone(session)
        ask(session, committed, 0)
        ask(session, committed, 1)
        session.rollback()
