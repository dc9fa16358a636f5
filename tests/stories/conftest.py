"""Fixtures of the stories: a region made once and cloned for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from broker.embedded.postgres import EmbeddedPostgres, libpq_url
from tests.conftest import Database, DatabaseFactory, drop
from tests.stories.world import World, load_region, make_world


@pytest.fixture(scope="session")
def region_template(clone: DatabaseFactory) -> Database:
    """A database with the demonstration region, to be cloned."""
    made = clone()
    load_region(made)
    return made


@pytest.fixture
def region(postgres: EmbeddedPostgres, region_template: Database) -> Iterator[Database]:
    """The region in a database of this test's own."""
    name = f"{region_template.name}_copy"
    with psycopg.connect(libpq_url(postgres.superuser_url()), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER guiyun_owner STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(region_template.name)
            )
        )
    made = Database(name, postgres.app_url(name), postgres.owner_url(name))
    yield made
    drop(postgres, made)


@pytest.fixture
def simulated(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """The simulated clouds' own database, for this test alone."""
    name = "simulated"
    postgres.create_database(name)
    made = Database(name, postgres.owner_url(name), postgres.owner_url(name))
    yield made
    drop(postgres, made)


@pytest.fixture
def world(region: Database, simulated: Database, tmp_path: Path) -> Iterator[World]:
    """Everything, with a clock that only the test moves."""
    made = make_world(region, simulated, tmp_path)
    yield made
    made.app.close()
