"""Fixtures of the stories: a region made once and cloned for each world."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import NullPool, create_engine, text

from broker.embedded.postgres import EmbeddedPostgres, libpq_url
from broker.utilisation import collectors
from providers.contract import Key, Kind
from providers.simulated import faults
from tests.conftest import Database, DatabaseFactory, drop
from tests.stories import reclaim, road, slate
from tests.stories.world import World, load_region, make_world

Databases = Callable[[], AbstractContextManager[tuple[Database, Database]]]


Templates = tuple[Database, Database]
_MADE = pytest.StashKey[Templates]()


@pytest.fixture(scope="session")
def region_template(
    postgres: EmbeddedPostgres,
    clone: DatabaseFactory,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Templates:
    """The demonstration region and its clouds' own database, to be cloned; all clouds were asked on that Monday.

    Every folder that uses these fixtures has one of its own: the first of them makes it.
    """
    if (made := request.config.stash.get(_MADE, None)) is not None:
        return made
    region, name = clone(), f"simulated_{secrets.token_hex(4)}"
    load_region(region)
    postgres.create_database(name)
    simulated = Database(name, postgres.owner_url(name), postgres.owner_url(name))
    make_world(region, simulated, tmp_path_factory.mktemp("template"), ask=True).app.close()
    request.config.stash[_MADE] = region, simulated
    return region, simulated


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres, region_template: Templates) -> Databases:
    """Makes the two databases of a world: the region's, and the simulated clouds' own."""

    @contextmanager
    def make() -> Iterator[tuple[Database, Database]]:
        # Every folder that uses these fixtures has one of its own, on the same server: a number would meet another's.
        name = secrets.token_hex(4)
        region, simulated = f"region_{name}", f"simulated_{name}"
        with psycopg.connect(libpq_url(postgres.superuser_url()), autocommit=True) as connection:
            for made, of in zip((region, simulated), region_template, strict=True):
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER guiyun_owner STRATEGY FILE_COPY").format(
                        sql.Identifier(made), sql.Identifier(of.name)
                    )
                )
        both = (
            Database(region, postgres.app_url(region), postgres.owner_url(region)),
            Database(simulated, postgres.owner_url(simulated), postgres.owner_url(simulated)),
        )
        yield both
        for database in both:
            drop(postgres, database)

    return make


@pytest.fixture
def world(databases: Databases, tmp_path: Path) -> Iterator[World]:
    """Everything, with a clock that only the test moves."""
    with databases() as (region, simulated):
        made = make_world(region, simulated, tmp_path)
        yield made
        made.app.close()


@pytest.fixture(scope="module")
def towns(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], World]]:
    """The world that the tests of a module share; a new one when a failed test has left something behind."""
    with ExitStack() as stack:
        worlds: list[World] = []

        def current() -> World:
            if not worlds or slate.in_the_clouds(worlds[-1]):
                region, simulated = stack.enter_context(databases())
                worlds.append(make_world(region, simulated, tmp_path_factory.mktemp("town")))
                worlds[-1].shared = True
                stack.callback(worlds[-1].app.close)
                stack.callback(slate.chain_is_whole, worlds[-1])
            return worlds[-1]

        yield current


@pytest.fixture
def town(towns: Callable[[], World]) -> World:
    """A shared world on a good morning: clouds that feel well, without faults or anything that an earlier test left."""
    world = towns()
    faults.clear(world.clouds_url)
    world.feel_well()
    remove_projects(world)
    for code in slate.clouds(world):  # without a project a late order makes nothing, but for the project itself
        faults.let_late_orders_act(world.clouds_url, code)
    remove_projects(world)
    return world


@pytest.fixture(scope="module")
def cases_home(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world that the tests of a module of reclaiming share. A policy file of ours; the share is wide."""
    home = tmp_path_factory.mktemp("reclaim")
    (home / "policies.yaml").write_text(reclaim.POLICY)
    with databases() as (region, simulated):
        made = make_world(
            region, simulated, home, idle_policy_file=home / "policies.yaml", reclaim_unit_percent=100,
            reclaim_cloud_percent=100,
        )  # fmt: skip
        made.shared = True
        yield made
        slate.chain_is_whole(made)
        made.app.close()


@pytest.fixture
def reclaiming(cases_home: World) -> World:
    """The module's world with clouds that feel well; each test makes a request of its own."""
    faults.clear(cases_home.clouds_url)
    cases_home.feel_well()
    return cases_home


def remove_projects(world: World) -> None:
    for row in world.rows("SELECT p.id, c.code FROM broker.project p JOIN broker.sub_cloud c ON c.id = p.sub_cloud_id"):
        world.app.providers(row.code).delete(Key(Kind.PROJECT, row.id, row.id))


@pytest.fixture(scope="session")
def measured(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with two servers that have run for three days by their cloud's clock and ours, and their other things.

    For the tests of collecting and of detection, which share it and clean up after themselves.
    """
    home = tmp_path_factory.mktemp("measured")
    with databases() as (region, simulated):
        world = make_world(region, simulated, home, idle_policy_file=home / "policies.yaml")
        road.up_to_order(world)
        road.walk(world)
        cloud = create_engine(world.clouds_url, poolclass=NullPool)
        with cloud.begin() as connection:
            past = {"past": world.clock() - timedelta(days=3), "now": world.clock()}
            connection.execute(text("UPDATE simulated.metered SET start_at = :past"), past)
            connection.execute(text("UPDATE simulated.object SET ready_at = :past"), past)
            ahead = "UPDATE simulated.cloud SET clock_ahead = :now - clock_timestamp() + interval '3 days'"
            connection.execute(text(ahead), past)
        with world.app.works.begin() as work:
            collectors.make(work)
        yield world
        world.app.close()
