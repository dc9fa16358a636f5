"""The migrations and the tables in the code: they agree, and running them again changes nothing."""

from __future__ import annotations

import re
from collections import Counter

import psycopg

from broker.db.migrate import current, differences, upgrade
from broker.embedded.postgres import libpq_url
from quotas.functions import edition
from tests.conftest import Database

LOCK = "CREATE OR REPLACE FUNCTION quotas.gate_shared() RETURNS void LANGUAGE plpgsql AS 'BEGIN END'"

IN_CONSTRAINTS = """
SELECT DISTINCT p.proname FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid
WHERE d.refclassid = 'pg_proc'::regclass AND p.pronamespace = 'quotas'::regnamespace
AND d.classid IN ('pg_constraint'::regclass, 'pg_class'::regclass, 'pg_attrdef'::regclass)
"""


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


def test_a_function_whose_text_changed_comes_with_the_next_migration(database: Database) -> None:
    """No revision is needed for it; until then the database is not where the code is."""
    with psycopg.connect(libpq_url(database.owner_url)) as connection:
        kept = connection.execute("SELECT pg_get_functiondef('quotas.gate_shared'::regproc)").fetchone()
        connection.execute(LOCK)
        connection.execute("COMMENT ON SCHEMA quotas IS 'functions 0123456789'")
    stands, newest = current(database.owner_url)
    assert stands == newest.partition("+")[0] + "+0123456789"
    assert upgrade(database.owner_url) == newest
    assert current(database.owner_url) == (newest, newest)
    with psycopg.connect(libpq_url(database.owner_url)) as connection:
        assert connection.execute("SELECT pg_get_functiondef('quotas.gate_shared'::regproc)").fetchone() == kept


def test_each_function_stands_once_and_none_of_them_is_in_a_constraint(database: Database) -> None:
    """One text, one signature; what a constraint has let in by a function would not be looked at again."""
    made = Counter(name for text in edition() for name in re.findall(r"^CREATE .*?quotas\.(\w+)\(", text, re.MULTILINE))
    assert len(made) > 25
    assert set(made.values()) == {1}
    with psycopg.connect(libpq_url(database.owner_url)) as connection:
        there = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'quotas'::regnamespace").fetchall()
        fixed = connection.execute(IN_CONSTRAINTS).fetchall()
    assert set(Counter(name for (name,) in there).values()) == {1}
    assert fixed
    assert not made.keys() & {name for (name,) in fixed}
