"""The migrations and the tables in the code: they agree, and running them again changes nothing."""

from __future__ import annotations

import psycopg

from broker.db.migrate import current, differences, upgrade
from broker.embedded.postgres import libpq_url
from tests.conftest import Database


def catalogue(url: str) -> list[tuple[object, ...]]:
    """Every relation with its columns and who may do what with it."""
    with psycopg.connect(libpq_url(url)) as connection:
        return connection.execute(
            "SELECT n.nspname, c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), "
            "c.relacl::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema' AND a.attnum > 0 ORDER BY 1, 2, 4"
        ).fetchall()


def test_the_migrations_make_exactly_the_tables_of_the_code(blank_database: Database) -> None:
    """Alembic would find nothing to change after the newest revision."""
    newest = upgrade(blank_database.owner_url)
    assert current(blank_database.owner_url) == (newest, newest)
    assert differences(blank_database.owner_url) == []


def test_migrating_twice_changes_nothing(blank_database: Database) -> None:
    """Every start of the broker migrates."""
    upgrade(blank_database.owner_url)
    before = catalogue(blank_database.owner_url)
    upgrade(blank_database.owner_url)
    assert len(before) > 100
    assert catalogue(blank_database.owner_url) == before
