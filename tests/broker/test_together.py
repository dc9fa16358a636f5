"""A session that adds rows of several tables with one statement (``broker.db.together``)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from broker.audit import events
from broker.audit.models import AuditEvent
from broker.db.base import new_id
from broker.db.session import make_sessions
from broker.notify.models import Notice
from broker.tenancy.models import Unit

NOW = datetime(2026, 3, 2, 1, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A transaction that is not kept."""
    with make_sessions(engine)() as made:
        yield made


def add_unit(session: Session) -> UUID:
    unit = Unit(id=new_id(), code="together", kind="department")
    session.add(unit)
    session.flush()
    return unit.id


def notice(**audience: object) -> Notice:
    about = {"code": "x", "params": {"号": "1", "empty": None}, "subject_type": "request", "subject_id": new_id()}
    return Notice(**about, **audience)


def record(session: Session, **data: object) -> None:
    events.record(session, at=NOW, actor_id=None, action="x", subject_type="x", subject_id=new_id(), data=data)


def test_rows_of_several_tables_travel_in_one_statement(session: Session, engine: Engine) -> None:
    """Two notices and two audit events are one round trip; what comes back is what was added, to the microsecond."""
    unit = add_unit(session)
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    added = [notice(unit_id=unit, role="approver"), notice(unit_id=unit, role="assessor")]
    session.add_all(added)
    record(session, n=1, nested={"a": [1, None]})
    record(session, n=2)
    session.flush()
    assert len(sent) == 1, sent
    assert all(row in session and row.created_at is not None for row in added)
    session.expire_all()
    assert session.scalars(select(AuditEvent.data).order_by(AuditEvent.id)).all()[-2:] == [
        {"n": 1, "nested": {"a": [1, None]}},
        {"n": 2},
    ]
    assert session.scalars(select(func.max(AuditEvent.at))).one() == NOW
    assert added[0].params == {"号": "1", "empty": None}


def test_a_later_read_sees_what_was_added_and_a_change_is_written(session: Session) -> None:
    """The rows are the session's own afterwards: found by a query, the same object, changed like any other."""
    unit = add_unit(session)
    added = notice(unit_id=unit, role="approver")
    session.add(added)
    assert session.scalars(select(Notice).where(Notice.unit_id == unit)).one() is added
    added.code = "y"
    assert session.scalars(select(Notice.code).where(Notice.unit_id == unit)).one() == "y"


def test_what_the_database_refuses_is_refused_as_a_whole(session: Session) -> None:
    """A notice for nobody breaks its table's rule: the audit event beside it is not written either."""
    record(session)
    session.add(notice())
    with pytest.raises(IntegrityError):
        session.flush()
    session.rollback()
    assert session.scalars(select(func.count(AuditEvent.id))).one() == 0


def test_an_unknown_kind_of_value_is_not_guessed_at(session: Session) -> None:
    """Data holds what JSON can carry; anything else is a mistake and says so."""
    record(session, when=NOW)
    with pytest.raises(TypeError):
        session.flush()
