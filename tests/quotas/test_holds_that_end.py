"""What is over stays over, what shrinks may shrink, and what is wrong is refused by the database itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session

from quotas import availability, errors, moving, service, together
from quotas.values import HoldState, Line, ResourceClass
from tests.quotas.test_holds import ARM, X86, ask, used
from tests.quotas.world import SOON, Tree

LATE = SOON + timedelta(days=1)


def voided(session: Session, held: UUID) -> None:
    service.void(session, held)


def expired(session: Session, held: UUID) -> None:
    assert [swept.hold for swept in service.sweep(session, LATE)] == [held]


def released(session: Session, held: UUID) -> None:
    service.post(session, held)
    service.release(session, key=uuid4(), hold_id=held)


@pytest.mark.parametrize(("end", "state"), [(voided, "void"), (expired, "expired"), (released, "released")])
def test_a_hold_that_is_over_is_gone_when_it_is_asked_for_again(
    session: Session, tree: Tree, end: Callable[[Session, UUID], None], state: str
) -> None:
    """A step that runs again after its hold was given up must not go on as if it had one: nothing is counted."""
    mine = uuid4()

    def again(amount: int = 3) -> None:
        lines = [Line(X86, amount, tree.pool)]
        service.hold(session, owner=mine, node=tree.root, lines=lines, expires_at=SOON, hold_id=mine)

    again()
    again()
    end(session, mine)
    with pytest.raises(errors.HoldGone) as gone:
        again()
    assert (gone.value.code, gone.value.hold, gone.value.state) == ("hold.gone", mine, state)
    with pytest.raises(errors.HoldConflict):
        again(4)
    assert used(session, tree.root, X86) == 0
    assert service.verify(session) == []


def test_a_hold_that_was_moved_is_known_again_by_who_asks_as_he_did(engine: Engine, committed: Tree) -> None:
    """Asked again at its first node or where it is counted now, alone or together: as it stands; elsewhere refused."""
    mine, (first, second, third, other) = uuid4(), committed.units[:4]

    def ask_at(node: UUID) -> None:
        asked = {"owner": mine, "node": node, "lines": [Line(X86, 3, committed.pool)], "hold_id": mine}
        with Session(engine) as session:
            service.hold(session, **asked, expires_at=SOON)  # type: ignore[arg-type]
            session.commit()
        together.hold(engine, **asked, expires_at=SOON)  # type: ignore[arg-type]

    ask_at(first)
    for place in (second, third):
        with Session(engine) as session:
            assert moving.holds(session, [mine], place) == 1
            session.commit()
        ask_at(first)
        ask_at(place)
    for never in (second, other):
        with pytest.raises(errors.HoldConflict):
            ask_at(never)
    with Session(engine) as session:
        assert (used(session, first, X86), used(session, third, X86)) == (0, 3)
        assert service.verify(session) == []


def test_a_due_hold_that_no_sweep_has_met_is_gone_too(session: Session, tree: Tree) -> None:
    """It can be neither posted nor pinned any more; until the sweep it is counted, once."""
    mine, passed = uuid4(), datetime.now(UTC) - timedelta(seconds=1)
    lines = [Line(X86, 3, tree.pool)]
    service.hold(session, owner=mine, node=tree.root, lines=lines, expires_at=passed, hold_id=mine)
    with pytest.raises(errors.HoldGone, match="overdue"):
        service.hold(session, owner=mine, node=tree.root, lines=lines, expires_at=SOON, hold_id=mine)
    assert used(session, tree.root, X86) == 3


def test_who_resizes_a_hold_that_is_over_gets_nothing(session: Session, tree: Tree) -> None:
    """Two resize one hold: the first has the difference; the second would have held its whole beside that."""
    held = ask(session, tree, (X86, 10))
    first = ask(session, tree, (X86, 8), replaces=held)
    with pytest.raises(errors.HoldGone) as gone:
        ask(session, tree, (X86, 12), replaces=held)
    assert (gone.value.hold, gone.value.state) == (held, "void")
    service.post(session, first)
    with pytest.raises(errors.HoldGone, match="done"):
        ask(session, tree, (X86, 12), replaces=first)
    assert used(session, tree.root, X86) == 8
    assert service.verify(session) == []


def test_what_replaces_a_pinned_hold_is_pinned(session: Session, tree: Tree) -> None:
    """A delivery that has begun keeps its hold through a resize; only undo voids it."""
    held = ask(session, tree, (X86, 10))
    service.pin(session, held)
    service.post(session, held, [Line(X86, 4, tree.pool)], key=uuid4())
    smaller = ask(session, tree, (X86, 5), replaces=held)
    assert service.sweep(session, LATE) == []
    states = {hold.id: hold.state for hold in availability.holds(session, hold_ids=[held, smaller])}
    assert states == {held: HoldState.DONE, smaller: HoldState.PINNED}
    assert used(session, tree.root, X86) == 9
    assert service.verify(session) == []


def test_a_change_that_shrinks_is_allowed_whatever_the_step_is_now(session: Session, tree: Tree) -> None:
    """A step that was changed binds what grows, and no way out of an overage."""
    held = ask(session, tree, (X86, 10), (ARM, 4))
    service.set_inventory(session, tree.pool, X86, total=6, step=3)
    smaller = ask(session, tree, (X86, 8), (ARM, 5), replaces=held)
    service.set_inventory(session, tree.pool, X86, total=100, step=3)
    with pytest.raises(errors.QuotaExceeded) as refused:
        ask(session, tree, (X86, 10), (ARM, 5), replaces=smaller)
    assert [(r.cause, r.resource_class, r.limit) for r in refused.value.refusals] == [("step", X86, 3)]
    ask(session, tree, (X86, 8), (ARM, 6), replaces=smaller)
    assert (used(session, tree.root, X86), used(session, tree.root, ARM)) == (8, 6)
    assert service.verify(session) == []


BAD = [
    ("{vcpu_x86_64}", "{POOL}", "{-1}"),
    ("{vcpu_x86_64}", "{POOL}", "{0}"),
    ("{vcpu_x86_64}", "{POOL}", "{1000000000000001}"),
    ("{vcpu_x86_64}", "{POOL}", "{NULL}"),
    ("{NULL}", "{POOL}", "{1}"),
    ("{vcpu_x86_64}", "{NULL}", "{1}"),
    ("{vcpu_x86_64,vcpu_aarch64}", "{POOL}", "{1,1}"),
    ("{vcpu_x86_64,vcpu_x86_64}", "{POOL,POOL}", "{1,1}"),
    ("{vcpu_x86_64}", "{POOL}", "{1,-1}"),
    ("{}", "{}", "{}"),
    (None, "{POOL}", "{1}"),
]


@pytest.mark.parametrize("lines", BAD, ids=str)
def test_lines_that_nobody_can_want_are_refused_by_every_function(
    session: Session, tree: Tree, lines: tuple[str | None, str, str]
) -> None:
    """Whoever comes past Python: the same code from each of them, and nothing has changed."""
    held = ask(session, tree, (X86, 3))
    service.post(session, held, [Line(X86, 2, tree.pool)], key=uuid4())
    columns = "CAST(:c AS text[]), CAST(:p AS uuid[]), CAST(:a AS bigint[])"
    values = dict(zip("cpa", lines, strict=True)) | {"held": held, "key": uuid4(), "node": tree.root, "soon": SOON}
    values["p"] = lines[1].replace("POOL", str(tree.pool))
    for call in (
        f"hold(:key, :key, :node, {columns}, :soon, NULL)",
        f"wish_for(:key, :key, :node, {columns}, :soon)",
        f"post(:held, :key, {columns}, NULL)",
        f"release(:held, :key, {columns})",
    ):
        answer = session.scalars(text(f"SELECT quotas.{call}"), values).one()
        assert answer == {"outcome": "bad_amount"}, call
    assert used(session, tree.root, X86) == 3
    assert service.verify(session) == []


def test_one_bad_wish_fails_alone(owner_engine: Engine, committed: Tree) -> None:
    """Whatever is wrong with one, those who were to be counted with it are, and at once."""
    wish = text(
        "INSERT INTO quotas.wish (backend, hold_id, owner, node_id, classes, pools, amounts, expires_at)"
        " VALUES (:who, :id, :id, :node, ARRAY[:kind], ARRAY[CAST(:pool AS uuid)], CAST(:amounts AS bigint[]), :soon)"
    )
    full = committed.units[1]
    with Session(owner_engine) as session:
        service.alone(session)
        service.set_limit(session, committed.root, X86, None, 100)
        service.set_limit(session, full, ResourceClass.IPV6_64, None, 5, borrowing=None)
        session.execute(text("UPDATE quotas.node_limit SET used = 9223372036854775807 - 5 WHERE limit_amount = 5"))
        session.commit()
        asked = [
            (-1, committed.units[0], X86, "{2}"),
            (-2, committed.units[2], X86, "{-1}"),  # as the runtime role could write it
            (-3, full, ResourceClass.IPV6_64, "{7}"),  # passes the end of a number, where no limit stands
            (-4, committed.units[3], X86, "{3}"),
        ]
        for who, node, kind, amounts in asked:
            values = {"who": who, "id": uuid4(), "node": node, "kind": kind, "pool": committed.pool, "soon": SOON}
            session.execute(wish, values | {"amounts": amounts})
        session.execute(text("SELECT quotas.serve_wishes()"))
        answers = session.execute(text("SELECT backend, answer ->> 'outcome' FROM quotas.wish ORDER BY backend DESC"))
        assert [tuple(row) for row in answers] == [(-1, "ok"), (-2, "bad_amount"), (-3, "failed"), (-4, "ok")]
        assert used(session, committed.root, X86) == 5
        session.commit()
    lines = [Line(ResourceClass.IPV6_64, 7, committed.pool)]
    with pytest.raises(DataError):
        together.hold(owner_engine, owner=full, node=full, lines=lines, expires_at=SOON)


def test_the_fast_way_says_gone_as_well(engine: Engine, committed: Tree) -> None:
    """Counted together or alone, an id whose hold is over is answered the same."""
    mine = uuid4()

    def again() -> None:
        lines = [Line(X86, 1, committed.pool)]
        together.hold(engine, owner=mine, node=committed.units[0], lines=lines, expires_at=SOON, hold_id=mine)

    again()
    again()
    with Session(engine) as session:
        service.void(session, mine)
        session.commit()
        with pytest.raises(errors.HoldGone, match="void"):
            again()
        assert used(session, committed.root, X86) == 0
        assert service.verify(session) == []


def a_hold(session: Session, tree: Tree) -> None:
    ask(session, tree, (X86, 2))


def a_counter(session: Session, tree: Tree) -> None:
    service.set_limit(session, tree.root, ARM, None, 9)


@pytest.mark.parametrize(("level", "count"), [("REPEATABLE READ", a_hold), ("SERIALIZABLE", a_counter)])
def test_who_sees_an_older_state_may_not_count(
    engine: Engine, committed: Tree, level: str, count: Callable[[Session, Tree], None]
) -> None:
    """He would miss a limit that has come meanwhile, or begin a counter without the holds that have."""
    with engine.connect().execution_options(isolation_level=level) as connection, Session(connection) as old:
        assert used(old, committed.root, ARM) == 0
        with Session(engine) as new:
            service.set_limit(new, committed.root, X86, None, 1)
            new.commit()
            ask(new, committed, (ARM, 5))
            new.commit()
        with pytest.raises(DBAPIError, match="READ COMMITTED"):
            count(old, committed)
    with Session(engine) as session:
        assert service.verify(session) == []


def test_who_holds_together_may_not_see_an_older_state(engine: Engine, committed: Tree) -> None:
    """The server's default isolation is not ours to choose; a limit that was set meanwhile would be passed."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with (
        psycopg.connect(url, autocommit=True, options="-c default_transaction_isolation=repeatable\\ read") as old,
        pytest.raises(psycopg.errors.InvalidTransactionState, match="READ COMMITTED"),
    ):
        old.execute(
            "CALL quotas.hold_together(%s, %s, %s, %s, %s, %s, %s, NULL)",
            (uuid4(), uuid4(), committed.units[0], [X86.value], [committed.pool], [1], SOON),
        )
    with Session(engine) as session:
        assert service.verify(session) == []


SENT = {"hold.node", "hold.asked_node"}
TAMPERED = {
    "DELETE FROM quotas.hold WHERE id = :open": {"hold_line.without_hold"},
    "UPDATE quotas.hold_line SET amount = 9 WHERE hold_id = :free": {"hold_line.amount"},
    "UPDATE quotas.hold SET node_id = :root WHERE id = :free": {"hold.node"},
    "UPDATE quotas.hold SET node_id = :root, asked_node_id = node_id WHERE id = :free": {
        "hold.node",
        "hold.asked_node",
    },
    "UPDATE quotas.hold SET node_id = asked_node_id, asked_node_id = NULL WHERE id = :sent": {
        "hold.node",
        "hold.asked_node",
    },
    "UPDATE quotas.hold SET owner = gen_random_uuid() WHERE id = :free": {"hold.owner"},
    "UPDATE quotas.hold SET expires_at = expires_at + interval '1 year' WHERE id = :free": {"hold.expires_at"},
    "UPDATE quotas.hold SET expires_at = 'infinity' WHERE id = :open": {"hold.expires_at"},
    "UPDATE quotas.hold SET state = 'pinned' WHERE id = :free": {"hold.pinned"},
    "UPDATE quotas.hold SET state = 'held' WHERE id = :sent": {"hold.pinned"},
    "DELETE FROM quotas.hold_change WHERE hold_id = :sent AND what = 'move'": SENT,
    "DELETE FROM quotas.hold_change WHERE hold_id = :sent AND what = 'pin'": {"hold.pinned"},
    "WITH gone AS (DELETE FROM quotas.hold_line WHERE hold_id = :free) DELETE FROM quotas.hold WHERE id = :free": {
        "hold_line.amount"
    },
    "DELETE FROM quotas.granted WHERE :free = ANY (holds)": {"hold_line.amount"},
    "DELETE FROM quotas.hold_line WHERE hold_id = :open": {"hold.without_lines"},
    "DELETE FROM quotas.hold_line WHERE hold_id = :done": {"hold.without_lines", "hold_line.posted"},
    "DELETE FROM quotas.movement WHERE hold_id = :done": {"hold_line.posted"},
    "UPDATE quotas.hold SET node_id = gen_random_uuid() WHERE id = :open": {"hold.without_node"},
    "UPDATE quotas.hold SET state = 'void' WHERE id = :done": {"hold.state"},
    "UPDATE quotas.hold SET state = 'expired' WHERE id = :open": {"hold.state"},
    "UPDATE quotas.hold_line SET resource_class = 'gold' WHERE hold_id = :open": {"hold_line.without_class"},
    "UPDATE quotas.node SET path = ARRAY[id, :root], depth = 1 WHERE id = :county": {"node.path"},
    "UPDATE quotas.node SET parent_id = :county WHERE id = :root": {"node.path"},
    "UPDATE quotas.node_limit SET limit_amount = 8, ceiling = 8 WHERE node_id = :city": {"node_limit.ceiling"},
    "UPDATE quotas.node_limit SET booked = booked + 1 WHERE node_id = :city": {"node_limit.booked"},
    "UPDATE quotas.inventory SET used = 1 WHERE total IS NULL": {"inventory"},
    "DELETE FROM quotas.inventory": {"hold_line.without_stock"},
    "ALTER TABLE quotas.node_limit DROP CONSTRAINT ck_node_limit_used": {"unguarded"},
}


def test_the_recount_finds_whatever_was_tampered_with(owner_engine: Engine, committed: Tree) -> None:
    """Also a row whose other half is gone, a path that leads elsewhere, and a guarantee that is not covered."""
    ids = {"root": committed.root, "city": committed.city, "county": committed.county}
    with Session(owner_engine) as session:
        service.alone(session)
        service.set_limit(session, committed.city, X86, None, 20)
        service.set_limit(session, committed.units[1], X86, None, 6, lending=2)
        ids |= {"open": ask(session, committed, (X86, 5)), "done": ask(session, committed, (ARM, 3))}
        ids["free"] = ask(session, committed, (ResourceClass.IPV6_64, 2))  # no limit and no stock counts it
        ids["sent"] = ask(session, committed, (ResourceClass.IPV6_64, 2))
        service.pin(session, ids["sent"])
        service.post(session, ids["done"])
        moving.holds(session, [ids["sent"]], committed.units[1])
        assert service.verify(session) == []
        session.commit()
        for statement, expected in TAMPERED.items():
            changed = session.execute(text(statement), ids)
            assert changed.rowcount, statement  # type: ignore[attr-defined]
            assert expected <= {d.what for d in service.verify(session)}, statement
            session.rollback()
        assert service.verify(session) == []


AS_IT_WAS = "ALTER TABLE quotas.granted DROP owners, DROP deadlines; DROP TABLE quotas.hold_change"


def test_holds_of_before_are_known_to_the_recount(owner_engine: Engine, committed: Tree) -> None:
    """What a database has when the second record comes is taken for what it was: pinned, moved, and several a row."""
    with Session(owner_engine) as session:
        service.alone(session)
        ask(session, committed, (X86, 5), (ARM, 1))
        sent = ask(session, committed, (ARM, 3))
        service.pin(session, sent)
        moving.holds(session, [sent], committed.units[1])
        session.execute(text("UPDATE quotas.granted SET holds = holds || :gone"), {"gone": [uuid4()]})
        session.execute(
            text("UPDATE quotas.granted SET nodes = nodes || nodes[1:1], classes = classes || classes[1:1]")
        )
        session.execute(
            text("UPDATE quotas.granted SET pools = pools || pools[1:1], amounts = amounts || ARRAY[1::bigint]")
        )
        session.connection().exec_driver_sql(AS_IT_WAS)
        session.connection().exec_driver_sql(files("quotas").joinpath("sql/0102_what_holds_became.sql").read_text())
        assert {d.what for d in service.verify(session)} == {"hold_line.amount"}  # of the one that is gone


GRANTED = text("SELECT count(*), coalesce(sum(pg_column_size(g.*)), 0) FROM quotas.granted g")
KEPT = text(
    "SELECT (SELECT sum(pg_column_size(h.*)) FROM quotas.hold h WHERE id = ANY (:ids))"
    " + (SELECT sum(pg_column_size(l.*)) FROM quotas.hold_line l WHERE hold_id = ANY (:ids))"
    " + (SELECT sum(pg_column_size(m.*)) FROM quotas.movement m WHERE hold_id = ANY (:ids))"
)


def test_what_was_granted_grows_with_holds_and_with_nothing_else(session: Session, tree: Tree) -> None:
    """One row a hold, smaller than the hold with its ledger; a refusal, the same again or an end adds none."""
    count, size = session.execute(GRANTED).one()
    mine = [uuid4() for _ in range(3)]
    service.set_limit(session, tree.root, X86, None, 10)
    for amount, made in ((2, mine[0]), (3, mine[1]), (5, mine[2]), (2, mine[0])):
        lines = [Line(X86, amount, tree.pool)]
        service.hold(session, owner=made, node=tree.units[0], lines=lines, expires_at=SOON, hold_id=made)
    with pytest.raises(errors.QuotaExceeded):
        ask(session, tree, (X86, 1))
    voided(session, mine[0])
    released(session, mine[1])
    expired(session, mine[2])
    assert service.verify(session) == []
    count_then, size_then = session.execute(GRANTED).one()
    assert count_then == count + len(mine)
    assert size_then - size < session.execute(KEPT, {"ids": mine}).scalar_one()
