"""The audit chain: sealed in order, and whatever is done to it afterwards is found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from broker.audit import events, seal
from broker.db.base import new_id
from broker.embedded.postgres import EmbeddedPostgres
from tests.conftest import Database

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


@pytest.fixture
def tamperer(postgres: EmbeddedPostgres, database: Database) -> Iterator[Engine]:
    """Somebody who has the database's superuser password."""
    made = create_engine(postgres.superuser_url(database.name), poolclass=NullPool)
    yield made
    made.dispose()


@pytest.fixture
def sealed(engine: Engine) -> Engine:
    """A chain of five events."""
    with Session(engine) as session, session.begin():
        for n in range(5):
            events.record(
                session, at=NOW, actor_id=None, action=f"test.{n}", subject_type="x", subject_id=new_id(), data={"n": n}
            )
    with Session(engine) as session, session.begin():
        assert seal.seal(session) == 5
    return engine


def findings(engine: Engine, anchor: seal.Head | None = None) -> list[tuple[str, int]]:
    with Session(engine) as session:
        return [(f.kind, f.seq) for f in seal.verify(session, anchor)]


def tamper(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("SET session_replication_role = replica"))
        for statement in statements:
            connection.execute(text(statement))


def test_an_untouched_chain_is_whole(sealed: Engine) -> None:
    """Each committed event is one link; nothing is left unsealed."""
    assert findings(sealed) == []
    with Session(sealed) as session:
        assert seal.unsealed(session) == 0
        assert seal.head(session).seq == 5


def test_a_changed_event_is_found(sealed: Engine, tamperer: Engine) -> None:
    """A link is the SM3 of what the event said."""
    tamper(tamperer, "UPDATE broker.audit_event SET data = '{\"n\": 99}' WHERE action = 'test.2'")
    assert findings(sealed) == [("changed", 3)]


def test_a_removed_event_is_found(sealed: Engine, tamperer: Engine) -> None:
    """With its seal or without."""
    tamper(tamperer, "DELETE FROM broker.audit_event WHERE action = 'test.1'")
    assert findings(sealed) == [("removed", 2)]


def test_an_event_removed_together_with_its_seal_is_found(sealed: Engine, tamperer: Engine) -> None:
    """The next link does not fit any more."""
    tamper(
        tamperer,
        "DELETE FROM broker.audit_seal WHERE seq = 2",
        "DELETE FROM broker.audit_event WHERE action = 'test.1'",
    )
    assert findings(sealed) == [("removed", 2), ("changed", 3)]


def test_two_events_that_changed_places_are_found(sealed: Engine, tamperer: Engine) -> None:
    """The sequence number is part of what is hashed."""
    tamper(
        tamperer,
        "ALTER TABLE broker.audit_seal DROP CONSTRAINT uq_audit_seal_event_id",
        "UPDATE broker.audit_seal a SET event_id = b.event_id FROM broker.audit_seal b"
        " WHERE (a.seq, b.seq) IN ((2, 4), (4, 2))",
    )
    assert findings(sealed) == [("changed", 2), ("changed", 4)]


def test_a_chain_cut_at_its_end_does_not_reach_the_anchor(sealed: Engine, tamperer: Engine) -> None:
    """A head kept outside the database shows what the chain itself cannot."""
    with Session(sealed) as session:
        anchor = seal.head(session)
    tamper(
        tamperer,
        "DELETE FROM broker.audit_seal WHERE seq = 5",
        "DELETE FROM broker.audit_event WHERE action = 'test.4'",
    )
    assert findings(sealed) == []
    assert findings(sealed, anchor) == [("removed", 5)]


def test_a_rewritten_chain_does_not_contain_the_anchor(sealed: Engine, tamperer: Engine) -> None:
    """Who recomputes the whole chain cannot recompute the anchor."""
    with Session(sealed) as session:
        anchor = seal.head(session)
    tamper(
        tamperer,
        "DELETE FROM broker.audit_seal",
        "UPDATE broker.audit_event SET article = 'Art. 99' WHERE action = 'test.0'",
    )
    with Session(sealed) as session, session.begin():
        seal.seal(session)
    assert findings(sealed) == []
    assert findings(sealed, anchor) == [("head_differs", 5)]


def test_an_old_event_slipped_in_behind_the_sealer_is_found(sealed: Engine, tamperer: Engine) -> None:
    """The sealer looks back a quarter of an hour; whatever is older and unsealed was not written by a use-case."""
    tamper(
        tamperer,
        "INSERT INTO broker.audit_event (id, at, action, subject_type, subject_id, article, data, trace_id)"
        " VALUES ('01000000-0000-7000-8000-000000000000', now(), 'x', 'x', gen_random_uuid(), '', '{}', '')",
    )
    assert findings(sealed) == [("unsealed", 0)]


def test_events_are_sealed_though_others_committed_first(engine: Engine) -> None:
    """A transaction that began earlier and commits later is sealed when it is seen; ids need not be in order."""
    first, second = Session(engine), Session(engine)
    with first, second:
        events.record(first, at=NOW, actor_id=None, action="slow", subject_type="x", subject_id=new_id())
        first.flush()
        later = NOW + timedelta(seconds=1)
        events.record(second, at=later, actor_id=None, action="quick", subject_type="x", subject_id=new_id())
        second.commit()
        with Session(engine) as sealer, sealer.begin():
            assert seal.seal(sealer) == 1
        first.commit()
    with Session(engine) as sealer, sealer.begin():
        assert seal.seal(sealer) == 1
    assert findings(engine) == []


def test_the_runtime_role_may_neither_change_nor_remove_an_event(sealed: Engine) -> None:
    """Insert-only is a matter of rights, not of manners."""
    for statement in ("UPDATE broker.audit_event SET article = ''", "DELETE FROM broker.audit_seal"):
        with pytest.raises(Exception, match="permission denied"), sealed.begin() as connection:
            connection.execute(text(statement))
