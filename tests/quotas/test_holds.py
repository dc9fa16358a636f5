"""Holds on the real database, one at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from quotas import availability, errors, models, rules, service
from quotas.values import Cause, HoldState, Line, Refusal, ResourceClass
from tests.quotas.world import SOON, Tree

X86 = ResourceClass.VCPU_X86_64
ARM = ResourceClass.VCPU_AARCH64
MEMORY = ResourceClass.MEMORY_GIB_X86_64


def ask(session: Session, tree: Tree, *amounts: tuple[ResourceClass, int], replaces: UUID | None = None) -> UUID:
    """A hold of the first unit, owned by that unit."""
    lines = [Line(kind, amount, tree.pool) for kind, amount in amounts]
    return service.hold(
        session, owner=tree.units[0], node=tree.units[0], lines=lines, expires_at=SOON, replaces=replaces
    )


def used(session: Session, node: UUID, kind: ResourceClass) -> int:
    return next(m.used for m in availability.left(session, node) if m.resource_class is kind)


def test_a_unit_s_vcpu_quota_counts_both_architectures_and_capacity_each_its_own(session: Session, tree: Tree) -> None:
    """Architecture belongs to capacity; a unit's quota counts vCPUs of any kind."""
    service.set_limit(session, tree.units[0], ResourceClass.VCPU, None, 10)
    service.set_inventory(session, tree.pool, ARM, total=4)
    ask(session, tree, (X86, 6), (ARM, 3))
    with pytest.raises(errors.QuotaExceeded) as refused:
        ask(session, tree, (ARM, 2))
    assert refused.value.refusals == (
        Refusal(Cause.LIMIT, tree.units[0], ResourceClass.VCPU, None, 10, 9, 2),
        Refusal(Cause.CAPACITY, None, ARM, tree.pool, 4, 3, 2),
    )
    assert [refusal.fits for refusal in refused.value.refusals] == [1, 1]


def test_a_refusal_lists_every_limit_on_the_way_and_leaves_the_transaction_usable(session: Session, tree: Tree) -> None:
    """All reasons at once; nothing is counted, and the caller can go on in the same transaction."""
    service.set_limit(session, tree.root, X86, tree.pool, 5)
    service.set_limit(session, tree.city, ResourceClass.VCPU, None, 100)
    service.set_limit(session, tree.county, MEMORY, None, 7)
    nowhere = uuid4()
    lines = [Line(X86, 6, tree.pool), Line(MEMORY, 8, tree.pool), Line(ResourceClass.GPU, 1, nowhere)]
    with pytest.raises(errors.QuotaExceeded) as refused:
        service.hold(session, owner=uuid4(), node=tree.units[1], lines=lines, expires_at=SOON)
    assert [(r.cause, r.node, r.resource_class, r.pool) for r in refused.value.refusals] == [
        (Cause.LIMIT, tree.county, MEMORY, None),
        (Cause.LIMIT, tree.root, X86, tree.pool),
        (Cause.NOT_OFFERED, None, ResourceClass.GPU, nowhere),
    ]
    seen = availability.snapshot(session, tree.units[1], [tree.pool, nowhere])
    assert refused.value.refusals == rules.explain(seen, lines)
    assert {limit.used for limit in seen.limits} == {0}
    assert service.verify(session) == []


def test_stock_is_total_less_reserved_times_ratio_in_whole_steps(session: Session, tree: Tree) -> None:
    """A sub-cloud's capacity is the same kind of thing as a limit."""
    service.set_inventory(session, tree.pool, X86, total=11, reserved=1, allocation_ratio=Decimal("1.55"), step=2)
    assert availability.pool_left(session, [tree.pool])[tree.pool][X86].left == 14
    with pytest.raises(errors.QuotaExceeded) as refused:
        ask(session, tree, (X86, 3))
    assert refused.value.refusals[0].cause is Cause.STEP
    ask(session, tree, (X86, 14))
    with pytest.raises(errors.QuotaExceeded):
        ask(session, tree, (X86, 2))


def test_stock_without_a_total_never_refuses_and_is_counted_when_it_gets_one(session: Session, tree: Tree) -> None:
    """Unlimited is None, never 0 or -1; the count comes from the rows when a total appears."""
    kind = ResourceClass.IPV6_64
    held = ask(session, tree, (kind, 10**9))
    assert availability.pool_left(session, [tree.pool])[tree.pool][kind].left is None
    service.set_inventory(session, tree.pool, kind, total=10**9 + 3)
    assert availability.pool_left(session, [tree.pool])[tree.pool][kind].left == 3
    service.set_inventory(session, tree.pool, kind, total=None)
    service.void(session, held)
    service.set_inventory(session, tree.pool, kind, total=5)
    assert availability.pool_left(session, [tree.pool])[tree.pool][kind].left == 5
    assert service.verify(session) == []


def test_an_overage_refuses_growth_and_lets_shrinking_pass(session: Session, tree: Tree) -> None:
    """A change that shrinks an overage is always allowed; a replacement asks for the difference only."""
    held = ask(session, tree, (X86, 10))
    service.set_limit(session, tree.root, X86, None, 6)
    with pytest.raises(errors.QuotaExceeded):
        ask(session, tree, (X86, 11), replaces=held)
    smaller = ask(session, tree, (X86, 8), replaces=held)
    assert used(session, tree.root, X86) == 8
    assert [h.state for h in availability.holds(session, hold_ids=[held, smaller])] == [HoldState.VOID, HoldState.HELD]
    assert service.verify(session) == []


def test_unlimited_is_still_counted_when_a_limit_comes_later(session: Session, tree: Tree) -> None:
    """A limit that appears starts from what the rows say; one that goes leaves the count to the rows."""
    ask(session, tree, (X86, 7), (ARM, 2))
    assert used(session, tree.root, ResourceClass.VCPU) == 9
    service.set_limit(session, tree.root, ResourceClass.VCPU, None, 10)
    with pytest.raises(errors.QuotaExceeded):
        ask(session, tree, (X86, 2))
    service.set_limit(session, tree.root, ResourceClass.VCPU, None, None)
    ask(session, tree, (X86, 2))
    assert used(session, tree.root, ResourceClass.VCPU) == 11


def test_what_is_left_is_the_least_on_the_way_and_names_who_binds(session: Session, tree: Tree) -> None:
    """An applicant sees what is left while filling in the form."""
    service.set_limit(session, tree.units[0], X86, None, 50)
    service.set_limit(session, tree.city, ResourceClass.VCPU, None, 20)
    ask(session, tree, (X86, 5))
    of_all = {entry.resource_class: entry for entry in availability.left(session, tree.units[0])}
    assert (of_all[X86].used, of_all[X86].limit, of_all[X86].left, of_all[X86].bound_by) == (5, 50, 15, tree.city)
    assert of_all[MEMORY].left is None
    service.set_inventory(session, tree.pool, X86, total=8)
    here = {entry.resource_class: entry for entry in availability.left(session, tree.units[0], tree.pool)}
    assert (here[X86].left, here[X86].bound_by) == (3, None)


def test_a_hold_is_posted_in_parts_and_the_rest_is_voided(session: Session, tree: Tree) -> None:
    """7 of 10 servers may be up: what was delivered stays counted, the rest goes back."""
    service.set_limit(session, tree.root, X86, None, 10)
    held = ask(session, tree, (X86, 10))
    service.pin(session, held)
    first = uuid4()
    for _ in range(2):
        service.post(session, held, [Line(X86, 7, tree.pool)], key=first)
    with pytest.raises(errors.NotThatMuch) as short:
        service.post(session, held, [Line(X86, 4, tree.pool)], key=uuid4())
    assert (short.value.short[0].asked, short.value.short[0].there) == (4, 3)
    for _ in range(2):
        service.void(session, held)
    assert used(session, tree.root, X86) == 7
    assert availability.holds(session, owners=[tree.units[0]])[0].state is HoldState.DONE
    assert service.verify(session) == []


def test_a_release_counts_once_per_key_and_never_below_what_was_posted(session: Session, tree: Tree) -> None:
    """Double release, release of more than there is, and a key used for something else: refused or without effect."""
    service.set_limit(session, tree.root, X86, None, 10)
    held = ask(session, tree, (X86, 6))
    service.post(session, held)
    service.post(session, held)
    key = uuid4()
    for _ in range(2):
        service.release(session, key=key, hold_id=held, lines=[Line(X86, 4, tree.pool)])
    assert used(session, tree.root, X86) == 2
    with pytest.raises(errors.NotThatMuch):
        service.release(session, key=uuid4(), hold_id=held, lines=[Line(X86, 3, tree.pool)])
    with pytest.raises(errors.KeyReused):
        service.release(session, key=key, hold_id=held, lines=[Line(X86, 1, tree.pool)])
    service.release(session, key=uuid4(), hold_id=held)
    assert used(session, tree.root, X86) == 0
    assert service.verify(session) == []


def test_a_due_hold_is_swept_with_what_it_gave_back_and_cannot_be_pinned_or_posted(
    session: Session, tree: Tree
) -> None:
    """A hold has a date; pinned by delivery it cannot expire; expired, the assessment has to be made again."""
    service.set_limit(session, tree.root, X86, None, 10)
    due, pinned = ask(session, tree, (X86, 4)), ask(session, tree, (X86, 5))
    late = SOON + timedelta(seconds=1)
    service.pin(session, pinned)
    with pytest.raises(errors.HoldGone, match="overdue"):
        service.pin(session, due, now=late)
    swept = service.sweep(session, late)
    assert [(s.hold, s.owner, s.lines) for s in swept] == [(due, tree.units[0], (Line(X86, 4, tree.pool),))]
    assert service.sweep(session, late) == []
    for attempt in (service.pin, service.post):
        with pytest.raises(errors.HoldGone, match="expired"):
            attempt(session, due)
    service.void(session, due)
    service.pin(session, pinned, now=late)
    assert used(session, tree.root, X86) == 5
    assert service.verify(session) == []


def test_the_same_hold_asked_for_twice_counts_once(session: Session, tree: Tree) -> None:
    """A step may run twice; another owner or other lines under the same id are a conflict."""
    mine = uuid4()
    for _ in range(2):
        service.hold(
            session, owner=mine, node=tree.units[0], lines=[Line(X86, 3, tree.pool)], expires_at=SOON, hold_id=mine
        )
    assert used(session, tree.root, X86) == 3
    with pytest.raises(errors.HoldConflict):
        service.hold(
            session, owner=mine, node=tree.units[0], lines=[Line(X86, 4, tree.pool)], expires_at=SOON, hold_id=mine
        )


@pytest.mark.parametrize("amount", [0, -1, Decimal("1.5"), Decimal("NaN"), Decimal("1E+400"), 10**16, True])
def test_an_amount_that_is_no_whole_number_above_zero_is_refused(
    session: Session, tree: Tree, amount: Decimal | int
) -> None:
    """Negative, fractional and absurd amounts have one stable code and change nothing."""
    with pytest.raises(errors.BadAmount) as bad:
        service.hold(session, owner=uuid4(), node=tree.root, lines=[Line(X86, amount, tree.pool)], expires_at=SOON)
    assert bad.value.code == "quota.bad_amount"


@pytest.mark.parametrize(
    ("total", "ratio"),
    [
        (10, "0.00001"), (10, "1.00005"), (10, "0"), (10, "-1"), (10, "10000"), (10, "NaN"), (10, "Infinity"),
        (10**15, "9999"), (10**15, "1.0001"), (10**15 + 1, "1"), (-1, "1"),
    ],
)  # fmt: skip
def test_stock_that_could_not_be_kept_as_it_was_given_is_refused(
    session: Session, tree: Tree, total: int, ratio: str
) -> None:
    """No ratio is rounded in silence, no capacity overflows; what was there stays."""
    with pytest.raises(errors.BadAmount):
        service.set_inventory(session, tree.pool, X86, total=total, allocation_ratio=Decimal(ratio))
    service.set_inventory(
        session, tree.pool, ARM, total=10**15, reserved=10**15 - 10**11, allocation_ratio=Decimal("9999.9999")
    )
    stock = {each.resource_class: each for each in availability.snapshot(session, tree.root, [tree.pool]).stock}
    assert (stock[X86].capacity, stock[ARM].capacity) == (10**6, 999_999_990_000_000)


def test_what_does_not_exist_has_a_code_of_its_own(session: Session, tree: Tree) -> None:
    """Unknown node, parent and hold; a node below another parent."""
    with pytest.raises(errors.UnknownNode):
        service.add_node(session, id=uuid4(), parent_id=uuid4())
    service.add_node(session, id=tree.county, parent_id=tree.city)
    with pytest.raises(errors.NodeElsewhere):
        service.add_node(session, id=tree.county, parent_id=tree.root)
    with pytest.raises(errors.UnknownNode):
        service.hold(session, owner=uuid4(), node=uuid4(), lines=[Line(X86, 1, tree.pool)], expires_at=SOON)
    with pytest.raises(errors.UnknownNode):
        service.set_limit(session, uuid4(), X86, None, 1)
    for attempt in (service.pin, service.post, service.void):
        with pytest.raises(errors.UnknownHold):
            attempt(session, uuid4())


def test_each_verb_is_one_statement(session: Session, tree: Tree) -> None:
    """The road has a budget of statements; a hold of many lines on a deep tree is one."""
    statements: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    held = ask(session, tree, (X86, 1), (MEMORY, 2), (ARM, 3))
    service.pin(session, held)
    service.post(session, held, [Line(X86, 1, tree.pool)], key=uuid4())
    service.void(session, held)
    service.release(session, key=uuid4(), hold_id=held)
    service.sweep(session, datetime.now(UTC))
    availability.pool_left(session, [tree.pool])
    service.verify(session)
    assert len(statements) == 8


def test_a_tampered_counter_is_found(owner_engine: Engine, committed: Tree) -> None:
    """Verify recounts counters from lines and lines from the ledger."""
    with Session(owner_engine) as session:
        service.alone(session)
        service.set_limit(session, committed.root, X86, None, 100)
        held = ask(session, committed, (X86, 5))
        service.post(session, held, [Line(X86, 2, committed.pool)], key=uuid4())
        assert service.verify(session) == []
        session.execute(text("UPDATE quotas.node_limit SET used = 4"))
        session.execute(text("UPDATE quotas.inventory SET used = used + 1 WHERE used > 0"))
        session.execute(text("UPDATE quotas.hold_line SET posted = 3"))
        found = [(d.what, d.kept, d.recounted) for d in service.verify(session)]
        assert found == [("hold_line.posted", "3", "2"), ("inventory", "6", "5"), ("node_limit", "4", "5")]


def test_the_runtime_role_moves_numbers_through_functions_only(session: Session, tree: Tree) -> None:
    """Only the functions write; a counter cannot be moved by hand or by a slip in the broker."""
    ask(session, tree, (X86, 1))
    for statement in (
        "UPDATE quotas.inventory SET used = 0",
        "DELETE FROM quotas.hold",
        "INSERT INTO quotas.resource_class VALUES ('x')",
        "SELECT quotas.count_on('{}', '{}', '{}', '{}')",
        "UPDATE quotas.prefix_allocation SET state = 'freed'",
        'UPDATE quotas.wish SET answer = \'{"outcome": "ok"}\'',
        "INSERT INTO quotas.wish (backend) VALUES (1)",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"), session.begin_nested():
            session.execute(text(statement))


def test_models_and_classes_are_those_of_the_database(session: Session) -> None:
    """Python's picture of the tables and of the resource classes is the database's."""
    database = inspect(session.connection())
    for table in models.METADATA.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in database.get_columns(table.name, schema="quotas")}
        assert {c.name: c.nullable for c in table.columns}.items() <= columns.items(), table.name
    rows = session.execute(text("SELECT code, counts_in FROM quotas.resource_class"))
    assert {(row.code, row.counts_in) for row in rows} == {(kind.value, kind.counts_in) for kind in ResourceClass}
