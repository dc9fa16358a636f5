"""Any sequence of verbs, on the real database and on a plain Python model: the same numbers after every step."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from quotas import availability, effects, errors, moving, rules, service
from quotas.values import Line, ResourceClass
from tests.quotas.model import KINDS, LIMITED, Asked, Held, Model, Share
from tests.quotas.world import Tree, plant

START = datetime(2026, 1, 1, tzinfo=UTC)
PARENTS = (None, 0, 1, 2, 2)
"""The tree as it is planted: root, city, county and two units."""

amounts = st.dictionaries(st.sampled_from(KINDS), st.integers(1, 9), min_size=1)
keys = st.integers(0, 5)


class Ledger(Model, RuleBasedStateMachine):
    """Root, city, county and two units (numbers 0 to 4); one pool; limits anywhere; the clock moves by hours."""

    engine: Engine
    ids = Bundle("ids")

    @initialize()
    def start(self) -> None:
        self.connection = self.engine.connect()
        self.session = Session(self.connection)
        self.tree: Tree = plant(self.session, units=2)
        self.nodes = (self.tree.root, self.tree.city, self.tree.county, *self.tree.units)
        self.parents = list(PARENTS)
        self.keys = [uuid4() for _ in range(6)]
        self.moved: dict[tuple[str, int], tuple[UUID, Asked]] = {}
        self.now = START
        self.held: dict[UUID, Held] = {}
        self.limits: dict[tuple[int, ResourceClass, bool], Share] = {}
        self.capacity = dict.fromkeys(KINDS, 40)
        for kind in KINDS:
            service.set_inventory(self.session, self.tree.pool, kind, total=40)

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.rollback()
            self.session.close()
            self.connection.close()

    def lines(self, asked: dict[ResourceClass, int]) -> list[Line]:
        return [Line(kind, amount, self.tree.pool) for kind, amount in asked.items()]

    @rule(
        node=st.integers(0, 4),
        limited=st.sampled_from(LIMITED),
        of_pool=st.booleans(),
        share=st.builds(
            Share, st.integers(0, 60), st.just(0) | st.integers(0, 20) | st.none(), st.none() | st.integers(0, 40)
        )
        | st.none(),
    )
    def set_limit(self, node: int, limited: ResourceClass, of_pool: bool, share: Share | None) -> None:  # noqa: FBT001
        at, pool = self.nodes[node], self.tree.pool if of_pool else None
        error: type[Exception] | None = None
        if share is not None and node == 0 and share.borrowing != 0:
            error = errors.NoLender
        elif share is not None and not self.covered(node, (limited, of_pool), share):
            error = errors.NotCovered
        wanted: dict[str, int | None] = {"limit": None}
        if share is not None:
            wanted = {"limit": share.limit, "borrowing": share.borrowing, "lending": share.lending}
        was = effects.standings(self.session, at, limited, pool)
        told: list[object] = []
        for set_or_look in (effects.would_be, service.set_limit):
            with pytest.raises(error) if error else nullcontext() as raised:
                found = set_or_look(self.session, at, limited, pool, **wanted)
            told.append(found if raised is None else raised.value.args)
            if error is None and set_or_look is service.set_limit:
                told[-1] = was, effects.standings(self.session, at, limited, pool)
        assert told[0] == told[1]  # what a look says is what setting does
        if error is None and share is None:
            self.limits.pop((node, limited, of_pool), None)
        elif error is None and share is not None:
            self.limits[node, limited, of_pool] = share

    @rule(kind=st.sampled_from(KINDS), total=st.integers(0, 60))
    def set_inventory(self, kind: ResourceClass, total: int) -> None:
        service.set_inventory(self.session, self.tree.pool, kind, total=total)
        self.capacity[kind] = total

    @rule(target=ids, node=st.integers(0, 4), asked=amounts, hours=st.integers(1, 5))
    def hold(self, node: int, asked: dict[ResourceClass, int], hours: int) -> UUID:
        lines, due = self.lines(asked), self.now + timedelta(hours=hours)
        explained = rules.explain(availability.snapshot(self.session, self.nodes[node], [self.tree.pool]), lines)
        assert (not explained) == self.passes(node, asked)
        owner = uuid4()
        if explained:
            with pytest.raises(errors.QuotaExceeded) as refused:
                service.hold(self.session, owner=owner, node=self.nodes[node], lines=lines, expires_at=due)
            assert refused.value.refusals == explained
            return multiple()  # type: ignore[return-value] # hypothesis: nothing for the bundle
        made = service.hold(
            self.session, owner=owner, node=self.nodes[node], lines=lines, expires_at=due, hold_id=owner
        )
        self.held[made] = Held(node, due, asked)
        return made

    @rule(target=ids, old=ids, asked=amounts)
    def replace(self, old: UUID, asked: dict[ResourceClass, int]) -> UUID:
        was = self.held[old]
        delta = {kind: asked.get(kind, 0) - was.still_held(kind) for kind in KINDS}
        new = uuid4()
        owner = availability.holds(self.session, hold_ids=[old])[0].owner
        due = self.now + timedelta(hours=3)
        try:
            service.hold(
                self.session, owner=owner, node=self.nodes[was.node], lines=self.lines(asked), expires_at=due,
                replaces=old, hold_id=new,
            )  # fmt: skip
        except errors.HoldGone:
            assert was.state not in {"held", "pinned"}
            return multiple()  # type: ignore[return-value] # hypothesis: nothing for the bundle
        except errors.QuotaExceeded:
            assert not self.passes(was.node, delta)
            return multiple()  # type: ignore[return-value] # hypothesis: nothing for the bundle
        assert self.passes(was.node, delta)
        self.held[new] = Held(was.node, due, asked, was.state)
        was.close("done" if was.posted else "void")
        return new

    @rule(which=ids)
    def pin(self, which: UUID) -> None:
        held = self.held[which]
        if held.state in {"void", "expired"} or (held.state == "held" and held.due <= self.now):
            with pytest.raises(errors.HoldGone):
                service.pin(self.session, which, now=self.now)
            return
        service.pin(self.session, which, now=self.now)
        held.state = "pinned" if held.state == "held" else held.state

    def again(self, kind: str, key: int, which: UUID, part: Asked | None) -> bool:
        """Whether the key was used before: the same call changes nothing, any other is refused."""
        if (kind, key) not in self.moved:
            return False
        of, moved = self.moved[kind, key]
        same = of == which and part in (None, moved)
        lines = None if part is None else self.lines(part)
        with nullcontext() if same else pytest.raises(errors.KeyReused):
            if kind == "post":
                service.post(self.session, which, lines, key=self.keys[key], now=self.now)
            else:
                service.release(self.session, key=self.keys[key], hold_id=which, lines=lines)
        return True

    def use(self, kind: str, key: int, which: UUID, moved: Asked) -> None:
        if real := {each: amount for each, amount in moved.items() if amount}:
            self.moved[kind, key] = which, real

    @rule(which=ids, part=amounts | st.none(), number=keys, twice=st.booleans())
    def post(self, which: UUID, part: Asked | None, number: int, twice: bool) -> None:  # noqa: FBT001
        if self.again("post", number, which, part):
            return
        held, key = self.held[which], self.keys[number]
        lines = None if part is None else self.lines(part)
        if held.state in {"void", "expired"} or (held.state == "held" and held.due <= self.now):
            with pytest.raises(errors.HoldGone):
                service.post(self.session, which, lines, key=key, now=self.now)
            return
        if part and any(amount > held.still_held(kind) for kind, amount in part.items()):
            with pytest.raises(errors.NotThatMuch):
                service.post(self.session, which, lines, key=key, now=self.now)
            return
        for _ in range(1 + twice):
            service.post(self.session, which, lines, key=key, now=self.now)
        moved = {kind: held.still_held(kind) for kind in KINDS} if part is None else part
        self.use("post", number, which, moved)
        for kind, amount in moved.items():
            held.posted[kind] = held.posted.get(kind, 0) + amount
        if held.state != "done" and not any(held.still_held(kind) for kind in KINDS):
            held.close("done")

    @rule(which=ids)
    def void(self, which: UUID) -> None:
        service.void(self.session, which)
        held = self.held[which]
        if held.state in {"held", "pinned"}:
            held.close("done" if any(held.posted.values()) else "void")

    @rule(which=ids, part=amounts | st.none(), number=keys, twice=st.booleans())
    def release(self, which: UUID, part: Asked | None, number: int, twice: bool) -> None:  # noqa: FBT001
        if self.again("release", number, which, part):
            return
        held, key = self.held[which], self.keys[number]
        lines = None if part is None else self.lines(part)
        there = {kind: held.posted.get(kind, 0) - held.released.get(kind, 0) for kind in KINDS}
        if part and any(amount > there[kind] for kind, amount in part.items()):
            with pytest.raises(errors.NotThatMuch):
                service.release(self.session, key=key, hold_id=which, lines=lines)
            return
        for _ in range(1 + twice):
            service.release(self.session, key=key, hold_id=which, lines=lines)
        self.use("release", number, which, part or there)
        for kind, amount in (part or there).items():
            held.released[kind] = held.released.get(kind, 0) + amount

    @rule(which=ids, node=st.integers(0, 4))
    def move(self, which: UUID, node: int) -> None:
        held = self.held[which]
        before = {key: self.load(key[0], key[1:], {}, 0) for key in self.limits}
        was, held.node = held.node, node
        fits = all(
            self.load(key[0], key[1:], {}, 0) <= max(before[key], share.ceiling) for key, share in self.limits.items()
        )
        with nullcontext() if fits else pytest.raises(errors.QuotaExceeded):
            assert moving.holds(self.session, [which], self.nodes[node]) == (was != node)
        held.node = node if fits else was

    @rule(node=st.integers(0, 4), parent=st.integers(0, 4), how=st.sampled_from(("within", "over", "look")))
    def move_node(self, node: int, parent: int, how: Literal["within", "over", "look"]) -> None:
        ask = partial(moving.look, self.session, self.nodes[node], self.nodes[parent])
        if how != "look":
            ask = partial(moving.node, self.session, self.nodes[node], self.nodes[parent], how=how)
        if node in self.way(parent):
            with pytest.raises(errors.NodeInside):
                ask()
            return
        was, loads = self.parents[node], {key: self.load(key[0], key[1:], {}, 0) for key in self.limits}
        self.parents[node] = parent
        came = {key: self.load(key[0], key[1:], {}, 0) - loads[key] for key in self.limits}
        over = {key for key, share in self.limits.items() if came[key] > 0 and loads[key] + came[key] > share.ceiling}
        if any(self.guaranteed(n, key[1:]) for key in over for n in self.below(key[0])):
            with pytest.raises(errors.NotCovered):
                ask()
            self.parents[node] = was
            return
        if over and how == "within":
            with pytest.raises(errors.QuotaExceeded) as refused:
                ask()
            told = refused.value.refusals
        else:
            found = ask()
            assert found.nodes == (0 if was == parent else len(self.below(node)) + 1)
            told = found.over
        assert {(r.node, r.resource_class, r.pool is not None): (r.used, r.asked) for r in told} == {
            (self.nodes[at], kind, of_pool): (loads[at, kind, of_pool], came[at, kind, of_pool])
            for at, kind, of_pool in over
        }
        if how == "look" or (over and how == "within"):
            self.parents[node] = was

    @rule(hours=st.integers(1, 3))
    def sweep(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        swept = {
            s.hold: {line.resource_class: line.amount for line in s.lines}
            for s in service.sweep(self.session, self.now)
        }
        due = {id: held for id, held in self.held.items() if held.state == "held" and held.due <= self.now}  # noqa: A001
        assert swept == {
            id: {kind: held.still_held(kind) for kind in KINDS if held.still_held(kind)}
            for id, held in due.items()  # noqa: A001
        }
        for held in due.values():
            held.close("expired")

    @invariant()
    def the_numbers_agree(self) -> None:
        if not hasattr(self, "held"):
            return
        assert service.verify(self.session) == []
        states = {hold.id: hold.state.value for hold in availability.holds(self.session, hold_ids=self.held)}
        assert states == {id: held.state for id, held in self.held.items()}  # noqa: A001
        for unit in (3, 4):
            of_all = availability.left(self.session, self.nodes[unit])
            assert {m.resource_class: m.used for m in of_all if m.resource_class in LIMITED} == {
                limited: self.used(unit, limited) for limited in LIMITED
            }
        found = availability.snapshot(self.session, self.nodes[3]).limits
        assert {
            (m.node, m.resource_class, m.pool is not None): (m.limit, m.borrowing, m.lending, m.used, m.load)
            for m in found
        } == {
            (self.nodes[at], limited, of_pool): (
                *(share.limit, share.borrowing, share.lending),
                *(self.used(at, limited), self.load(at, (limited, of_pool), {}, 0)),
            )
            for (at, limited, of_pool), share in self.limits.items()
            if at in self.way(3)
        }
        self.what_is_left_passes_and_one_more_does_not()

    def what_is_left_passes_and_one_more_does_not(self) -> None:
        """Kueue's formula over the snapshot is what the oracle lets pass, to the unit."""
        seen = availability.snapshot(self.session, self.nodes[3], [self.tree.pool])
        for kind in KINDS:
            left = rules.available(seen, kind, self.tree.pool)
            assert left is not None  # the stock is finite
            assert left == 0 or self.passes(3, {kind: left})
            assert not self.passes(3, {kind: left + 1})


def test_any_sequence_of_verbs_balances(shared_engine: Engine) -> None:
    """Holds, pins, posts in part, voids, releases and expiries balance; the SQL refuses what the rules explain."""
    machine = type("OnThisDatabase", (Ledger,), {"engine": shared_engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
