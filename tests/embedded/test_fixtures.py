"""The test database itself: what every other test relies on."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from broker.embedded.postgres import EmbeddedPostgres, libpq_url


def test_the_runtime_role_uses_what_the_owner_grants_and_creates_nothing(engine: Engine, owner_engine: Engine) -> None:
    """Two roles: the owner migrates and grants, the runtime one reads and writes rows."""
    with owner_engine.begin() as owner:
        owner.execute(text("CREATE SCHEMA shop"))
        owner.execute(text("CREATE TABLE shop.thing (id int GENERATED ALWAYS AS IDENTITY, name text)"))
        owner.execute(text("CREATE TABLE shop.secret (name text)"))
        owner.execute(text("GRANT USAGE ON SCHEMA shop TO guiyun_app"))
        owner.execute(text("GRANT SELECT, INSERT ON shop.thing TO guiyun_app"))
    with engine.begin() as app:
        app.execute(text("INSERT INTO shop.thing (name) VALUES ('桂云')"))
        assert app.execute(text("SELECT name FROM shop.thing")).scalar_one() == "桂云"
    for statement in (
        "SELECT name FROM shop.secret",
        "CREATE TABLE shop.other (id int)",
        "DROP TABLE shop.thing",
        "CREATE TABLE public.x (id int)",
    ):
        with engine.connect() as app, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            app.execute(text(statement))


@pytest.mark.parametrize("turn", ["first", "second"])
def test_what_a_session_commits_is_gone_for_the_next_test(session: Session, turn: str) -> None:
    """A commit inside the tested code ends a savepoint only."""
    session.execute(text("CREATE TEMPORARY TABLE seen (turn text)"))
    session.execute(text("INSERT INTO seen VALUES (:turn)"), {"turn": turn})
    session.commit()
    assert session.execute(text("SELECT turn FROM seen")).scalars().all() == [turn]


def test_nobody_connects_without_the_password(postgres: EmbeddedPostgres) -> None:
    """Loopback alone is no proof of identity."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(libpq_url(postgres.superuser_url()), password="guessed")
