"""The migrations and the tables in the code: they agree, and running them again changes nothing."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.orm import Session

from broker.chargeback.verify import verify
from broker.db.migrate import current, differences, upgrade
from broker.db.session import make_engine
from broker.embedded.postgres import libpq_url
from broker.pricing.months import Month
from quotas.functions import edition
from tests.conftest import Database

RELEASED = "0020_releases_and_limits"
MONTH = Path(__file__).parent / "released_month.sql"
BOOKS = (
    "month_close", "month_reopening", "statement", "charge", "settlement", "settlement_line", "ledger_posting",
    "ledger_entry", "adjustment", "dispute", "payer", "tariff_price", "resource_period",
)  # fmt: skip

SCARCE = ("node", "node_limit", "inventory", "hold", "hold_line", "movement", "prefix_pool", "prefix_allocation")

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


def books(url: str) -> dict[str, list[dict[str, str]]]:
    """Every row of the books and of what is scarce, as text by column."""
    tables = [("broker", name) for name in BOOKS] + [("quotas", name) for name in SCARCE]
    with psycopg.connect(libpq_url(url)) as connection:
        return {
            table: [
                {name: str(value) for name, value in row.items()}
                for (row,) in connection.execute(
                    SQL("SELECT to_jsonb(t) FROM {}.{} t ORDER BY t.ctid").format(Identifier(schema), Identifier(table))
                )
            ]
            for schema, table in tables
        }


def recounted(url: str) -> list[tuple[object, ...]]:
    """What the recount of quotas and of the IPv6 plan finds wrong."""
    with psycopg.connect(libpq_url(url)) as connection:
        found = connection.execute("SELECT what, id FROM quotas.verify()").fetchall()
        return found + connection.execute("SELECT what, id FROM quotas.verify_prefixes()").fetchall()


def test_the_migrations_make_exactly_the_tables_of_the_code(blank_database: Database) -> None:
    """Alembic would find nothing to change after the newest revision."""
    newest = upgrade(blank_database.owner_url)
    assert current(blank_database.owner_url) == (newest, newest)
    assert differences(blank_database.owner_url) == []


def test_a_released_month_stands_after_an_upgrade_and_migrating_twice_changes_nothing(blank_database: Database) -> None:
    """Every start of the broker migrates. The first time here from what was released, with a closed month in it.

    Months, lines, postings, decisions, holds and prefixes stay as they were, and the recounts find nothing.
    """
    upgrade(blank_database.owner_url, RELEASED)
    with psycopg.connect(libpq_url(blank_database.owner_url)) as connection:
        connection.execute(MONTH.read_bytes())
        # Its month was settled with another operator, of whose time there was no date.
        connection.execute("UPDATE broker.sub_cloud SET operator = operator || ' since'")
    had = books(blank_database.owner_url)
    assert {hold["state"] for hold in had["hold"]} == {"held", "pinned", "done", "void", "expired"}
    assert {prefix["state"] for prefix in had["prefix_allocation"]} == {"held", "active", "quarantined"}
    assert recounted(blank_database.owner_url) == []
    upgrade(blank_database.owner_url)
    has = books(blank_database.owner_url)
    assert recounted(blank_database.owner_url) == []
    assert min(map(len, had.values())) > 0
    assert [
        (table, was, now)
        for table in had
        for was, now in zip(had[table], has[table], strict=True)
        if not was.items() <= now.items()
    ] == []
    engine = make_engine(blank_database.app_url)
    with Session(engine) as session:
        assert verify(session, Month(2026, 9)) == ()
    engine.dispose()
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
