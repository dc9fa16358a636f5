"""Two transactions step by step beside each other; a plain model knows who waits for whom, and who for nobody.

A step that has to wait is given up at once (``lock_timeout``) with its whole transaction, as a caller would; the model
says beforehand whether it has to. So a wait that should not be is found as well as a count that should have waited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import count
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from psycopg import errors as pg
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from quotas import availability, errors, moving, service
from quotas.values import Line, ResourceClass
from tests.quotas.world import SOON, plant

X86, FREE = ResourceClass.VCPU_X86_64, ResourceClass.IPV6_64
"""The first is limited at the root and at one unit; the second nowhere, and its stock is without a bound."""
ROOT, LIMITED, OTHER = 0, 1, 2
"""The last stands beside the second, or below it."""
GONE = ("void", "expired")

sides, units, kinds = st.sampled_from((0, 1)), st.sampled_from((LIMITED, OTHER)), st.sampled_from((X86, FREE))


@dataclass(frozen=True)
class Held:
    """A hold of one line: still held, and posted and not released."""

    unit: int
    kind: ResourceClass
    held: int
    used: int = 0
    state: str = "held"


@dataclass
class Side:
    """A session's transaction: what it did that nobody else sees, and what others wait for until it ends."""

    session: Session
    holds: dict[UUID, Held] = field(default_factory=dict)
    limits: dict[tuple[int, ResourceClass], int | None] = field(default_factory=dict)
    below: bool | None = None
    locks: set[object] = field(default_factory=set)
    gate: str = ""
    counted: bool = False
    last: UUID | None = None


class TwoAtOnce(RuleBasedStateMachine):
    """One count a transaction (a sweep is one), posts before it in the order of ids; limits and moves come first."""

    engine: Engine

    @initialize()
    def start(self) -> None:
        self.committed: dict[UUID, Held] = {}
        self.waited, self.below = 0, False
        self.ids = count(uuid4().int >> 16 << 16)  # in the order in which holds are made, so that a run can be repeated
        self.limits: dict[tuple[int, ResourceClass], int] = {(ROOT, X86): 20, (LIMITED, X86): 12}
        with Session(self.engine) as session:
            self.tree = plant(session, units=2)
            self.nodes = (self.tree.root, *self.tree.units)
            service.set_inventory(session, self.tree.pool, X86, total=None)
            for (at, kind), amount in self.limits.items():
                service.set_limit(session, self.nodes[at], kind, None, amount)
            session.commit()
        self.sides = tuple(self.begin(Session(self.engine)) for _ in range(2))

    def teardown(self) -> None:
        for side in getattr(self, "sides", ()):
            side.session.close()

    @staticmethod
    def begin(session: Session) -> Side:
        session.execute(text("SET LOCAL lock_timeout = '3ms'"))
        return Side(session)

    def end(self, number: int, *, commit: bool) -> None:
        side = self.sides[number]
        if commit:
            side.session.commit()
            self.committed |= side.holds
            self.below = self.below if side.below is None else side.below
            for key, amount in side.limits.items():
                self.limits.pop(key, None)
                self.limits |= {} if amount is None else {key: amount}
        else:
            side.session.rollback()
        fresh = self.begin(side.session)
        self.sides = (fresh, self.sides[1]) if number == 0 else (self.sides[0], fresh)

    def seen(self, number: int) -> dict[UUID, Held]:
        return self.committed | self.sides[number].holds

    def limit(self, number: int, at: int, kind: ResourceClass) -> int | None:
        own = self.sides[number].limits
        return own[at, kind] if (at, kind) in own else self.limits.get((at, kind))

    def way(self, unit: int, number: int | None = None) -> set[int]:
        """From a unit to the root, as committed or as one side sees it: who moves nodes is behind his gate."""
        moved = None if number is None else self.sides[number].below
        return {ROOT, unit} | ({LIMITED} if unit == OTHER and (self.below if moved is None else moved) else set())

    def used(self, number: int, at: int, kind: ResourceClass) -> int:
        return sum(
            h.held + h.used for h in self.seen(number).values() if h.kind is kind and at in self.way(h.unit, number)
        )

    def over(self, number: int, places: set[int], kind: ResourceClass, amount: int) -> bool:
        """Whether so much more passes a limit at one of the places."""
        limits = {at: self.limit(number, at, kind) for at in places}
        return amount > 0 and any(
            most is not None and self.used(number, at, kind) + amount > most for at, most in limits.items()
        )

    def counters(self, number: int, unit: int, kind: ResourceClass) -> set[object]:
        """The limits a count at a unit meets. One that the other side is making or lifting is behind his gate."""
        return {("limit", at, kind) for at in self.way(unit, number) if self.limit(number, at, kind) is not None}

    def waits(self, number: int, locks: set[object], *, gate: str) -> bool:
        other = self.sides[1 - number]
        at_gate = "alone" in (gate, other.gate) and bool(gate) and bool(other.gate)
        return at_gate or bool(locks & other.locks)

    def do(self, number: int, step: Callable[[], object], locks: set[object], *, gate: str = "shared") -> bool:
        """Whether the step was done; if it had to wait, the transaction is over. What it refuses is raised."""
        side = self.sides[number]
        if self.waits(number, locks, gate=gate):
            with pytest.raises(OperationalError) as waited:
                step()
            assert isinstance(waited.value.orig, pg.LockNotAvailable)
            self.end(number, commit=False)
            self.waited += 1
            if self.waited % 2:  # what he waited for ends before he comes again, or after
                self.end(1 - number, commit=True)
            return False
        side.locks |= locks
        side.gate = "alone" if "alone" in (gate, side.gate) else gate or side.gate
        step()
        return True

    @rule(number=sides, unit=units, kind=kinds, amount=st.integers(1, 9))
    def hold(self, number: int, unit: int, kind: ResourceClass, amount: int) -> None:
        side = self.sides[number]
        if side.counted:
            return
        made = UUID(int=next(self.ids))
        ask = partial(
            service.hold, side.session, owner=made, node=self.nodes[unit], lines=[Line(kind, amount, self.tree.pool)],
            expires_at=SOON, hold_id=made,
        )  # fmt: skip
        over = self.over(number, self.way(unit, number), kind, amount)
        locks = self.counters(number, unit, kind)
        try:
            if not self.do(number, ask, locks):
                return
            assert not over
            side.holds[made] = Held(unit, kind, amount)
            side.locks.add(made)
        except errors.QuotaExceeded:
            assert over
        side.counted = True

    @precondition(lambda self: len(self.committed) % 3 == 1)
    @rule(number=sides, data=st.data())
    def hold_again(self, number: int, data: st.DataObject) -> None:
        """The id of a hold that is there, or that the other side is making at this moment."""
        side, everything = self.sides[number], self.committed | self.sides[0].holds | self.sides[1].holds
        if side.counted or not everything:
            return
        made = data.draw(st.sampled_from(sorted(everything)), "hold")
        was = everything[made]
        amount = availability.holds(self.sides[int(made in self.sides[1].holds)].session, hold_ids=[made])[0].lines[0]
        ask = partial(
            service.hold, side.session, owner=made, node=self.nodes[was.unit],
            lines=[Line(was.kind, amount.amount, self.tree.pool)], expires_at=SOON, hold_id=made,
        )  # fmt: skip
        theirs = made not in self.committed and made in self.sides[1 - number].holds
        gone, kept = False, set(side.locks)
        try:
            # The row that is being made, or changed: whether it will be there is not known yet.
            if not self.do(number, ask, {made} if theirs else {("changed", made)}):
                return
        except errors.HoldGone:
            gone = True
        side.locks = kept  # he has looked, and nobody waits for that
        now = self.seen(number)[made]
        assert gone == (now.state in GONE or (now.state == "done" and not now.used))
        side.counted = True

    @precondition(lambda self: bool(self.committed))
    @rule(number=sides, data=st.data(), verb=st.sampled_from(("post", "void", "release")))
    def settle(self, number: int, data: st.DataObject, verb: str) -> None:
        side, seen = self.sides[number], self.seen(number)
        if side.counted or not seen:
            return
        which = data.draw(st.sampled_from(sorted(seen)), "hold")
        if side.last is not None and which < side.last:
            return
        side.last, was = which, seen[which]
        back = {"post": 0, "void": was.held, "release": was.used}[verb]
        locks: set[object] = {which} | (self.counters(number, was.unit, was.kind) if back else set())
        now = {
            "post": replace(was, held=0, used=was.used + was.held, state="done" if was.held else was.state),
            "void": replace(was, held=0, state="void" if was.state == "held" else was.state),
            "release": replace(was, used=0),
        }[verb]
        steps: dict[str, Callable[[], object]] = {
            "post": partial(service.post, side.session, which, key=uuid4()),
            "void": partial(service.void, side.session, which),
            "release": partial(service.release, side.session, key=uuid4(), hold_id=which),
        }
        try:
            if not self.do(number, steps[verb], locks):
                return
            assert verb != "post" or was.state not in GONE
            side.holds[which] = now
            side.locks |= {("changed", which)} if now.state != was.state else set()
        except errors.HoldGone:
            assert verb == "post"
            assert was.state in GONE
        side.counted = verb != "post"

    @precondition(lambda self: bool(self.committed) and any(side.counted for side in self.sides))
    @rule(number=sides)
    def sweep(self, number: int) -> None:
        """All that is held is due. Passes by what the other side has in hand, and waits for his counters."""
        side, seen = self.sides[number], self.seen(number)
        if side.counted:
            return
        theirs = self.sides[1 - number].locks
        due = {id: held for id, held in seen.items() if held.state == "held" and id not in theirs}  # noqa: A001
        locks = {lock for held in due.values() for lock in self.counters(number, held.unit, held.kind)}
        swept: list[UUID] = []

        def step() -> None:
            found = service.sweep(side.session, SOON + timedelta(hours=1), only=sorted(seen))
            swept.extend(each.hold for each in found)

        if not self.do(number, step, locks):
            return
        assert set(swept) == due.keys()
        side.holds |= {id: replace(held, held=0, state="expired") for id, held in due.items()}  # noqa: A001
        side.locks |= due.keys() | {("changed", id) for id in due}  # noqa: A001
        side.counted = True

    @precondition(lambda self: bool(self.committed) and not any(side.counted for side in self.sides))
    @rule(number=sides, data=st.data(), unit=units)
    def move_hold(self, number: int, data: st.DataObject, unit: int) -> None:
        side, seen = self.sides[number], self.seen(number)
        if side.gate or side.locks:
            return
        which = data.draw(st.sampled_from(sorted(seen)), "hold")
        was, amount = seen[which], seen[which].held + seen[which].used
        there, ways = unit == was.unit, (self.way(was.unit, number), self.way(unit, number))
        over = self.over(number, ways[1] - ways[0], was.kind, amount)
        locks: set[object] = set() if there else {which}
        if amount and not there:
            locks |= self.counters(number, was.unit, was.kind) | self.counters(number, unit, was.kind)
        try:
            if not self.do(number, lambda: moving.holds(side.session, [which], self.nodes[unit]), locks, gate="alone"):
                return
            assert not over
            side.holds[which] = replace(was, unit=unit)
            side.locks |= set() if there else {("changed", which)}
        except errors.QuotaExceeded:
            assert over
        side.counted = True

    @precondition(lambda self: len(self.committed) % 3 == 1)
    @rule(number=sides, how=st.sampled_from(("within", "over")))
    def move_node(self, number: int, how: moving.How) -> None:
        """One unit goes below the other, or back: behind the gate, and all limits on both ways are written."""
        side, below = self.sides[number], LIMITED not in self.way(OTHER, number)
        if side.gate or side.locks:
            return
        came = {kind: self.used(number, OTHER, kind) if below else 0 for kind in (X86, FREE)}
        over = any(self.over(number, {LIMITED}, kind, amount) for kind, amount in came.items())
        locks: set[object] = {
            ("limit", at, kind)
            for at in (ROOT, LIMITED) for kind in came
            if self.limit(number, at, kind) is not None
        }  # fmt: skip
        parent = self.nodes[LIMITED] if below else self.tree.county
        try:
            if not self.do(
                number, lambda: moving.node(side.session, self.nodes[OTHER], parent, how=how), locks, gate="alone"
            ):
                return
            assert not over or how == "over"
            side.below = below
        except errors.QuotaExceeded:
            assert over
            assert how == "within"
            side.locks -= locks  # given back with what was tried

    @precondition(lambda self: len(self.committed) % 3 == 2)  # now and then
    @rule(number=sides, at=st.sampled_from((ROOT, LIMITED)), kind=kinds, amount=st.none() | st.integers(0, 30))
    def set_limit(self, number: int, at: int, kind: ResourceClass, amount: int | None) -> None:
        side, was = self.sides[number], self.limit(number, at, kind)
        if side.gate or side.locks:
            return
        raised = was is not None and amount is not None and amount >= was  # a counter stays: nobody has to stand still
        step = partial(service.set_limit, side.session, self.nodes[at], kind, None, amount)
        locks: set[object] = {("limit", at, kind)} if raised else set()
        if not self.do(number, step, locks, gate="" if raised else "alone"):
            return
        side.locks.add(("limit", at, kind))
        side.limits[at, kind] = amount
        side.counted = True

    @precondition(lambda self: any(side.gate or side.locks for side in self.sides))
    @rule(number=sides, commit=st.sampled_from((True, True, True, False)))
    def finish(self, number: int, commit: bool) -> None:  # noqa: FBT001
        self.end(number, commit=commit)
        with Session(self.engine) as third:
            assert service.verify(third) == []
            for (at, kind), amount in self.limits.items():
                (kept,) = [
                    m
                    for m in availability.snapshot(third, self.nodes[at]).limits
                    if (m.node, m.resource_class) == (self.nodes[at], kind)
                ]
                used = sum(
                    h.held + h.used for h in self.committed.values() if h.kind is kind and at in self.way(h.unit)
                )
                assert (kept.limit, kept.used) == (amount, used)


def test_two_transactions_wait_for_each_other_only_where_they_must(engine: Engine) -> None:
    """Whatever two do in turns, all numbers are exact at every commit; where nothing is finite nobody waits."""
    machine = type("OnThisDatabase", (TwoAtOnce,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
